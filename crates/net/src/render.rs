//! Rules as nftables text: pure.

use std::{
    collections::BTreeSet,
    fmt::{self, Write as _},
    net::{Ipv4Addr, SocketAddrV4},
};

use crate::{NetworkConfig, Rules, Service};

/// Groups into which clients of a service with session affinity fall; more than a node has pods.
const AFFINITY_BUCKETS: u64 = 256;

/// Neighbours of the host (RFC 3927). Clouds answer there with the host's own credentials, at 169.254.169.254; of all
/// that, pods are let to name servers only.
const LINK_LOCAL: &str = "169.254.0.0/16";

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
    let table = &config.table;
    writeln!(out, "table inet {table}\ndelete table inet {table}\ntable inet {table} {{")?;
    write_lookups(out, rules)?;
    // By the port of the program: when a packet is judged, it has been translated already.
    let programs = rules.services.iter().filter(|service| service.host_program).flat_map(|service| {
        let of = |endpoint: &SocketAddrV4| format!("{} . {} . {}", service.address, service.protocol, endpoint.port());
        service.endpoints.iter().map(of).collect::<Vec<_>>()
    });
    write_lookup(out, "set host_programs", "ipv4_addr . inet_proto . inet_service", programs)?;
    let open = config.host_ports.iter().map(|(protocol, port)| format!("{protocol} . {port}"));
    write_lookup(out, "set host_ports", "inet_proto . inet_service", open)?;
    for (number, service) in rules.services.iter().enumerate() {
        write_service(out, number, service)?;
    }
    write_translations(out, config)?;
    write_filters(out, config)?;
    writeln!(out, "}}")
}

/// The chains that lead a packet elsewhere.
fn write_translations(out: &mut String, NetworkConfig { bridge, pod_cidr, .. }: &NetworkConfig) -> fmt::Result {
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
    ip saddr {pod_cidr} oifname != \"lo\" oifname != \"{bridge}\" masquerade
  }}
"
    )
}

/// The chains that let a packet pass or not.
fn write_filters(out: &mut String, config: &NetworkConfig) -> fmt::Result {
    let NetworkConfig { bridge, pod_cidr, service_cidr, .. } = config;
    let gateway = config.gateway();
    write!(
        out,
        "  chain martian {{
    type filter hook prerouting priority raw; policy accept;
    iifname \"{bridge}\" ip daddr 127.0.0.0/8 drop
    iifname \"{bridge}\" ip saddr != {pod_cidr} drop
  }}
  chain from_pods {{
    ct state established,related accept
    ip daddr {gateway} meta l4proto {{ tcp, udp }} th dport 53 accept
    meta l4proto . th dport @host_ports accept
    ct status dnat ct original ip daddr . meta l4proto . th dport @host_programs accept
    icmp type echo-request accept
    meta l4proto tcp reject with tcp reset
    reject with icmpx admin-prohibited
  }}
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname \"{bridge}\" jump from_pods
  }}
  chain unserved {{
    ip daddr {service_cidr} meta l4proto tcp reject with tcp reset
    ip daddr {service_cidr} reject with icmp port-unreachable
  }}
  chain link_local {{
    meta l4proto {{ tcp, udp }} th dport 53 accept
    meta l4proto tcp reject with tcp reset
    reject with icmpx admin-prohibited
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    iifname \"{bridge}\" jump unserved
    iifname \"{bridge}\" ip daddr {LINK_LOCAL} ct state new jump link_local
    oifname \"{bridge}\" iifname != \"{bridge}\" ct state new ct status ! dnat drop
  }}
  chain local {{
    type filter hook output priority filter; policy accept;
    jump unserved
    oifname \"{bridge}\" icmp type redirect drop
  }}
"
    )
}

/// The hairpin set and the maps from addresses and ports to targets.
fn write_lookups(out: &mut String, rules: &Rules) -> fmt::Result {
    let targets = rules.publish.iter().map(|p| *p.target.ip());
    let endpoints = rules.services.iter().filter(|service| !service.host_program);
    let endpoints = endpoints.flat_map(|s| s.endpoints.iter().map(|e| *e.ip()));
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
    let (pick, targets) = if service.sticky {
        ("jhash ip saddr", affinity(&service.endpoints))
    } else {
        ("numgen random", service.endpoints.clone())
    };
    let count = targets.len();
    let targets: Vec<String> = targets.iter().enumerate().map(|(n, e)| format!("{n} : {}", target(*e))).collect();
    writeln!(
        out,
        "  chain svc_{number} {{\n    meta l4proto {} dnat ip to {pick} mod {count} map {{ {} }}\n  }}",
        service.protocol,
        targets.join(", ")
    )
}

/// The endpoint of each bucket of clients, by the highest weight: a bucket changes its endpoint only when that one goes,
/// or when a new one outweighs it, so that most clients keep theirs. Nothing has to be remembered for it.
fn affinity(endpoints: &[SocketAddrV4]) -> Vec<SocketAddrV4> {
    let weight = |bucket: u64, endpoint: &SocketAddrV4| {
        let place = u64::from(u32::from(*endpoint.ip())) << 16 | u64::from(endpoint.port());
        // The finaliser of SplitMix64: every bit of the input changes half of the output's.
        let mut mixed = place.wrapping_add(bucket.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let of = |bucket| endpoints.iter().copied().max_by_key(|endpoint| (weight(bucket, endpoint), *endpoint));
    (0..AFFINITY_BUCKETS).filter_map(of).collect()
}

fn target(address: SocketAddrV4) -> String {
    format!("{} . {}", address.ip(), address.port())
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
            host_ports: Default::default(),
        }
    }

    fn service(last: u8, endpoints: &[&str]) -> Service {
        Service {
            address: Ipv4Addr::new(10, 96, 0, last),
            port: 80,
            protocol: Protocol::Tcp,
            node_port: None,
            endpoints: endpoints.iter().map(|e| e.parse().unwrap()).collect(),
            host_program: false,
            sticky: false,
            owner: "default/web".into(),
        }
    }

    #[test]
    fn ports_that_pods_may_reach_on_the_host_are_named() {
        let mut config = config();
        config.host_ports = [(Protocol::Tcp, 6443), (Protocol::Udp, 123)].into();
        let text = render(&config, &Rules::default());
        let set = "set host_ports {\n    type inet_proto . inet_service;\n    elements = {\n      \
                   tcp . 6443,\n      udp . 123\n    }\n  }";
        assert!(text.contains(set), "{text}");
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
        let mut api = service(1, &["127.0.0.1:6443"]);
        (api.port, api.host_program) = (443, true);
        let rules = Rules {
            publish: vec![publish(None, 80, 2), publish(Some(Ipv4Addr::LOCALHOST), 8080, 3)],
            services: vec![service(10, &["10.88.0.4:81", "10.88.0.3:81"]), sticky, service(12, &[]), api],
        };
        insta::assert_snapshot!(render(&config(), &rules));
    }

    #[test]
    fn clients_keep_their_endpoint_when_others_come_and_go() {
        let endpoints: Vec<SocketAddrV4> =
            (2..12).map(|last| SocketAddrV4::new(Ipv4Addr::new(10, 88, 0, last), 80)).collect();
        let all = affinity(&endpoints);
        assert_eq!(all.len(), 256);
        for endpoint in &endpoints {
            let share = all.iter().filter(|e| *e == endpoint).count();
            assert!((10..=45).contains(&share), "{endpoint} has {share} of 256");
        }
        let without_last = affinity(&endpoints[..9]);
        for (before, after) in all.iter().zip(&without_last) {
            assert!(before == after || *before == endpoints[9], "only clients of the one that went move");
        }
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
