//! The serial console: written to a file, and watched for words after which waiting is pointless.

use std::{
    collections::VecDeque,
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use crate::{
    error::{Result, file},
    limits::{CONSOLE_LINE_BYTES_MAX, CONSOLE_TAIL_LINES},
};

/// What a guest says that cannot go on.
const FATAL: [&str; 7] = [
    "Kernel panic - not syncing",
    "vmtest-agent: cannot boot",
    "Unable to mount root fs",
    "You are in emergency mode",
    "Entering emergency mode",
    "BUG: unable to handle",
    "No bootable device",
];

#[derive(Debug, Default)]
struct Seen {
    tail: VecDeque<String>,
    fatal: Option<String>,
}

/// A console that is being watched.
#[derive(Clone, Debug, Default)]
pub struct Console {
    seen: Arc<Mutex<Seen>>,
}

impl Console {
    /// Follows `source` until it ends, and appends it to the file `log`.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn follow(source: impl Read + Send + 'static, log: &Path) -> Result<Self> {
        let mut log = File::options().create(true).append(true).open(log).map_err(file("open", log))?;
        let console = Self::default();
        let watcher = console.clone();
        thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while let Ok(1..) = (&mut source).take(CONSOLE_LINE_BYTES_MAX as u64).read_until(b'\n', &mut line) {
                // A full disk must not stop the watching.
                let _ = log.write_all(&line);
                watcher.see(String::from_utf8_lossy(&line).trim_end().to_owned());
                line.clear();
            }
        });
        Ok(console)
    }

    fn see(&self, line: String) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.fatal.is_none() && FATAL.iter().any(|words| line.contains(words)) {
            seen.fatal = Some(line.clone());
        }
        if seen.tail.len() == CONSOLE_TAIL_LINES {
            seen.tail.pop_front();
        }
        seen.tail.push_back(line);
    }

    /// The line that says that the guest is lost.
    #[must_use]
    pub fn fatal(&self) -> Option<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).fatal.clone()
    }

    /// The last lines.
    #[must_use]
    pub fn tail(&self) -> String {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.tail.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_fatal_line_is_kept_with_the_last_lines() {
        let console = Console::default();
        for number in 0..50 {
            console.see(format!("line {number}"));
        }
        assert_eq!(console.fatal(), None);
        console.see("[    1.2] Kernel panic - not syncing: Attempted to kill init!".into());
        console.see("Kernel panic - not syncing: again".into());
        assert!(console.fatal().unwrap().contains("Attempted to kill init"));
        let tail = console.tail();
        assert_eq!(tail.lines().count(), CONSOLE_TAIL_LINES);
        assert!(!tail.contains("line 21\n") && tail.contains("line 22\n"));
    }
}
