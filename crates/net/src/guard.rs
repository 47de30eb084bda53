//! The nftables table that ties every pod's address to its interface: pure.
//!
//! Whoever holds `CAP_NET_RAW` can send frames with any sender. The bridge is where the interface is still known, so
//! there each frame of a pod must carry the MAC and the address that were given to that interface, ARP included: a pod
//! can speak for nobody else, not even to mislead neighbour caches. Frames that are neither IPv4 nor ARP are dropped,
//! and so are those to another pod's MAC: everything goes to the gateway and passes the hooks of the host.

use std::{fmt::Write as _, net::Ipv4Addr};

use crate::link::Mac;

/// One pod's interface and what it may say of itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Port {
    /// Host side of the veth pair.
    pub(crate) interface: String,
    /// MAC of the pod's interface.
    pub(crate) mac: Mac,
    /// The pod's address.
    pub(crate) address: Ipv4Addr,
}

/// The whole `bridge` table as a transaction. Interfaces that are not named are not judged: other bridges are none of
/// ours (`meta ibrname` would tell them apart, but kernels may lack it).
pub(crate) fn render(table: &str, gateway: Mac, ports: &[Port]) -> String {
    let mut ports: Vec<&Port> = ports.iter().collect();
    ports.sort();
    let mut text = format!("table bridge {table}\ndelete table bridge {table}\ntable bridge {table} {{\n");
    let names = ports.iter().map(|port| format!("\"{}\"", port.interface));
    set(&mut text, "ports", "ifname", names);
    let senders = ports.iter().map(|port| sender(port));
    set(&mut text, "senders", "ifname . ether_addr . ipv4_addr", senders);
    let gateway = written(gateway);
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "  chain port {{
    ether daddr != {{ {gateway}, ff:ff:ff:ff:ff:ff }} drop
    iifname . ether saddr . ip saddr @senders accept
    iifname . ether saddr . arp saddr ip != @senders drop
    iifname . arp saddr ether . arp saddr ip @senders accept
    drop
  }}
  chain prerouting {{
    type filter hook prerouting priority -300; policy accept;
    iifname @ports jump port
  }}
}}
"
    );
    text
}

/// Adds one port to the table.
pub(crate) fn add(table: &str, port: &Port) -> String {
    change("add", table, port)
}

/// Takes one port out of the table.
pub(crate) fn remove(table: &str, port: &Port) -> String {
    change("delete", table, port)
}

fn change(verb: &str, table: &str, port: &Port) -> String {
    let sender = sender(port);
    let interface = &port.interface;
    format!(
        "{verb} element bridge {table} senders {{ {sender} }}\n{verb} element bridge {table} ports {{ \"{interface}\" }}\n"
    )
}

fn sender(Port { interface, mac, address }: &Port) -> String {
    format!("\"{interface}\" . {} . {address}", written(*mac))
}

fn written(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn set(text: &mut String, name: &str, kind: &str, elements: impl Iterator<Item = String>) {
    let elements: Vec<String> = elements.collect();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  set {name} {{\n    type {kind};");
    if !elements.is_empty() {
        let _ = writeln!(text, "    elements = {{\n      {}\n    }}", elements.join(",\n      "));
    }
    text.push_str("  }\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_tied_to_their_addresses() {
        let port = |last: u8| Port {
            interface: format!("nc00000000000{last}"),
            mac: [0x0a, 0x58, 10, 88, 0, last],
            address: Ipv4Addr::new(10, 88, 0, last),
        };
        let text = |ports: &[Port]| render("nc0", [0x0a, 0x58, 10, 88, 0, 1], ports);
        assert_eq!(text(&[port(3), port(2)]), text(&[port(2), port(3)]), "order is of no account");
        insta::assert_snapshot!(text(&[port(3), port(2)]));
    }
}
