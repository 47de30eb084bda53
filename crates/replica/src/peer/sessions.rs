//! Who is connected: each member by one process at a time, and when it was heard of.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::hello::Rejection;

/// The members heard of.
#[derive(Debug)]
pub(crate) struct Sessions {
    /// A process not heard of for so long has given its identity free.
    dead_after: Duration,
    members: Mutex<HashMap<u64, Session>>,
}

#[derive(Debug, Clone, Copy)]
struct Session {
    incarnation: u64,
    connections: usize,
    heard: Instant,
}

impl Sessions {
    pub(crate) fn new(dead_after: Duration) -> Self {
        Sessions { dead_after, members: Mutex::default() }
    }

    /// A process connects as `member`: refused while another one is heard of as the same.
    pub(crate) fn enter(&self, member: u64, incarnation: u64) -> Result<(), Rejection> {
        let mut members = self.members.lock();
        let now = Instant::now();
        let session = members.entry(member).or_insert(Session { incarnation, connections: 0, heard: now });
        if session.incarnation != incarnation {
            if session.connections > 0 && now.duration_since(session.heard) < self.dead_after {
                return Err(Rejection::Duplicate { id: member });
            }
            *session = Session { incarnation, connections: 0, heard: now };
        }
        session.connections += 1;
        session.heard = now;
        Ok(())
    }

    /// A connection of that process ended.
    pub(crate) fn leave(&self, member: u64, incarnation: u64) {
        if let Some(session) = self.members.lock().get_mut(&member)
            && session.incarnation == incarnation
        {
            session.connections = session.connections.saturating_sub(1);
        }
    }

    /// Something came from that process. False when another process has taken its place.
    pub(crate) fn heard(&self, member: u64, incarnation: u64) -> bool {
        match self.members.lock().get_mut(&member) {
            Some(session) if session.incarnation == incarnation => {
                session.heard = Instant::now();
                true
            }
            _ => false,
        }
    }

    /// Whether the member was heard of lately.
    pub(crate) fn is_live(&self, member: u64) -> bool {
        let members = self.members.lock();
        members.get(&member).is_some_and(|session| session.connections > 0 && session.heard.elapsed() < self.dead_after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_process_is_a_member_at_a_time() {
        let sessions = Sessions::new(Duration::from_secs(3));
        sessions.enter(2, 10).expect("the first");
        sessions.enter(2, 10).expect("its second connection");
        assert_eq!(sessions.enter(2, 11), Err(Rejection::Duplicate { id: 2 }));
        sessions.enter(3, 11).expect("another member");
        sessions.leave(2, 10);
        assert!(sessions.enter(2, 11).is_err(), "one connection is still there");
        sessions.leave(2, 10);
        sessions.enter(2, 11).expect("a restart");
        assert!(!sessions.heard(2, 10), "the former is told apart");
        assert!(sessions.is_live(2));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_gives_its_place_free() {
        let sessions = Sessions::new(Duration::from_secs(3));
        sessions.enter(2, 10).expect("the first");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(sessions.heard(2, 10) && sessions.enter(2, 11).is_err());
        tokio::time::advance(Duration::from_secs(3)).await;
        assert!(!sessions.is_live(2));
        sessions.enter(2, 11).expect("the silent one is gone");
        sessions.leave(2, 10);
        assert!(sessions.is_live(2), "its last words do not count");
    }
}
