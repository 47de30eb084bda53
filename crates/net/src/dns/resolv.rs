//! Upstream resolvers out of resolv.conf(5).

use std::net::{IpAddr, SocketAddr};

/// Most resolvers used, as in glibc (`MAXNS`).
const MAX_RESOLVERS: usize = 3;
/// DNS port.
const PORT: u16 = 53;

/// The `nameserver` lines of a resolv.conf, without `own` addresses: asking ourselves would be a loop.
#[must_use]
pub fn resolvers(text: &str, own: &[IpAddr]) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.split_whitespace().next()?.split('%').next()?.parse::<IpAddr>().ok())
        .filter(|address| !own.contains(address) && !address.is_unspecified())
        .map(|address| SocketAddr::new(address, PORT))
        .take(MAX_RESOLVERS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_comments_and_surplus_are_left_out() {
        let text = "# nameserver 9.9.9.9\nsearch x\nnameserver 10.88.0.1\nnameserver\t192.0.2.1 # x\n nameserver fe80::1%eth0\n\
                    nameserver nonsense\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n";
        let found = resolvers(text, &["10.88.0.1".parse().unwrap()]);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.1:53", "[fe80::1]:53", "192.0.2.3:53"]);
    }
}
