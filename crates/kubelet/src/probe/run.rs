//! Running the probes of one run of a container.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{net::TcpStream, sync::watch, time::timeout};

use super::{
    Check, Counter, Kind, ProbeSpec, Probes,
    http::{self, Ask, Verdict},
};
use crate::{
    error::chain,
    pod::plan::between,
    ports::{Containers, exec_spec},
};

/// Bytes of a failing program's output kept for the event.
const OUTPUT_MAX: usize = 1024;

/// What the probes say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// The startup probe has passed, or there is none.
    pub started: bool,
    /// The readiness probe passes, or there is none.
    pub ready: bool,
    /// Startup or liveness probe has failed for good, and the grace it gives.
    pub unhealthy: Option<Unhealthy>,
}

/// A verdict that ends a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unhealthy {
    /// Which probe.
    pub kind: Kind,
    /// Time between TERM and KILL, if the probe says.
    pub grace: Option<Duration>,
}

impl Health {
    /// Health of a container without probes, or before the first try.
    #[must_use]
    pub fn before(probes: &Probes) -> Self {
        let started = probes.startup.is_none();
        Self { started, ready: started && probes.readiness.is_none(), unhealthy: None }
    }
}

/// What is probed.
#[derive(Clone)]
pub struct Target {
    /// Id of the run.
    pub id: String,
    /// Address of the pod.
    pub address: Ipv4Addr,
    /// When the run began.
    pub started_at: Timestamp,
}

/// What there is to tell of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It failed.
    Failure,
    /// It passed, and somebody should know something about it.
    Warning,
}

/// Told of tries: which probe, what kind of news, the news.
pub type Teller = Arc<dyn Fn(Kind, Said, String) + Send + Sync>;

/// Runs probes until it is dropped.
pub struct Prober {
    /// Runs programs.
    pub containers: Arc<dyn Containers>,
    /// Sends requests.
    pub http: reqwest::Client,
    /// Told of failures and warnings.
    pub teller: Teller,
}

impl Prober {
    /// Probes a container until the task is dropped; `health` always has the latest verdicts.
    pub async fn run(self, target: Target, probes: Probes, health: watch::Sender<Health>) {
        let started = health.borrow().started;
        if let Some(startup) = probes.startup.as_ref().filter(|_| !started) {
            let mut counter = Counter::new(startup.successes, startup.failures, None);
            self.delay(&target, startup).await;
            loop {
                match self.attempt(&target, startup, &mut counter, false).await {
                    Some(true) => break,
                    Some(false) => {
                        let unhealthy = Unhealthy { kind: Kind::Startup, grace: startup.grace };
                        health.send_modify(|h| h.unhealthy = Some(unhealthy));
                        return;
                    }
                    None => tokio::time::sleep(startup.period).await,
                }
            }
        }
        health.send_modify(|h| {
            h.started = true;
            h.ready |= probes.readiness.is_none();
        });
        tokio::join!(self.liveness(&target, &probes, &health), self.readiness(&target, &probes, &health));
    }

    async fn liveness(&self, target: &Target, probes: &Probes, health: &watch::Sender<Health>) {
        let Some(spec) = &probes.liveness else { return };
        let mut counter = Counter::new(spec.successes, spec.failures, Some(true));
        self.delay(target, spec).await;
        while self.attempt(target, spec, &mut counter, false).await != Some(false) {
            tokio::time::sleep(spec.period).await;
        }
        health.send_modify(|h| h.unhealthy = Some(Unhealthy { kind: Kind::Liveness, grace: spec.grace }));
    }

    async fn readiness(&self, target: &Target, probes: &Probes, health: &watch::Sender<Health>) {
        let Some(spec) = &probes.readiness else { return };
        let known = health.borrow().ready;
        let mut counter = Counter::new(spec.successes, spec.failures, Some(known));
        self.delay(target, spec).await;
        // Until it is ready the first time, look more often than asked: an install waits for this.
        let eager = Duration::from_millis(EAGER_MILLIS);
        let mut ready = known;
        let mut eager_left = if known { Duration::ZERO } else { spec.period };
        loop {
            let early = !ready && !eager_left.is_zero();
            if let Some(verdict) = self.attempt(target, spec, &mut counter, early).await {
                ready = verdict;
                health.send_modify(|h| h.ready = verdict);
            }
            let early = !ready && !eager_left.is_zero();
            let pause = if early { eager.min(spec.period) } else { spec.period };
            eager_left = eager_left.saturating_sub(pause);
            tokio::time::sleep(pause).await;
        }
    }

    /// Waits until the initial delay after the container's start is over.
    async fn delay(&self, target: &Target, spec: &ProbeSpec) {
        let passed = between(target.started_at, Timestamp::now());
        tokio::time::sleep(spec.initial_delay.saturating_sub(passed)).await;
    }

    async fn attempt(&self, target: &Target, spec: &ProbeSpec, counter: &mut Counter, quiet: bool) -> Option<bool> {
        let outcome = self.check(target, spec).await;
        let success = outcome.is_ok();
        match outcome {
            Err(problem) if !quiet => (self.teller)(spec.kind, Said::Failure, problem),
            Ok(Some(warning)) => (self.teller)(spec.kind, Said::Warning, warning),
            _ => {}
        }
        counter.record(success)
    }

    async fn check(&self, target: &Target, spec: &ProbeSpec) -> Verdict {
        let limit = spec.timeout;
        let late = |_| format!("no answer within {} s", limit.as_secs());
        let host = |host: &Option<String>| host.clone().unwrap_or_else(|| target.address.to_string());
        match &spec.check {
            Check::Exec(command) => self.exec(target, command, limit).await.map(|()| None),
            Check::Tcp { host: wanted, port } => {
                let connected = timeout(limit, TcpStream::connect((host(wanted), *port))).await.map_err(late)?;
                connected.map(|_| None).map_err(|e| format!("connect to port {port}: {e}"))
            }
            Check::Http { host: wanted, port, path, tls, headers } => {
                let host = host(wanted);
                let ask = Ask { host: &host, port: *port, path, tls: *tls, headers, limit };
                http::ask(&self.http, ask).await
            }
        }
    }

    async fn exec(&self, target: &Target, command: &[String], limit: Duration) -> Result<(), String> {
        let spec = exec_spec(command.to_vec(), limit);
        let done = self.containers.exec(&target.id, spec, OUTPUT_MAX).await.map_err(|e| chain(&e))?;
        if done.exit.timed_out {
            return Err(format!("not done within {} s", limit.as_secs()));
        }
        if done.exit.code == 0 {
            return Ok(());
        }
        let output = [done.stdout, done.stderr].concat();
        Err(format!("exit code {}: {}", done.exit.code, String::from_utf8_lossy(&output).trim()))
    }
}

/// Time between early readiness tries in milliseconds.
const EAGER_MILLIS: u64 = 250;
