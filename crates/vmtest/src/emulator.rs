//! The emulator's process: never outlives the harness.

use std::{
    io::Read,
    os::fd::OwnedFd,
    process::{ChildStderr, ChildStdout, Command, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::{
    error::{Error, Result},
    limits::EMULATOR_END,
};

/// Bytes kept of what the emulator says about itself.
const STDERR_BYTES_MAX: u64 = 16 << 10;

#[derive(Debug, Default)]
struct End {
    status: Mutex<Option<(String, String)>>,
    changed: Condvar,
}

/// A running emulator; dropping it kills it.
#[derive(Debug)]
pub struct Emulator {
    handle: OwnedFd,
    end: Arc<End>,
}

impl Emulator {
    /// Starts a program; its standard output is the guest's console.
    ///
    /// The kernel kills it when the thread that started it ends (`PR_SET_PDEATHSIG`), hence a thread that does nothing
    /// but start it and wait for its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(program: &str, arguments: &[String]) -> Result<(Self, ChildStdout)> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", program]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let end = Arc::new(End::default());
        let (started, starting) = mpsc::channel();
        let ended = end.clone();
        thread::spawn(move || {
            let mut child = match command.spawn() {
                Ok(child) => child,
                // The receiver waits for exactly this.
                Err(error) => return drop(started.send(Err(error))),
            };
            let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            let handle = pid.ok_or(rustix::io::Errno::SRCH).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()));
            let console = child.stdout.take().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::BrokenPipe));
            let stderr = child.stderr.take();
            let _ = started.send(handle.map_err(Into::into).and_then(|handle| Ok((handle, console?))));
            let said = stderr.map(read_all).unwrap_or_default();
            let status = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
            *ended.status.lock().unwrap_or_else(PoisonError::into_inner) = Some((status, said));
            ended.changed.notify_all();
        });
        let spawn = |source| Error::Spawn { program: program.to_owned(), source };
        let received = starting.recv().map_err(|_| spawn(std::io::ErrorKind::BrokenPipe.into()))?;
        let (handle, console) = received.map_err(spawn)?;
        Ok((Self { handle, end }, console))
    }

    /// How it ended, and what it said; `None` while it runs.
    #[must_use]
    pub fn ended(&self) -> Option<(String, String)> {
        self.end.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for the end; false when it still runs after `limit`.
    #[must_use]
    pub fn wait(&self, limit: Duration) -> bool {
        let status = self.end.status.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.end.changed.wait_timeout_while(status, limit, |status| status.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.is_some()
    }

    /// Ends it at once, as if the power was cut.
    pub fn kill(&self) {
        // It may have ended by itself; the handle never means another process.
        let _ = pidfd_send_signal(&self.handle, Signal::KILL);
        let _ = self.wait(EMULATOR_END);
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read_all(stderr: ChildStderr) -> String {
    let mut said = Vec::new();
    let mut stderr = stderr.take(STDERR_BYTES_MAX);
    // What was read until an error is all there is.
    let _ = stderr.read_to_end(&mut said);
    let _ = std::io::copy(&mut stderr.into_inner(), &mut std::io::sink());
    String::from_utf8_lossy(&said).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (Emulator, ChildStdout) {
        Emulator::start("sh", &["-c".into(), script.into()]).unwrap()
    }

    #[test]
    fn it_tells_how_it_ended_and_what_it_said() {
        let (emulator, mut console) = shell("echo booting; echo 'no such device' >&2; exit 3");
        let mut text = String::new();
        console.read_to_string(&mut text).unwrap();
        assert!(emulator.wait(Duration::from_secs(10)));
        let (status, said) = emulator.ended().unwrap();
        assert_eq!((text.as_str(), status.as_str(), said.as_str()), ("booting\n", "exit status: 3", "no such device"));
    }

    #[test]
    fn dropping_kills() {
        let (emulator, mut console) = shell("echo $$; exec sleep 1000");
        let mut byte = [0];
        console.read_exact(&mut byte).unwrap();
        assert!(emulator.ended().is_none());
        let end = emulator.end.clone();
        drop(emulator);
        let status = end.status.lock().unwrap().clone().unwrap().0;
        assert!(status.contains("signal: 9"), "{status}");
    }

    #[test]
    fn a_program_that_is_missing_is_reported_by_the_starter() {
        let (emulator, _) = Emulator::start("vmtest-no-such-program", &[]).unwrap();
        assert!(emulator.wait(Duration::from_secs(10)));
        assert!(emulator.ended().unwrap().1.contains("vmtest-no-such-program"));
    }
}
