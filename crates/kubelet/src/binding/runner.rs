//! Runs bindings whose target is on this node.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use api::{
    ObjectKey, Time,
    kinds::{
        Binding, Pod, Secret,
        binding::{BindingPhase, BindingStatus},
    },
    meta::DEFAULT_NAMESPACE,
    names::annotation,
};
use client::{Api, Client, EventRecorder, Next, Reconciler, Severity, Store};
use jiff::Timestamp;
use runtime::apparmor::Profile;
use runtime::container::{ContainerInfo, ExecCapture, ExecSpec, State, StdinMode, UserIds};

use super::{
    Decision, PROFILE, Redactor,
    confinement::{Confinement, confinement},
    decide, encode,
    parameters::sealed,
};
use crate::{
    config::BindingConfig,
    error::{Error, Result, chain},
    metrics::{BindingLabels, BindingResult, Metrics, ServiceLabels},
    pod::container::label,
    ports::Containers,
};

/// User that binding commands run as unless a setting says otherwise; services of the catalog trust it.
const NOBODY: u32 = 65534;
/// Search path of binding commands.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin";
/// Bytes of each output captured.
const OUTPUT_MAX: usize = 64 * 1024;
/// Time beyond the command's own timeout after which the runtime's answer is no longer waited for.
const ANSWER_MARGIN: Duration = Duration::from_secs(30);
/// Wait before a target that is not ready is looked at again, should no change of it be seen.
const TARGET_RECHECK: Duration = Duration::from_secs(15);

/// Reconciles bindings.
pub(crate) struct Bindings {
    pub(crate) client: Client,
    pub(crate) bindings: Store<Binding>,
    pub(crate) pods: Store<Pod>,
    pub(crate) containers: Arc<dyn Containers>,
    pub(crate) recorder: EventRecorder,
    pub(crate) metrics: Metrics,
    pub(crate) config: BindingConfig,
}

/// The pod a binding runs in.
pub(crate) fn target_of(binding: &Binding) -> ObjectKey {
    let namespace = binding.metadata.namespace.clone().unwrap_or_else(|| DEFAULT_NAMESPACE.into());
    ObjectKey::namespaced(namespace, format!("{}-0", binding.spec.target.bundle))
}

fn read(name: &str) -> impl FnOnce(client::Error) -> Error {
    Error::api(format!("read binding {name}"))
}

fn write(binding: &Binding) -> impl FnOnce(client::Error) -> Error + use<> {
    Error::api(format!("write the status of binding {}", binding.metadata.name.as_deref().unwrap_or_default()))
}

/// How a run ended.
struct Ended {
    phase: BindingPhase,
    exit_code: Option<i32>,
    message: String,
}

impl Ended {
    fn failed(message: String) -> Self {
        Self { phase: BindingPhase::Failed, exit_code: None, message }
    }
}

/// What events tell of a run.
struct Run {
    /// Its number.
    attempt: u32,
    /// How AppArmor confines it.
    apparmor: String,
}

impl Reconciler for Bindings {
    type Error = Error;

    fn name(&self) -> &'static str {
        "kubelet-bindings"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next> {
        let Some(known) = self.bindings.get(key) else { return Ok(Next::OnChange) };
        let Some(container) = self.target(&known) else { return Ok(self.not_here(&known)) };
        // The store may lag behind a run that just ended: ask before a command runs twice.
        let api = Api::<Binding>::of(self.client.clone(), key);
        let Some(binding) = api.get_opt(&key.name).await.map_err(read(&key.name))? else { return Ok(Next::OnChange) };
        if binding.metadata.deletion_timestamp.is_some() && !binding.revokes() {
            return Ok(Next::OnChange);
        }
        match decide(&binding) {
            Decision::Done => {}
            Decision::Lost => self.give_up(&api, binding).await?,
            Decision::Run => self.run(&api, binding, &container).await?,
        }
        Ok(Next::OnChange)
    }

    fn is_conflict(error: &Error) -> bool {
        error.is_conflict()
    }

    async fn warn(&self, key: &ObjectKey, reason: &'static str, message: String) {
        if let Some(binding) = self.bindings.get(key) {
            self.recorder.record(binding.as_ref(), Severity::Warning, reason, message);
        }
    }
}

impl Bindings {
    /// A binding for another node is not looked at again; one whose target will come is.
    fn not_here(&self, binding: &Binding) -> Next {
        match decide(binding) {
            Decision::Done => Next::OnChange,
            Decision::Run | Decision::Lost => Next::After(TARGET_RECHECK),
        }
    }

    /// The running main container of the target pod, once the pod is ready.
    fn target(&self, binding: &Binding) -> Option<ContainerInfo> {
        let pod = self.pods.get(&target_of(binding))?;
        let conditions = pod.status.as_ref()?.conditions.as_ref()?;
        let ready = conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
        let main = pod.spec.as_ref()?.containers.first()?;
        let of =
            |info: &ContainerInfo, name: &str, value: &str| info.labels.get(name).is_some_and(|known| known == value);
        let uid = pod.metadata.uid.as_deref()?;
        let all = self.containers.list().into_iter();
        all.filter(|_| ready).find(|info| {
            info.state == State::Running && of(info, label::POD_UID, uid) && of(info, label::CONTAINER, &main.name)
        })
    }

    async fn run(&self, api: &Api<Binding>, binding: Binding, container: &ContainerInfo) -> Result<()> {
        let (started, attempt) = (Timestamp::now(), binding.attempt());
        let confinement = confinement(self.config.apparmor, Profile::find(PROFILE));
        let told = confinement.as_ref().map_or("required", |confinement| confinement.told.as_str()).to_owned();
        let run = Run { attempt, apparmor: told };
        let mut status = BindingStatus {
            phase: BindingPhase::Running,
            token: binding.spec.token.clone(),
            attempts: attempt,
            started_at: Some(Time(started)),
            ..BindingStatus::default()
        };
        // Compare-and-swap: two who want to run it cannot both pass here.
        let running = Binding { status: Some(status.clone()), ..binding };
        let mut binding = api.replace_status(&running).await.map_err(write(&running))?;
        self.count(&binding, BindingResult::started);
        self.tell(&binding, Severity::Normal, "BindingStarted", &run, None, "started".into());
        let begun = Instant::now();
        let ended = match confinement {
            Ok(confinement) => self.execute(&binding, container, &confinement).await,
            Err(problem) => Ended::failed(problem),
        };
        let took = begun.elapsed();
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        status.phase = ended.phase;
        status.exit_code = ended.exit_code;
        status.finished_at = Some(Time(Timestamp::now()));
        status.duration_ms = Some(millis);
        status.message.clone_from(&ended.message);
        self.observe(&binding, &ended, &run, took);
        binding.status = Some(status);
        self.write(api, binding).await
    }

    /// Writes that a run ended unseen: the server that ran it ended first.
    async fn give_up(&self, api: &Api<Binding>, mut binding: Binding) -> Result<()> {
        let status = binding.status.get_or_insert_default();
        status.phase = BindingPhase::Failed;
        status.finished_at = Some(Time(Timestamp::now()));
        status.message = "the server that ran it ended before it did; how it ended is not known".to_owned();
        let (message, attempt) = (status.message.clone(), status.attempts);
        let run = Run { attempt, apparmor: "unknown".into() };
        self.count(&binding, BindingResult::failed);
        self.tell(&binding, Severity::Warning, "BindingFailed", &run, None, message);
        self.write(api, binding).await
    }

    /// Writes the final status; what ran must not run again because somebody else changed the object meanwhile.
    async fn write(&self, api: &Api<Binding>, mut binding: Binding) -> Result<()> {
        loop {
            match api.replace_status(&binding).await {
                Ok(_) => return Ok(()),
                Err(error) if error.is_conflict() => {
                    let name = binding.metadata.name.clone().unwrap_or_default();
                    let Some(fresh) = api.get_opt(&name).await.map_err(read(&name))? else { return Ok(()) };
                    binding = Binding { status: binding.status, ..fresh };
                }
                Err(error) if error.is_not_found() => return Ok(()),
                Err(error) => return Err(write(&binding)(error)),
            }
        }
    }

    async fn execute(&self, binding: &Binding, container: &ContainerInfo, confinement: &Confinement) -> Ended {
        let (parameters, redactor) = match self.parameters(binding).await {
            Ok(found) => found,
            Err(problem) => return Ended::failed(problem),
        };
        let asked = Duration::from_secs(u64::from(binding.spec.timeout_seconds));
        let limit = self.config.timeout.unwrap_or(asked);
        let spec = match self.exec_spec(binding, &parameters, limit) {
            Ok(spec) => ExecSpec { apparmor: confinement.profile.map(str::to_owned), ..spec },
            Err(error) => return Ended::failed(format!("parameters not handed over: {error}")),
        };
        let exec = self.containers.exec(&container.id, spec, OUTPUT_MAX);
        match tokio::time::timeout(limit.saturating_add(ANSWER_MARGIN), exec).await {
            Ok(Ok(done)) => conclude(&done, &redactor, limit, self.config.uid),
            Ok(Err(error)) => Ended::failed(redactor.tail(chain(&error).as_bytes(), false)),
            Err(_) => Ended::failed("the container's shim does not answer".into()),
        }
    }

    fn exec_spec(
        &self,
        binding: &Binding,
        parameters: &BTreeMap<String, String>,
        limit: Duration,
    ) -> std::io::Result<ExecSpec> {
        let namespace = binding.metadata.namespace.clone().unwrap_or_else(|| DEFAULT_NAMESPACE.into());
        let env = [
            ("PATH", PATH.to_owned()),
            ("LANG", "C.UTF-8".to_owned()),
            ("NANOCLOUD_BINDING_ID", binding.spec.binding_id.clone()),
            ("NANOCLOUD_SERVICE", binding.spec.target.service.clone()),
            ("NANOCLOUD_NAMESPACE", namespace),
        ];
        let mut spec = ExecSpec::new(binding.spec.command.clone());
        spec.env = env.map(|(name, value)| (name.to_owned(), value)).into();
        spec.inherit_env = false;
        spec.cwd = Some("/".into());
        spec.user = Some(UserIds { uid: self.config.uid, gid: self.config.gid, groups: Vec::new() });
        spec.stdin = StdinMode::Null;
        spec.extra_fds = vec![sealed(&encode(parameters))?];
        spec.timeout = Some(limit);
        Ok(spec)
    }

    /// Values of all parameters, and what hides the secret ones. The error names what is missing, no value.
    async fn parameters(&self, binding: &Binding) -> Result<(BTreeMap<String, String>, Redactor), String> {
        let mut values = BTreeMap::new();
        let mut secrets = Vec::new();
        let namespace = binding.metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        let api = Api::<Secret>::namespaced(self.client.clone(), namespace);
        let mut fetched: HashMap<&str, Secret> = HashMap::new();
        for (name, parameter) in &binding.spec.parameters {
            let value = match (&parameter.value, &parameter.secret_key_ref) {
                (Some(value), _) => value.clone(),
                (None, Some(key)) => {
                    if !fetched.contains_key(key.name.as_str()) {
                        let found =
                            api.get_opt(&key.name).await.map_err(|e| format!("secret {}: {}", key.name, chain(&e)))?;
                        fetched.insert(&key.name, found.ok_or_else(|| format!("secret {} not found", key.name))?);
                    }
                    let data = fetched.get(key.name.as_str()).and_then(|s| s.data.as_ref()?.get(&key.key));
                    let bytes = data.ok_or_else(|| format!("secret {} has no key {}", key.name, key.key))?;
                    let text = String::from_utf8(bytes.0.clone());
                    let text = text.map_err(|_| format!("key {} of secret {} is not text", key.key, key.name))?;
                    secrets.push(text.clone());
                    text
                }
                (None, None) => return Err(format!("parameter {name} has no value")),
            };
            values.insert(name.clone(), value);
        }
        Ok((values, Redactor::new(secrets.iter().map(String::as_str))))
    }

    fn count(&self, binding: &Binding, result: BindingResult) {
        let labels = BindingLabels { service: binding.spec.target.service.clone(), result };
        self.metrics.bindings.get_or_create(&labels).inc();
    }

    fn observe(&self, binding: &Binding, ended: &Ended, run: &Run, took: Duration) {
        let labels = ServiceLabels { service: binding.spec.target.service.clone() };
        self.metrics.binding_seconds.get_or_create(&labels).observe(took.as_secs_f64());
        let (result, severity, reason) = match ended.phase {
            BindingPhase::Completed => (BindingResult::completed, Severity::Normal, "BindingCompleted"),
            BindingPhase::TimedOut => (BindingResult::timeout, Severity::Warning, "BindingTimeout"),
            _ => (BindingResult::failed, Severity::Warning, "BindingFailed"),
        };
        self.count(binding, result);
        let text = match ended.exit_code {
            Some(code) if code != 0 => format!("exit code {code}: {}", ended.message),
            _ if ended.message.is_empty() => "completed".to_owned(),
            _ => ended.message.clone(),
        };
        self.tell(binding, severity, reason, run, Some(took), text);
    }

    fn tell(
        &self,
        binding: &Binding,
        severity: Severity,
        reason: &str,
        run: &Run,
        took: Option<Duration>,
        text: String,
    ) {
        let spec = &binding.spec;
        let mut facts = HashMap::from([
            (annotation::BINDING_ID.to_owned(), spec.binding_id.clone()),
            (annotation::SERVICE.to_owned(), spec.target.service.clone()),
            (annotation::BUNDLE.to_owned(), spec.bundle.clone()),
            (annotation::ATTEMPT.to_owned(), run.attempt.to_string()),
            (annotation::APPARMOR.to_owned(), run.apparmor.clone()),
        ]);
        facts.extend(took.map(|took| (annotation::DURATION_MS.to_owned(), took.as_millis().to_string())));
        let message =
            format!("{} of {} in {}, run {}: {text}", spec.binding_id, spec.bundle, spec.target.service, run.attempt);
        self.recorder.record_with(binding, severity, reason, message, facts);
    }
}

/// Reads how a command ended.
fn conclude(done: &ExecCapture, redactor: &Redactor, limit: Duration, uid: u32) -> Ended {
    let mut message = String::new();
    for output in [&done.stdout, &done.stderr] {
        let shown = redactor.tail(output, output.len() >= OUTPUT_MAX);
        if !shown.is_empty() {
            message = if message.is_empty() { shown } else { format!("{message}\n{shown}") };
        }
    }
    if done.exit.timed_out {
        let message = format!("killed after {} s. {message}", limit.as_secs());
        return Ended { phase: BindingPhase::TimedOut, exit_code: Some(done.exit.code), message };
    }
    if done.exit.code == 0 {
        return Ended { phase: BindingPhase::Completed, exit_code: Some(0), message };
    }
    if uid != NOBODY {
        // Programs that know their caller by its user, as databases do, know the default one.
        let hint = format!(
            "it ran as user {uid}, as the setting binding_uid says; a service that trusts user {NOBODY} (nobody) only \
             refuses it"
        );
        message = if message.is_empty() { hint } else { format!("{message}\n{hint}") };
    }
    Ended { phase: BindingPhase::Failed, exit_code: Some(done.exit.code), message }
}

#[cfg(test)]
mod tests {
    use runtime::container::ExecExit;

    use super::*;

    #[test]
    fn ends_are_told_apart_and_secrets_hidden() {
        let redactor = Redactor::new(["hunter22"]);
        for (code, timed_out, phase) in
            [(0, false, BindingPhase::Completed), (3, false, BindingPhase::Failed), (137, true, BindingPhase::TimedOut)]
        {
            let exit = ExecExit { code, signal: None, timed_out };
            let done = ExecCapture { exit, stdout: b"made user".to_vec(), stderr: b"with hunter22".to_vec() };
            let ended = conclude(&done, &redactor, Duration::from_secs(2), NOBODY);
            assert_eq!((ended.phase, ended.exit_code), (phase, Some(code)));
            assert!(ended.message.ends_with("made user\nwith [redacted]"), "{}", ended.message);
            let told = conclude(&done, &redactor, Duration::from_secs(2), 12345).message.contains("binding_uid");
            assert_eq!(told, phase == BindingPhase::Failed, "another user is a reason to fail");
        }
    }
}
