//! Places: how many requests are served at once, and how many bytes of their bodies are in memory.
//!
//! The system's own subjects (nodes, controllers, scheduler) have places that no other subject can take: heartbeats and
//! status come through whatever else is sent. A request takes its place only when its body has arrived, so
//! that a slow sender holds none; until then its bytes count as memory of bodies.

use std::sync::Arc;

use api::Reason;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use trust::{
    Subject,
    subject::{CONTROLLERS, SCHEDULER},
};

use crate::{
    api_error::{ApiError, Result},
    limits,
};

/// Bytes that one permit of a lane's memory stands for.
const UNIT: usize = 1024;

/// The places of one kind of subjects.
#[derive(Debug)]
pub(crate) struct Lane {
    requests: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    most_requests: usize,
    most_bytes: usize,
}

/// Memory that the body of a request takes, given back when dropped.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    permit: Option<OwnedSemaphorePermit>,
}

/// The places of everybody.
#[derive(Debug)]
pub(crate) struct Places {
    everybody: Lane,
    system: Lane,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            everybody: Lane::new(limits::MAX_IN_FLIGHT, limits::MAX_BODIES_BYTES),
            system: Lane::new(limits::MAX_SYSTEM_IN_FLIGHT, limits::MAX_SYSTEM_BODIES_BYTES),
        }
    }
}

impl Places {
    /// The places for requests of a subject.
    pub(crate) fn of(&self, subject: &Subject) -> &Lane {
        if is_system(subject) { &self.system } else { &self.everybody }
    }
}

/// Whether the subject is a part of the system, which must not be held up by others.
fn is_system(subject: &Subject) -> bool {
    subject.node_name().is_some() || [CONTROLLERS, SCHEDULER].contains(&subject.user.as_str())
}

impl Lane {
    fn new(most_requests: usize, most_bytes: usize) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self { requests: semaphore(most_requests), memory: semaphore(most_bytes / UNIT), most_requests, most_bytes }
    }

    /// A place for a request, or 429.
    pub(crate) fn admit(&self) -> Result<OwnedSemaphorePermit> {
        let full = |_| full(format!("{} requests are being served already", self.most_requests));
        self.requests.clone().try_acquire_owned().map_err(full)
    }

    /// Grows a body's memory to what so many bytes need, or 429.
    pub(crate) fn grow(&self, memory: &mut Memory, bytes: usize) -> Result<()> {
        let held = memory.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = bytes.div_ceil(UNIT).saturating_sub(held);
        if more == 0 {
            return Ok(());
        }
        let full = || full(format!("requests with {} bytes are being read already", self.most_bytes));
        let more = u32::try_from(more).map_err(|_| full())?;
        let more = self.memory.clone().try_acquire_many_owned(more).map_err(|_| full())?;
        match &mut memory.permit {
            Some(permit) => permit.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

fn full(message: String) -> ApiError {
    ApiError::new(Reason::TooManyRequests, message).retry_after(1).remedy("try again in a second")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_has_places_of_its_own() {
        let places = Places::default();
        let admin = Subject::admin("root");
        let mut held = Vec::new();
        while let Ok(place) = places.of(&admin).admit() {
            held.push(place);
        }
        assert_eq!(held.len(), limits::MAX_IN_FLIGHT);
        for subject in [Subject::node("n"), Subject::controllers(), Subject::scheduler()] {
            assert!(places.of(&subject).admit().is_ok(), "{subject}");
        }
        // A name alone makes no node.
        for subject in [Subject::authenticated("system:node:n", []), Subject::anonymous()] {
            assert_eq!(places.of(&subject).admit().unwrap_err().status.code, 429, "{subject}");
        }
        held.pop();
        assert!(places.of(&admin).admit().is_ok(), "a place that was given back is free");
    }

    #[test]
    fn memory_is_taken_as_bodies_come_and_given_back() {
        let lane = Lane::new(1, 4 * UNIT);
        let (mut first, mut second) = (Memory::default(), Memory::default());
        lane.grow(&mut first, 1).unwrap();
        lane.grow(&mut first, UNIT).unwrap();
        lane.grow(&mut first, 2 * UNIT + 1).unwrap();
        lane.grow(&mut second, UNIT).unwrap();
        assert_eq!(lane.grow(&mut second, UNIT + 1).unwrap_err().status.code, 429);
        drop(first);
        lane.grow(&mut second, 4 * UNIT).unwrap();
    }
}
