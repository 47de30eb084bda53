//! Rules as nftables text (pure), and the `nft` tool that loads it.

use std::{
    collections::BTreeSet,
    fmt::{self, Write as _},
    io,
    net::{Ipv4Addr, SocketAddrV4},
    process::Stdio,
    time::Duration,
};

use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::{Error, NetworkConfig, Result, Rules, Service};

/// Longest time `nft` may take; 1500 elements take about 0.15 s.
const NFT_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest part of nft's message kept in an error, in bytes.
pub(crate) const MAX_STDERR: usize = 2048;

/// The whole table as a transaction for `nft -f -`: make it if missing, delete it, make it anew. The kernel applies
/// all of it or nothing, and no packet sees a table that is half there.
#[must_use]
pub fn render(config: &NetworkConfig, rules: &Rules) -> String {
    let rules = rules.normalised();
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_table(&mut text, config, &rules);
    text
}

fn write_table(out: &mut String, config: &NetworkConfig, rules: &Rules) -> fmt::Result {
    let NetworkConfig { table, bridge, pod_cidr, service_cidr, .. } = config;
    writeln!(out, "table inet {table}\ndelete table inet {table}\ntable inet {table} {{")?;
    write_lookups(out, rules)?;
    for (number, service) in rules.services.iter().enumerate() {
        write_service(out, number, service)?;
    }
    write!(
        out,
        "\
  chain dispatch {{
    ip daddr . meta l4proto . th dport vmap @services
    fib daddr type local meta l4proto . th dport vmap @node_ports
    dnat ip to ip daddr . meta l4proto . th dport map @publish_one
    fib daddr type local dnat ip to meta l4proto . th dport map @publish_all
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    meta nfproto ipv4 meta l4proto {{ tcp, udp, sctp }} jump dispatch
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    meta nfproto ipv4 meta l4proto {{ tcp, udp, sctp }} jump dispatch
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname \"{bridge}\" ip saddr 127.0.0.0/8 masquerade
    ip saddr . ip daddr @hairpin masquerade
    ip saddr {pod_cidr} oifname != \"{bridge}\" masquerade
  }}
  chain martian {{
    type filter hook prerouting priority raw; policy accept;
    iifname \"{bridge}\" ip daddr 127.0.0.0/8 drop
    iifname \"{bridge}\" ip saddr != {pod_cidr} ip saddr != 0.0.0.0 drop
  }}
  chain unserved {{
    ip daddr {service_cidr} meta l4proto tcp reject with tcp reset
    ip daddr {service_cidr} reject with icmp port-unreachable
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    iifname \"{bridge}\" jump unserved
    oifname \"{bridge}\" iifname != \"{bridge}\" ct state new ct status ! dnat drop
  }}
  chain local {{
    type filter hook output priority filter; policy accept;
    jump unserved
    oifname \"{bridge}\" icmp type redirect drop
  }}
}}
"
    )
}

/// The hairpin set and the maps from addresses and ports to targets.
fn write_lookups(out: &mut String, rules: &Rules) -> fmt::Result {
    let targets = rules.publish.iter().map(|p| *p.target.ip());
    let endpoints = rules.services.iter().flat_map(|s| s.endpoints.iter().map(|e| *e.ip()));
    let hairpin: BTreeSet<Ipv4Addr> = targets.chain(endpoints).collect();
    write_lookup(out, "set hairpin", "ipv4_addr . ipv4_addr", hairpin.iter().map(|a| format!("{a} . {a}")))?;
    let one = rules.publish.iter().filter_map(|p| {
        let address = p.port.address?;
        Some(format!("{address} . {} . {} : {}", p.port.protocol, p.port.port, target(p.target)))
    });
    write_lookup(out, "map publish_one", "ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service", one)?;
    let all = rules.publish.iter().filter(|p| p.port.address.is_none());
    let all = all.map(|p| format!("{} . {} : {}", p.port.protocol, p.port.port, target(p.target)));
    write_lookup(out, "map publish_all", "inet_proto . inet_service : ipv4_addr . inet_service", all)?;
    let numbered = || rules.services.iter().enumerate().filter(|(_, s)| !s.endpoints.is_empty());
    let vips = numbered().map(|(n, s)| format!("{} . {} . {} : goto svc_{n}", s.address, s.protocol, s.port));
    write_lookup(out, "map services", "ipv4_addr . inet_proto . inet_service : verdict", vips)?;
    let nodes = numbered().filter_map(|(n, s)| Some(format!("{} . {} : goto svc_{n}", s.protocol, s.node_port?)));
    write_lookup(out, "map node_ports", "inet_proto . inet_service : verdict", nodes)
}

fn write_lookup(out: &mut String, name: &str, kind: &str, elements: impl Iterator<Item = String>) -> fmt::Result {
    let elements: Vec<String> = elements.collect();
    writeln!(out, "  {name} {{\n    type {kind};")?;
    if !elements.is_empty() {
        writeln!(out, "    elements = {{\n      {}\n    }}", elements.join(",\n      "))?;
    }
    writeln!(out, "  }}")
}

fn write_service(out: &mut String, number: usize, service: &Service) -> fmt::Result {
    if service.endpoints.is_empty() {
        return Ok(());
    }
    let count = service.endpoints.len();
    let pick = if service.sticky { "jhash ip saddr" } else { "numgen random" };
    let targets: Vec<String> =
        service.endpoints.iter().enumerate().map(|(n, e)| format!("{n} : {}", target(*e))).collect();
    writeln!(
        out,
        "  chain svc_{number} {{\n    meta l4proto {} dnat ip to {pick} mod {count} map {{ {} }}\n  }}",
        service.protocol,
        targets.join(", ")
    )
}

fn target(address: SocketAddrV4) -> String {
    format!("{} . {}", address.ip(), address.port())
}

/// Loads a script in one transaction.
pub(crate) async fn load(table: &str, script: &str) -> Result<()> {
    run(&["-f", "-"], script, || format!("the rules of table {table}")).await.map(drop)
}

/// The table as the kernel has it, or `None` if there is none.
pub(crate) async fn list(table: &str) -> Result<Option<String>> {
    let tables = run(&["list", "tables", "inet"], "", || "the list of tables".into()).await?;
    if !tables.lines().any(|line| line.trim() == format!("table inet {table}")) {
        return Ok(None);
    }
    run(&["-s", "list", "table", "inet", table], "", || format!("the list of table {table}")).await.map(Some)
}

/// Removes the table if it exists.
pub(crate) async fn remove(table: &str) -> Result<()> {
    load(table, &format!("table inet {table}\ndelete table inet {table}\n")).await
}

async fn run(arguments: &[&str], input: &str, what: impl Fn() -> String) -> Result<String> {
    let failed = |error: io::Error| Error::Nft { what: what(), stderr: error.to_string() };
    let mut child = Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::NftMissing { source },
            _ => failed(source),
        })?;
    let stdin = child.stdin.take();
    let feed = async move {
        if let Some(mut stdin) = stdin {
            stdin.write_all(input.as_bytes()).await?;
        }
        Ok::<(), io::Error>(())
    };
    let talk = async { tokio::join!(feed, child.wait_with_output()) };
    let (fed, output) =
        tokio::time::timeout(NFT_TIMEOUT, talk).await.map_err(|_| failed(io::Error::from(io::ErrorKind::TimedOut)))?;
    let output = output.map_err(failed)?;
    if !output.status.success() {
        let mut stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        stderr.truncate(stderr.floor_char_boundary(MAX_STDERR));
        return Err(Error::Nft { what: what(), stderr });
    }
    fed.map_err(failed)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{HostPort, Protocol, Publish};

    fn config() -> NetworkConfig {
        NetworkConfig {
            bridge: "nc0".into(),
            pod_cidr: "10.88.0.0/16".parse().unwrap(),
            service_cidr: "10.96.0.0/16".parse().unwrap(),
            run_dir: "/run/x".into(),
            state_dir: "/run/x".into(),
            table: "nc0".into(),
        }
    }

    fn service(last: u8, endpoints: &[&str]) -> Service {
        Service {
            address: Ipv4Addr::new(10, 96, 0, last),
            port: 80,
            protocol: Protocol::Tcp,
            node_port: None,
            endpoints: endpoints.iter().map(|e| e.parse().unwrap()).collect(),
            sticky: false,
            owner: "default/web".into(),
        }
    }

    #[test]
    fn an_empty_table() {
        insta::assert_snapshot!(render(&config(), &Rules::default()));
    }

    #[test]
    fn published_ports_and_services() {
        let publish = |address: Option<Ipv4Addr>, port, last| Publish {
            port: HostPort { address, port, protocol: Protocol::Tcp },
            target: SocketAddrV4::new(Ipv4Addr::new(10, 88, 0, last), 8080),
            owner: "default/a".into(),
        };
        let mut sticky = service(11, &["10.88.0.3:9000"]);
        sticky.sticky = true;
        sticky.node_port = Some(30080);
        let rules = Rules {
            publish: vec![publish(None, 80, 2), publish(Some(Ipv4Addr::LOCALHOST), 8080, 3)],
            services: vec![service(10, &["10.88.0.4:81", "10.88.0.3:81"]), sticky, service(12, &[])],
        };
        insta::assert_snapshot!(render(&config(), &rules));
    }

    proptest! {
        /// Order and repetition of the input do not change the text, so reconciling twice is one change.
        #[test]
        fn order_does_not_matter(order in Just(vec![0_u8, 1, 2, 3]).prop_shuffle(), again in 0_usize..4) {
            let all: Vec<Service> = (0..4).map(|n| service(n, &["10.88.0.3:81", "10.88.0.4:81"])).collect();
            let sorted = Rules { publish: vec![], services: all.clone() };
            let mut services: Vec<Service> = order.iter().map(|n| all[usize::from(*n)].clone()).collect();
            services.push(all[again].clone());
            services.iter_mut().for_each(|s| s.endpoints.reverse());
            prop_assert_eq!(render(&config(), &sorted), render(&config(), &Rules { publish: vec![], services }));
        }
    }
}
