//! Ending work on threads, which cannot be cancelled from outside.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Says that work is no longer wanted; by dropping it, too.
#[derive(Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// To be looked at by the work.
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    /// From now on it is not wanted.
    pub(crate) fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.now();
    }
}

/// A reader that fails once its work is not wanted.
pub(crate) struct Stoppable<R> {
    pub(crate) reader: R,
    pub(crate) stopped: Arc<AtomicBool>,
}

impl<R: Read> Read for Stoppable<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stopped.load(Ordering::Relaxed) {
            return Err(io::Error::other("not wanted any more"));
        }
        self.reader.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_ends_the_reading() -> io::Result<()> {
        let stop = Stop::default();
        let mut reader = Stoppable { reader: io::repeat(7), stopped: stop.flag() };
        let mut buffer = [0; 4];
        assert_eq!(reader.read(&mut buffer)?, 4);
        drop(stop);
        assert!(reader.read(&mut buffer).is_err());
        Ok(())
    }
}
