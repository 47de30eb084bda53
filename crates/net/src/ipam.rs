//! Which address comes next: pure, no files.

use std::{collections::BTreeSet, net::Ipv4Addr};

use ipnet::Ipv4Net;

/// The addresses pods may have, with a cursor so that a freed address is not reused at once (neighbour caches and
/// connection tracking remember it for a while).
#[derive(Debug, Clone)]
pub struct Pool {
    first: u32,
    last: u32,
    cursor: u32,
}

impl Pool {
    /// Host addresses of `cidr` without its first one, which is the gateway.
    #[must_use]
    pub fn new(cidr: Ipv4Net) -> Self {
        let first = u32::from(cidr.network()).saturating_add(2);
        let last = u32::from(cidr.broadcast()).saturating_sub(1);
        Self { first, last, cursor: first }
    }

    /// Number of addresses.
    #[must_use]
    pub fn capacity(&self) -> usize {
        (u64::from(self.last) + 1).saturating_sub(u64::from(self.first)) as usize
    }

    /// Whether `address` is one of the pool.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&u32::from(address))
    }

    /// The next address not in `taken`, searching from behind the last one given; `None` when all are taken.
    pub fn next(&mut self, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
        let start = self.cursor.clamp(self.first, self.last);
        let found = (start..=self.last)
            .chain(self.first..start)
            .map(Ipv4Addr::from)
            .find(|address| !taken.contains(address))?;
        self.advance_past(found);
        Some(found)
    }

    /// Moves the cursor behind `address`; used when leases of an earlier run are read back.
    pub fn advance_past(&mut self, address: Ipv4Addr) {
        let next = u32::from(address).saturating_add(1);
        self.cursor = if next > self.last { self.first } else { next };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn gateway_network_and_broadcast_are_never_given() {
        let mut pool = Pool::new("10.1.2.0/29".parse().unwrap());
        let mut taken = BTreeSet::new();
        while let Some(a) = pool.next(&taken) {
            assert!(taken.insert(a), "{a} given twice");
        }
        let all: Vec<u8> = taken.iter().map(|a| a.octets()[3]).collect();
        assert_eq!(all, [2, 3, 4, 5, 6]);
        assert_eq!(pool.capacity(), 5);
    }

    #[test]
    fn a_freed_address_is_not_the_next_one() {
        let mut pool = Pool::new("10.1.2.0/24".parse().unwrap());
        let mut taken = BTreeSet::new();
        let a = pool.next(&taken).unwrap();
        taken.insert(a);
        taken.remove(&a);
        assert_ne!(pool.next(&taken).unwrap(), a);
    }

    proptest! {
        /// Any history of takes and frees: no double use, and failure only when truly full.
        #[test]
        fn never_twice_and_full_only_when_full(prefix in 26_u8..=30, frees in prop::collection::vec(any::<Option<u8>>(), 1..300)) {
            let cidr = Ipv4Net::new(Ipv4Addr::new(172, 16, 9, 0), prefix).unwrap();
            let mut pool = Pool::new(cidr);
            let mut taken: BTreeSet<Ipv4Addr> = BTreeSet::new();
            for step in frees {
                if let Some(pick) = step && !taken.is_empty() {
                    let victim = *taken.iter().nth(usize::from(pick) % taken.len()).unwrap();
                    taken.remove(&victim);
                } else {
                    match pool.next(&taken) {
                        Some(address) => {
                            prop_assert!(pool.contains(address) && cidr.contains(&address));
                            prop_assert!(taken.insert(address), "{} given twice", address);
                        }
                        None => prop_assert_eq!(taken.len(), pool.capacity()),
                    }
                }
            }
        }
    }
}
