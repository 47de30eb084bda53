//! Did a watcher see all that was committed, in order, once and whole?

use keyspace::{KeyRange, KeyValue, Revision, WatchEvent};

use crate::history::Truth;

/// What one watcher was given, over all the streams it needed.
#[derive(Clone, Debug)]
pub struct Followed {
    /// Keys it asked for.
    pub range: KeyRange,
    /// First revision it asked for.
    pub from: Revision,
    /// Last revision it was told to be complete up to; 0 when nothing was told.
    pub through: Revision,
    /// Events, in the order they came.
    pub events: Vec<WatchEvent>,
}

/// Where a watcher and the truth part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parted {
    /// How many events agree.
    pub agree: usize,
    /// The next one the watcher should have been given.
    pub wanted: Option<WatchEvent>,
    /// The next one it was given.
    pub given: Option<WatchEvent>,
}

impl std::fmt::Display for Parted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = |event: &Option<WatchEvent>| match event {
            None => "nothing".to_owned(),
            Some(event) => {
                let KeyValue { key, mod_revision, .. } = &event.kv;
                format!("{:?} of {} at revision {mod_revision}", event.kind, key.escape_ascii())
            }
        };
        write!(f, "after {} events a watcher was given {}", self.agree, name(&self.given))?;
        write!(f, " and should have been given {}", name(&self.wanted))
    }
}

/// Compares, event by event; previous values are compared where the watcher was given any.
pub fn check(followed: &Followed, truth: &Truth) -> Result<(), Box<Parted>> {
    let committed =
        truth.range(followed.from..=followed.through.max(followed.from)).flat_map(|(_, events)| events.iter());
    let mut wanted =
        committed.filter(|event| event.kv.mod_revision <= followed.through && followed.range.contains(&event.kv.key));
    let mut given = followed.events.iter();
    let mut agree = 0;
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Ok(()),
            (Some(wanted), Some(given)) if same(wanted, given) => agree += 1,
            (wanted, given) => return Err(Box::new(Parted { agree, wanted: wanted.cloned(), given: given.cloned() })),
        }
    }
}

fn same(wanted: &WatchEvent, given: &WatchEvent) -> bool {
    let prev = given.prev.is_none() || given.prev == wanted.prev;
    prev && wanted.kind == given.kind && wanted.kv == given.kv
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use keyspace::EventKind;

    use super::*;

    fn event(revision: Revision) -> WatchEvent {
        let kv = KeyValue { key: "k".into(), mod_revision: revision, ..KeyValue::default() };
        WatchEvent { kind: EventKind::Put, kv, prev: None }
    }

    fn followed(events: &[Revision]) -> Followed {
        let events: Vec<WatchEvent> = events.iter().map(|revision| event(*revision)).collect();
        Followed { range: KeyRange::all(), from: 2, through: 5, events }
    }

    #[test]
    fn gaps_repeats_and_disorder_are_found() {
        let truth: Truth = (2..8).map(|revision| (revision, Arc::from([event(revision)]))).collect();
        assert_eq!(check(&followed(&[2, 3, 4, 5]), &truth), Ok(()));
        for wrong in [&[2, 3, 5][..], &[2, 3, 3, 4, 5], &[2, 4, 3, 5], &[2, 3, 4], &[2, 3, 4, 5, 6]] {
            assert!(check(&followed(wrong), &truth).is_err(), "{wrong:?}");
        }
        let elsewhere = Followed { range: KeyRange::key("other"), ..followed(&[]) };
        assert_eq!(check(&elsewhere, &truth), Ok(()));
    }
}
