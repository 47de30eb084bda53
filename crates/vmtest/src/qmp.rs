//! The emulator's control socket, the [QEMU Machine Protocol](https://www.qemu.org/docs/master/interop/qmp-spec.html).

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::error::{Error, Result};

/// A connection on which commands are allowed.
#[derive(Debug)]
pub struct Qmp {
    guest: String,
    line: Mutex<Line>,
}

#[derive(Debug)]
struct Line {
    stream: UnixStream,
    answers: Receiver<Value>,
    next: u64,
}

impl Qmp {
    /// Connects; names of events go to `events`.
    ///
    /// # Errors
    /// When nobody listens, or does not speak the protocol.
    pub fn connect(guest: &str, socket: &Path, limit: Duration, events: Sender<String>) -> Result<Self> {
        let broken = |source| Error::Connection { guest: guest.to_owned(), peer: "emulator", source };
        let stream = UnixStream::connect(socket).map_err(broken)?;
        stream.set_write_timeout(Some(limit)).map_err(broken)?;
        let reader = BufReader::new(stream.try_clone().map_err(broken)?);
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || receive(reader, &sender, &events));
        let qmp = Self { guest: guest.to_owned(), line: Mutex::new(Line { stream, answers, next: 0 }) };
        qmp.execute("qmp_capabilities", &json!({}), limit)?;
        Ok(qmp)
    }

    /// Runs a command and gives its result.
    ///
    /// # Errors
    /// When the emulator refuses it, or does not answer in time.
    pub fn execute(&self, command: &str, arguments: &Value, limit: Duration) -> Result<Value> {
        let broken = |source| Error::Connection { guest: self.guest.clone(), peer: "emulator", source };
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.next += 1;
        let id = line.next;
        let request = json!({ "execute": command, "arguments": arguments, "id": id });
        line.stream.write_all(format!("{request}\n").as_bytes()).map_err(broken)?;
        let until = Instant::now() + limit;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let answer = line.answers.recv_timeout(left).map_err(|_| broken(io::ErrorKind::TimedOut.into()))?;
            if answer["id"] != id {
                continue;
            }
            if let Some(error) = answer.get("error") {
                let message = error["desc"].as_str().unwrap_or_default().to_owned();
                return Err(Error::Qmp { guest: self.guest.clone(), command: command.to_owned(), message });
            }
            return Ok(answer["return"].clone());
        }
    }
}

impl Drop for Qmp {
    fn drop(&mut self) {
        let line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        // Ends the receiving thread; a line that is closed already needs nothing.
        let _ = line.stream.shutdown(std::net::Shutdown::Both);
    }
}

fn receive(reader: impl BufRead, answers: &Sender<Value>, events: &Sender<String>) {
    for line in reader.lines() {
        let Ok(message) = line.and_then(|line| Ok(serde_json::from_str::<Value>(&line)?)) else { return };
        if let Some(event) = message["event"].as_str() {
            // Whoever does not listen for events does not need them.
            let _ = events.send(event.to_owned());
        } else if answers.send(message).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// Answers like the emulator: a greeting, events between, errors for `refuse`.
    fn emulator(listener: UnixListener) {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"{\"QMP\": {\"version\": {}}}\n").unwrap();
        for line in BufReader::new(stream.try_clone().unwrap()).lines().map_while(io::Result::ok) {
            let request: Value = serde_json::from_str(&line).unwrap();
            let answer = match request["execute"].as_str().unwrap() {
                "refuse" => json!({"error": {"class": "GenericError", "desc": "no such disk"}, "id": request["id"]}),
                _ => json!({"return": request["arguments"], "id": request["id"]}),
            };
            stream.write_all(format!("{{\"event\": \"RESET\"}}\n{answer}\n").as_bytes()).unwrap();
        }
    }

    #[test]
    fn answers_events_and_refusals_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("qmp");
        let listener = UnixListener::bind(&socket).unwrap();
        let thread = thread::spawn(move || emulator(listener));
        let (events, heard) = mpsc::channel();
        let limit = Duration::from_secs(10);
        let qmp = Qmp::connect("g", &socket, limit, events).unwrap();
        assert_eq!(qmp.execute("echo", &json!({"a": 1}), limit).unwrap(), json!({"a": 1}));
        let refused = qmp.execute("refuse", &json!({}), limit).unwrap_err();
        assert!(refused.to_string().contains("no such disk"), "{refused}");
        drop(qmp);
        thread.join().unwrap();
        assert_eq!(heard.iter().count(), 3);
    }
}
