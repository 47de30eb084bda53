//! What many have in common and none may use up alone.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use parking_lot::Mutex;

/// Counts what each holder has; nobody has more than a fixed number.
#[derive(Debug)]
pub(super) struct Shares<K> {
    most_each: usize,
    held: Mutex<HashMap<K, usize>>,
}

/// One unit, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share<K: Eq + Hash> {
    shares: Arc<Shares<K>>,
    holder: K,
}

impl<K: Eq + Hash + Clone> Shares<K> {
    pub(super) fn new(most_each: usize) -> Arc<Self> {
        Arc::new(Self { most_each, held: Mutex::default() })
    }

    /// One more for `holder`, unless it has its fair share already.
    pub(super) fn take(self: &Arc<Self>, holder: K) -> Option<Share<K>> {
        let mut held = self.held.lock();
        let count = held.entry(holder.clone()).or_insert(0);
        if *count >= self.most_each {
            return None;
        }
        *count += 1;
        Some(Share { shares: Arc::clone(self), holder })
    }
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut held = self.shares.held.lock();
        let left = held.get_mut(&self.holder).map_or(0, |count| {
            *count -= 1;
            *count
        });
        // Who holds nothing is forgotten: what is kept is bounded by what is held.
        if left == 0 {
            held.remove(&self.holder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_cannot_take_what_others_need() {
        let shares = Shares::new(2);
        let first = shares.take("a").unwrap();
        let _second = shares.take("a").unwrap();
        assert!(shares.take("a").is_none());
        assert!(shares.take("b").is_some(), "b has its own, and gives it back at once");
        drop(first);
        assert!(shares.take("a").is_some());
        assert_eq!(shares.held.lock().len(), 1, "only who holds something is remembered");
    }
}
