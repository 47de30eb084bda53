//! A client that writes while members come and go.

use std::{
    process::Output,
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{PATIENCE, PAUSE, Place};

/// Writes through some members in turn, and takes note of what was acknowledged.
pub struct Writer {
    shared: Arc<Mutex<Shared>>,
    thread: Option<JoinHandle<()>>,
}

/// What became of the writes.
#[derive(Clone, Default)]
pub struct Written {
    pub acknowledged: Vec<String>,
    /// What those said that were not acknowledged.
    pub failed: Vec<String>,
    /// Longest time that a write took.
    pub longest: Duration,
}

#[derive(Default)]
struct Shared {
    through: Vec<Place>,
    stop: bool,
    written: Written,
}

impl Writer {
    /// Writes keys by `write` until finished.
    pub fn start(through: &[&Place], write: impl Fn(&Place, &str) -> Output + Send + 'static) -> Self {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let mut writer = Writer { shared: shared.clone(), thread: None };
        writer.through(through);
        writer.thread = Some(std::thread::spawn(move || {
            for number in 0.. {
                let place = {
                    let shared = shared.lock().unwrap();
                    if shared.stop {
                        return;
                    }
                    shared.through[number % shared.through.len()].clone()
                };
                let key = format!("w-{number}");
                let began = Instant::now();
                let output = write(&place, &key);
                let written = &mut shared.lock().unwrap().written;
                written.longest = written.longest.max(began.elapsed());
                if output.status.success() {
                    written.acknowledged.push(key);
                } else {
                    written.failed.push(format!(
                        "{key} at {}: {}",
                        place.name,
                        String::from_utf8_lossy(&output.stderr)
                    ));
                }
            }
        }));
        writer
    }

    /// From now on these are asked.
    pub fn through(&self, places: &[&Place]) {
        self.shared.lock().unwrap().through = places.iter().map(|place| (*place).clone()).collect();
    }

    /// Waits until so many more are acknowledged, one that was begun before not counted.
    pub fn goes_on(&self, more: usize) {
        let count = || self.shared.lock().unwrap().written.acknowledged.len();
        let (wanted, began) = (count() + 1 + more, Instant::now());
        while count() < wanted {
            assert!(
                began.elapsed() < PATIENCE,
                "no more is acknowledged: {:?}",
                self.shared.lock().unwrap().written.failed
            );
            std::thread::park_timeout(PAUSE);
        }
    }

    pub fn finish(mut self) -> Written {
        self.stop();
        self.shared.lock().unwrap().written.clone()
    }

    fn stop(&mut self) {
        if let Ok(mut shared) = self.shared.lock() {
            shared.stop = true;
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop();
    }
}
