//! The laboratory for scripts: a JSON object a line on standard input, its answer a line on standard output.
//!
//! ```text
//! {"id": 1, "op": "run", "guest": "node01", "argv": ["uname", "-r"], "seconds": 5}
//! {"id": 1, "ok": {"code": 0, "stdout": "6.1.0\n", "stderr": ""}}
//! {"id": 2, "error": "node02: the guest is off"}
//! ```
//!
//! Each request runs in a thread of its own, so a script may cut the power while a command runs. When the input ends
//! before `finish`, the result says that the proof failed.

use std::{
    io::{self, BufRead, Read, Write},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    agent::frame::Run,
    error::{Error, Result},
    lab::Lab,
    limits::{REQUEST_BYTES_MAX, REQUESTS_MAX},
    machine::Spec,
    switch::Rule,
};

/// What a script may ask for.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", rename_all_fields = "snake_case", deny_unknown_fields)]
enum Request {
    /// Add a guest.
    Add {
        /// It.
        spec: Spec,
    },
    /// Switch it on, and wait for the agent.
    Boot {
        /// Whom.
        guest: String,
    },
    /// Run a program.
    Run {
        /// Where.
        guest: String,
        /// What.
        #[serde(flatten)]
        run: Run,
        /// Its standard input.
        #[serde(default)]
        stdin: String,
        /// How long it may take on hardware virtualisation.
        seconds: f64,
    },
    /// Cut the power.
    PowerCut {
        /// Whose.
        guest: String,
    },
    /// Reboot by the guest's own init.
    Reboot {
        /// Whom.
        guest: String,
        /// The command in the guest.
        argv: Vec<String>,
    },
    /// Shut down by the guest's own init.
    ShutDown {
        /// Whom.
        guest: String,
        /// The command in the guest.
        argv: Vec<String>,
    },
    /// Stop or continue the processors.
    Pause {
        /// Whose.
        guest: String,
        /// Stop.
        paused: bool,
    },
    /// Pull or plug the cable.
    Link {
        /// Whose.
        guest: String,
        /// Plug.
        up: bool,
    },
    /// What happens between two guests.
    Network {
        /// One.
        one: String,
        /// The other.
        other: String,
        /// What.
        rule: Rule,
    },
    /// Compare the clock.
    CheckClock {
        /// Whose.
        guest: String,
    },
    /// Write the result and end all guests.
    Finish {
        /// Whether the proof holds.
        success: bool,
        /// Why not.
        #[serde(default)]
        error: Option<String>,
        /// Figures and evidence.
        #[serde(default)]
        facts: Map<String, Value>,
    },
}

/// Serves requests until the input ends, then writes a failed result unless the script finished.
///
/// # Errors
/// When the result cannot be written.
pub fn serve(lab: Arc<Lab>, input: impl BufRead, output: impl Write + Send + 'static) -> Result<()> {
    let output = Arc::new(Mutex::new(output));
    let finished = Arc::new(AtomicBool::new(false));
    let busy = Arc::new(AtomicUsize::new(0));
    for line in lines(input) {
        let (lab, output, finished, busy) = (lab.clone(), output.clone(), finished.clone(), busy.clone());
        if busy.fetch_add(1, Ordering::Relaxed) >= REQUESTS_MAX {
            busy.fetch_sub(1, Ordering::Relaxed);
            answer(&output, &id(&line), Err(Error::Request("too many requests at once".into())));
            continue;
        }
        thread::spawn(move || {
            let result = parse(&line).and_then(|request| {
                let finish = matches!(request, Request::Finish { .. });
                let result = perform(&lab, request);
                finished.fetch_or(finish && result.is_ok(), Ordering::Relaxed);
                result
            });
            answer(&output, &id(&line), result);
            busy.fetch_sub(1, Ordering::Relaxed);
        });
    }
    if !finished.load(Ordering::Relaxed) {
        lab.finish(false, Some("the script ended without a result"), &Map::new())?;
    }
    Ok(())
}

/// Lines of the input until it ends, breaks, or one is too long.
fn lines(mut input: impl BufRead) -> impl Iterator<Item = String> {
    std::iter::from_fn(move || {
        let mut line = String::new();
        let length = (&mut input).take(REQUEST_BYTES_MAX).read_line(&mut line).unwrap_or(0);
        (length > 0 && line.ends_with('\n')).then_some(line)
    })
}

fn id(line: &str) -> Value {
    serde_json::from_str::<Value>(line).map(|request| request["id"].clone()).unwrap_or_default()
}

fn parse(line: &str) -> Result<Request> {
    let refuse = |error: serde_json::Error| Error::Request(format!("the request makes no sense: {error}"));
    let mut request: Value = serde_json::from_str(line).map_err(refuse)?;
    if let Some(fields) = request.as_object_mut() {
        fields.remove("id");
    }
    serde_json::from_value(request).map_err(refuse)
}

fn answer(output: &Mutex<impl Write>, id: &Value, result: Result<Value>) {
    let line = match result {
        Ok(value) => json!({ "id": id, "ok": value }),
        Err(error) => json!({ "id": id, "error": chain(&error) }),
    };
    let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
    // A script that is gone reads no answer, and its end is seen on the input.
    let _: io::Result<()> = writeln!(output, "{line}").and_then(|()| output.flush());
}

/// An error with its sources.
fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    std::iter::once(error.to_string()).chain(sources.map(ToString::to_string)).collect::<Vec<_>>().join(": ")
}

fn perform(lab: &Lab, request: Request) -> Result<Value> {
    match request {
        Request::Add { spec } => {
            let guest = lab.add(spec)?;
            let forwards: Map<String, Value> =
                guest.forwards().iter().map(|(host, port)| (port.to_string(), json!(host))).collect();
            let disks: Map<String, Value> =
                guest.disks().iter().map(|disk| (disk.serial.clone(), json!(disk.path))).collect();
            Ok(json!({ "forwards": forwards, "disks": disks, "accelerator": lab.accelerator() }))
        }
        Request::Boot { guest } => {
            let guest = lab.guest(&guest)?;
            let ready = guest.boot()?;
            Ok(json!({ "boot_id": ready.boot_id, "seconds": guest.boots().last() }))
        }
        Request::Run { guest, run, stdin, seconds } => {
            let limit = Duration::try_from_secs_f64(seconds)
                .map_err(|error| Error::Request(format!("seconds = {seconds}: {error}")))?;
            let output = lab.guest(&guest)?.run(&run, stdin.as_bytes(), limit)?;
            let [stdout, stderr] =
                [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            Ok(json!({ "code": output.code, "stdout": stdout, "stderr": stderr }))
        }
        Request::PowerCut { guest } => lab.guest(&guest)?.power_cut().map(Value::from),
        Request::Reboot { guest, argv } => {
            let guest = lab.guest(&guest)?;
            let ready = guest.reboot(&argv)?;
            Ok(json!({ "boot_id": ready.boot_id, "seconds": guest.boots().last() }))
        }
        Request::ShutDown { guest, argv } => lab.guest(&guest)?.shut_down(&argv).map(Value::from),
        Request::Pause { guest, paused } => lab.guest(&guest)?.pause(paused).map(Value::from),
        Request::Link { guest, up } => lab.guest(&guest)?.link(up).map(Value::from),
        Request::Network { one, other, rule } => lab.set_rule(&one, &other, rule).map(Value::from),
        Request::CheckClock { guest } => Ok(json!({ "rate": lab.guest(&guest)?.check_clock()? })),
        Request::Finish { success, error, facts } => lab.finish(success, error.as_deref(), &facts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accelerator::Accelerator;

    #[test]
    fn requests_are_read_strictly() {
        let run = parse(r#"{"id": 1, "op": "run", "guest": "a", "argv": ["id"], "seconds": 2}"#).unwrap();
        assert!(matches!(run, Request::Run { run, .. } if run.argv == ["id"]));
        for bad in [r#"{"op": "run"}"#, r#"{"op": "fly", "guest": "a"}"#, "[]", r#"{"op": "boot", "gest": "a"}"#] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_script_that_ends_early_leaves_a_failed_result() {
        let folder = tempfile::tempdir().unwrap();
        let lab = Arc::new(Lab::new("early", folder.path(), Accelerator::Tcg).unwrap());
        serve(lab, io::Cursor::new("{\"id\": 1, \"op\": \"boot\", \"guest\": \"nobody\"}\n"), io::sink()).unwrap();
        let text = std::fs::read_to_string(folder.path().join("result.json")).unwrap();
        let result: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&result["success"], &result["proof"]), (&json!(false), &json!("early")));
        assert!(result["error"].as_str().unwrap().contains("without a result"));
    }
}
