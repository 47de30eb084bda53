//! One batch of commands being applied: the state so far, the writes so far, the changes so far.

use std::sync::Arc;

use crate::codec::{self, Position, State};
use crate::engine::{Table, View};
use crate::overlay::Overlay;
use crate::read::{Change, HISTORY_DELETE, HISTORY_PUT};
use crate::{Alarm, EngineError, EventKind, KeyValue, LeaseId, Revision, WatchEvent};

pub(crate) struct Work<'v, V> {
    pub(crate) view: Overlay<'v, V>,
    pub(crate) state: State,
    /// Alarms that are on.
    pub(crate) alarms: Vec<Alarm>,
    pub(crate) changes: Vec<Arc<Change>>,
    /// Events of the revision being made.
    events: Vec<WatchEvent>,
}

impl<'v, V: View> Work<'v, V> {
    pub(crate) fn new(view: &'v V, state: State, alarms: Vec<Alarm>) -> Self {
        Work { view: Overlay::new(view), state, alarms, changes: Vec::new(), events: Vec::new() }
    }

    /// Begins what may become a revision.
    pub(crate) fn begin(&mut self) {
        debug_assert!(self.events.is_empty(), "revisions do not nest");
    }

    /// The revision writes get.
    pub(crate) fn writing(&self) -> Revision {
        self.state.revision + 1
    }

    /// The revision a read in the middle sees.
    pub(crate) fn reading(&self) -> Revision {
        self.state.revision + u64::from(!self.events.is_empty())
    }

    /// Ends it: with changes it is a revision, without none is made.
    pub(crate) fn end(&mut self) {
        if !self.events.is_empty() {
            self.state.revision += 1;
            let events = std::mem::take(&mut self.events);
            self.changes.push(Arc::new(Change { revision: self.state.revision, events }));
        }
    }

    /// Writes one change of one key to all tables.
    pub(crate) fn change(&mut self, kind: EventKind, kv: KeyValue, prev: Option<KeyValue>) -> Result<(), EngineError> {
        let sub = u32::try_from(self.events.len()).map_err(|_| codec::corrupt("transaction", "2^32 changes"))?;
        let at = Position { main: self.writing(), sub };
        self.view.put(Table::Revisions, at.encode().to_vec(), codec::encode_change(kind, &kv)?);
        let mark: &'static [u8] = match kind {
            EventKind::Put => &[HISTORY_PUT],
            EventKind::Delete => &[HISTORY_DELETE],
        };
        self.view.put(Table::History, codec::history_key(&kv.key, at), mark);
        match kind {
            EventKind::Put => self.view.put(Table::Current, kv.key.clone(), codec::encode_current(&kv)?),
            EventKind::Delete => self.view.delete(Table::Current, kv.key.clone()),
        }
        self.attach(prev.as_ref().map_or(0, |prev| prev.lease), kv.lease, &kv);
        self.events.push(WatchEvent { kind, kv, prev });
        Ok(())
    }

    /// Deletes the key whose newest version is `prev`.
    pub(crate) fn delete(&mut self, prev: KeyValue) -> Result<(), EngineError> {
        let kv = KeyValue { key: prev.key.clone(), mod_revision: self.writing(), ..KeyValue::default() };
        self.change(EventKind::Delete, kv, Some(prev))
    }

    fn attach(&mut self, before: LeaseId, now: LeaseId, kv: &KeyValue) {
        if before != now {
            if before != 0 {
                self.view.delete(Table::LeaseKeys, codec::lease_attachment(before, &kv.key));
            }
            if now != 0 {
                self.view.put(Table::LeaseKeys, codec::lease_attachment(now, &kv.key), Vec::new());
            }
        }
    }
}
