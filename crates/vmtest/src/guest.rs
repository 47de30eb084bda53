//! One guest, through power on, commands, faults and power cuts.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    accelerator::Accelerator,
    agent::{
        Agent, Output,
        frame::{Ready, Run},
    },
    console::Console,
    emulator::Emulator,
    error::{Error, Result, file},
    limits,
    machine::{self, Attached, Resources, Spec},
    program,
    qmp::Qmp,
    switch::Plug,
};

/// Between two looks at something that cannot be waited for.
const LOOK: Duration = Duration::from_millis(50);

/// A guest, on or off. Its disks live as long as the laboratory.
#[derive(Debug)]
pub struct Guest {
    spec: Spec,
    resources: Resources,
    accelerator: Accelerator,
    folder: PathBuf,
    running: Mutex<Option<Arc<Running>>>,
    boots: Mutex<Vec<f64>>,
}

#[derive(Debug)]
struct Running {
    emulator: Emulator,
    console: Console,
    qmp: Qmp,
    agent: Arc<Agent>,
}

impl Guest {
    /// Makes disks and ports for a guest. Sockets go to `sockets`, whose path is short; all else to `folder`.
    pub(crate) fn new(
        spec: Spec,
        number: u8,
        plug: Option<Plug>,
        accelerator: Accelerator,
        sockets: &Path,
        folder: PathBuf,
    ) -> Result<Self> {
        fs::create_dir_all(&folder).map_err(file("make", &folder))?;
        let mut disks = Vec::new();
        if let Some(base) = &spec.image.disk {
            let path = folder.join("root.disk");
            program::run(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(base).arg(&path))?;
            disks.push(machine::root_disk(path));
        }
        for disk in &spec.disks {
            disks.push(attach(disk, &folder)?);
        }
        let forwards = spec.forwards.iter().map(|guest| Ok((free_port()?, *guest))).collect::<Result<_>>()?;
        let socket = |end: &str| sockets.join(format!("{}.{end}", spec.name));
        let resources = Resources { number, disks, plug, forwards, agent: socket("agent"), qmp: socket("qmp") };
        Ok(Self { spec, resources, accelerator, folder, running: Mutex::default(), boots: Mutex::default() })
    }

    /// Its description.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Ports of the host's loopback, each with the guest's port behind it.
    #[must_use]
    pub fn forwards(&self) -> &[(u16, u16)] {
        &self.resources.forwards
    }

    /// Its disks as files of the host.
    #[must_use]
    pub fn disks(&self) -> &[Attached] {
        &self.resources.disks
    }

    /// Seconds from each power on, or reboot, until the agent answered.
    #[must_use]
    pub fn boots(&self) -> Vec<f64> {
        self.boots.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn error(&self, state: &'static str) -> Error {
        Error::State { guest: self.spec.name.clone(), state }
    }

    fn running(&self) -> Result<Arc<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(|| self.error("off"))
    }

    /// Switches it on and waits until the agent answers.
    ///
    /// # Errors
    /// When the emulator does not start, the kernel gives up, or it takes too long.
    pub fn boot(&self) -> Result<Ready> {
        self.boot_within(self.accelerator.scale(limits::BOOT))
    }

    /// The same with another limit.
    ///
    /// # Errors
    /// As [`Guest::boot`].
    pub fn boot_within(&self, limit: Duration) -> Result<Ready> {
        let begin = Instant::now();
        {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            if running.as_ref().is_some_and(|running| running.emulator.ended().is_none()) {
                return Err(self.error("on"));
            }
            *running = Some(self.start()?);
        }
        self.await_boot(None, begin, limit)
    }

    fn start(&self) -> Result<Arc<Running>> {
        let plug = self.resources.plug.as_ref().map(|plug| &plug.local);
        for socket in [&self.resources.agent, &self.resources.qmp].into_iter().chain(plug) {
            // Left by an emulator whose power was cut.
            let _ = fs::remove_file(socket);
        }
        let arguments = machine::arguments(&self.spec, &self.resources, self.accelerator);
        let record = self.folder.join("command");
        fs::write(&record, arguments.join("\n")).map_err(file("write", record))?;
        let (emulator, output) = Emulator::start(machine::PROGRAM, &arguments)?;
        let console = Console::follow(output, &self.folder.join("console.log"))?;
        self.await_sockets(&emulator)?;
        let name = &self.spec.name;
        let (events, heard) = mpsc::channel();
        let qmp = Qmp::connect(name, &self.resources.qmp, limits::QMP, events)?;
        let agent = Arc::new(Agent::connect(name, &self.resources.agent)?);
        let follower = Arc::downgrade(&agent);
        thread::spawn(move || follow_resets(&heard, &follower));
        Ok(Arc::new(Running { emulator, console, qmp, agent }))
    }

    fn await_sockets(&self, emulator: &Emulator) -> Result<()> {
        let until = Instant::now() + self.accelerator.scale(limits::EMULATOR_START);
        while !(self.resources.qmp.exists() && self.resources.agent.exists()) {
            if emulator.wait(LOOK) {
                return Err(self.ended(emulator, String::new()));
            }
            if Instant::now() > until {
                return Err(self.timeout("opening the emulator's sockets", limits::EMULATOR_START, String::new()));
            }
        }
        Ok(())
    }

    fn ended(&self, emulator: &Emulator, tail: String) -> Error {
        let (status, said) = emulator.ended().unwrap_or_default();
        Error::EmulatorEnded { guest: self.spec.name.clone(), status, output: format!("{said}\n{tail}") }
    }

    fn timeout(&self, what: &str, limit: Duration, tail: String) -> Error {
        Error::Timeout { guest: self.spec.name.clone(), what: what.to_owned(), limit, tail }
    }

    /// Waits for an agent whose boot is not `previous`.
    fn await_boot(&self, previous: Option<&str>, begin: Instant, limit: Duration) -> Result<Ready> {
        loop {
            let running = self.running()?;
            if let Some(line) = running.console.fatal() {
                let tail = running.console.tail();
                return Err(Error::GuestLost { guest: self.spec.name.clone(), line, tail });
            }
            if running.emulator.ended().is_some() {
                return Err(self.ended(&running.emulator, running.console.tail()));
            }
            // Between two boots nobody answers.
            let ready = running.agent.hello(limits::HELLO_INTERVAL).ok().flatten();
            if let Some(ready) = ready.filter(|ready| previous != Some(ready.boot_id.as_str())) {
                let seconds = begin.elapsed().as_secs_f64();
                self.boots.lock().unwrap_or_else(PoisonError::into_inner).push(seconds);
                return Ok(ready);
            }
            if begin.elapsed() > limit {
                return Err(self.timeout("booting", limit, running.console.tail()));
            }
        }
    }

    /// The agent's word about the guest.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn state(&self) -> Result<Ready> {
        let limit = self.accelerator.scale(limits::QMP);
        let running = self.running()?;
        running.agent.hello(limit)?.ok_or_else(|| self.timeout("a greeting", limit, running.console.tail()))
    }

    /// Runs a program; `limit` is for hardware virtualisation.
    ///
    /// # Errors
    /// When the guest is off, the program cannot be started, or it takes too long.
    pub fn run(&self, run: &Run, stdin: &[u8], limit: Duration) -> Result<Output> {
        self.running()?.agent.run(run, stdin, self.accelerator.scale(limit))
    }

    /// Cuts the power: nothing in the guest is told, nothing is flushed.
    ///
    /// # Errors
    /// When it is off.
    pub fn power_cut(&self) -> Result<()> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        running.ok_or_else(|| self.error("off"))?.emulator.kill();
        Ok(())
    }

    /// Asks the guest's own init to reboot and waits for the agent of the next boot.
    ///
    /// # Errors
    /// When it does not come back in time.
    pub fn reboot(&self, argv: &[String]) -> Result<Ready> {
        let before = self.state()?;
        let begin = Instant::now();
        let run = Run { argv: argv.to_vec(), env: Vec::new() };
        match self.run(&run, &[], limits::BOOT) {
            // The line ends with the guest, before or after the program's exit.
            Ok(_) | Err(Error::Connection { .. } | Error::Timeout { .. }) => {}
            Err(error) => return Err(error),
        }
        self.await_boot(Some(&before.boot_id), begin, self.accelerator.scale(2 * limits::BOOT))
    }

    /// Runs the guest's own `poweroff` and waits until the emulator is gone.
    ///
    /// # Errors
    /// When it is still there after the limit.
    pub fn shut_down(&self, argv: &[String]) -> Result<()> {
        let limit = self.accelerator.scale(limits::BOOT);
        let run = Run { argv: argv.to_vec(), env: Vec::new() };
        // The line ends with the guest.
        let _ = self.run(&run, &[], limits::BOOT);
        let running = self.running()?;
        if !running.emulator.wait(limit) {
            return Err(self.timeout("shutting down", limit, running.console.tail()));
        }
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }

    /// Stops or continues its processors; the world goes on without it.
    ///
    /// # Errors
    /// When it is off.
    pub fn pause(&self, paused: bool) -> Result<()> {
        self.qmp(if paused { "stop" } else { "cont" }, &json!({})).map(drop)
    }

    /// Pulls or plugs the cable of the network between guests.
    ///
    /// # Errors
    /// When it is off, or has no such network.
    pub fn link(&self, up: bool) -> Result<()> {
        self.qmp("set_link", &json!({ "name": "cluster-card", "up": up })).map(drop)
    }

    /// A command of the machine protocol.
    ///
    /// # Errors
    /// When the emulator refuses it.
    pub fn qmp(&self, command: &str, arguments: &Value) -> Result<Value> {
        self.running()?.qmp.execute(command, arguments, self.accelerator.scale(limits::QMP))
    }

    /// Fails unless the guest's clock keeps up with ours: a wrong calibration makes all timeouts inside meaningless.
    ///
    /// # Errors
    /// When it deviates, or the agent does not answer.
    pub fn check_clock(&self) -> Result<f64> {
        let (first, begin) = (self.state()?, Instant::now());
        while begin.elapsed() < limits::CLOCK_WINDOW {
            thread::park_timeout(limits::CLOCK_WINDOW.saturating_sub(begin.elapsed()));
        }
        let asked = Instant::now();
        let second = self.state()?;
        let (least, most) = (asked - begin, begin.elapsed());
        let inside = Duration::from_nanos(second.monotonic_ns.saturating_sub(first.monotonic_ns));
        let (slow, fast) = (1.0 - limits::CLOCK_DEVIATION_MAX, 1.0 + limits::CLOCK_DEVIATION_MAX);
        // The first answer took time on its way, the second one too: only what both explain is no deviation.
        let rate = inside.as_secs_f64() / most.as_secs_f64();
        let slack = limits::HELLO_INTERVAL;
        if inside + slack < least.mul_f64(slow) || inside > (most + slack).mul_f64(fast) {
            return Err(Error::Clock { guest: self.spec.name.clone(), rate });
        }
        Ok(rate)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // A guest that is off needs nothing.
        let _ = self.power_cut();
    }
}

/// A reset guest has another agent: whoever waits for the old one waits in vain.
fn follow_resets(events: &Receiver<String>, agent: &std::sync::Weak<Agent>) {
    for event in events {
        let Some(agent) = agent.upgrade() else { return };
        if event == "RESET" {
            agent.forget();
        }
    }
}

fn attach(disk: &machine::Disk, folder: &Path) -> Result<Attached> {
    let serial = disk.serial.clone();
    match (&disk.path, disk.mib) {
        (Some(path), None) => Ok(Attached { serial, path: path.clone(), readonly: true }),
        (None, Some(mib)) => {
            let path = folder.join(format!("{serial}.disk"));
            let empty = fs::File::create(&path).and_then(|disk| disk.set_len(mib << 20));
            empty.map_err(file("make", &path))?;
            Ok(Attached { serial, path, readonly: false })
        }
        _ => Err(Error::Request(format!("disk {serial}: give either mib or path"))),
    }
}

/// A port of the loopback that nobody uses now.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(file("find a port of", "127.0.0.1"))
}
