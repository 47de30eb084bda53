//! Connections by the address they come from, so that no single host can hold them all.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use parking_lot::Mutex;

/// Bits of an IPv6 address that tell networks apart: one host has all of the rest to itself.
const NETWORK_BITS: u32 = 64;

/// How many connections each peer has.
#[derive(Clone, Debug, Default)]
pub(super) struct Peers(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection of a peer, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    peers: Peers,
    peer: IpAddr,
}

impl Peers {
    /// Counts a connection of an address, unless it has `most` already.
    pub(super) fn count(&self, address: IpAddr, most: usize) -> Option<Counted> {
        let peer = network(address);
        let mut open = self.0.lock();
        let count = open.entry(peer).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Counted { peers: self.clone(), peer })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.peers.0.lock();
        if let Some(count) = open.get_mut(&self.peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&self.peer);
            }
        }
    }
}

/// The address, or the network of an IPv6 address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let mask = u128::MAX << (u128::BITS - NETWORK_BITS);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_has_its_bound_and_gets_places_back() {
        let peers = Peers::default();
        let count = |text: &str| peers.count(text.parse().unwrap(), 2);
        let held = [count("10.0.0.1"), count("10.0.0.1"), count("2001:db8::1"), count("2001:db8::2")];
        assert!(held.iter().all(Option::is_some));
        for full in ["10.0.0.1", "::ffff:10.0.0.1", "2001:db8::3"] {
            assert!(count(full).is_none(), "{full}");
        }
        assert!(count("10.0.0.2").is_some() && count("2001:db8:0:1::1").is_some());
        drop(held);
        assert!(peers.0.lock().is_empty(), "nothing is remembered of who is gone");
    }
}
