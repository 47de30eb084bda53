//! Taking back what bindings made, such as a user of a database.
//!
//! A finalizer keeps the object of a binding that is deleted, with its bundle or because an option changed. It becomes
//! the run of the undo command: in the same container, by the same kubelet, tried again when it fails. Once that has
//! ended the object goes. It goes as well when the command cannot run: whoever uninstalls must not wait for ever for
//! a database that is stopped or broken. Then an event tells what is left.

use std::{collections::BTreeMap, time::Duration};

use api::{
    kinds::{
        Binding, Bundle,
        binding::{BindingPhase, BindingSpec, BindingUndo, UNDO_MARK},
    },
    names::finalizer::BINDING_REVOCATION,
};
use jiff::Timestamp;

use super::{backoff::backoff, names};
use crate::{controller::Next, step::Step};

/// How long a binding that is being deleted waits for its undo command.
const PATIENCE: Duration = Duration::from_secs(60);
/// Reason of the event about what is left.
const LEFT: &str = "BindingNotRevoked";

/// How far the revocation of one binding is.
enum Stand {
    /// There is nothing to take back any more.
    Done,
    /// The undo command is to run, or to end.
    Open(Option<Box<Binding>>),
    /// The undo command failed and runs again after this long.
    Paused(Duration),
    /// It stays, for this reason.
    Left(String),
}

/// Whether a binding is being deleted and has something to take back still.
pub(crate) fn is_open(binding: &Binding) -> bool {
    BINDING_REVOCATION.holds(&binding.metadata) && binding.metadata.deletion_timestamp.is_some()
}

/// Bundles in which undo commands may have to run.
pub(crate) fn targets(bindings: &[Binding]) -> impl Iterator<Item = &str> {
    bindings.iter().filter(|binding| is_open(binding)).map(|binding| binding.spec.target.bundle.as_str())
}

/// What to do about the bindings of `bundle` that are being deleted, and when to look again. `targets` are the bundles
/// that exist, by name.
pub(crate) fn plan(
    bundle: &Bundle,
    bindings: &[Binding],
    targets: &BTreeMap<String, Bundle>,
    now: Timestamp,
) -> (Vec<Step>, Next) {
    let mut steps = Vec::new();
    let mut next = Next::OnChange;
    for binding in bindings.iter().filter(|binding| is_open(binding)) {
        let began = binding.metadata.deletion_timestamp.as_ref().map_or(now, |time| time.0);
        let waited = Duration::try_from(now.duration_since(began)).unwrap_or_default();
        let left = PATIENCE.saturating_sub(waited);
        match stand(binding, targets, left.is_zero(), now) {
            Stand::Done => steps.push(free(binding)),
            Stand::Left(why) => {
                steps.push(Step::warning(bundle, LEFT, told(bundle, binding, &why)));
                steps.push(free(binding));
            }
            Stand::Open(run) => {
                next = next.sooner(Next::After(left));
                steps.extend(run.map(|run| Step::replace(run.as_ref())));
            }
            Stand::Paused(pause) => next = next.sooner(Next::After(pause.min(left))),
        }
    }
    (steps, next)
}

fn stand(binding: &Binding, targets: &BTreeMap<String, Bundle>, late: bool, now: Timestamp) -> Stand {
    let target = targets.get(&binding.spec.target.bundle);
    let target = target.filter(|target| target.metadata.deletion_timestamp.is_none());
    // A target that goes takes along what was made in it, or its volume keeps it for good.
    let (Some(undo), Some(target)) = (&binding.spec.undo, target) else { return Stand::Done };
    let (revokes, status) = (binding.revokes(), binding.status.as_ref());
    if revokes && binding.phase() == BindingPhase::Completed || !revokes && status.is_none() {
        return Stand::Done;
    }
    if !target.spec.start {
        return Stand::Left("it is stopped".to_owned());
    }
    if late {
        let said = status.filter(|status| revokes && !status.message.is_empty());
        let said = said.map(|status| format!(": {}", status.message)).unwrap_or_default();
        return Stand::Left(format!("it did not succeed within {} s{said}", PATIENCE.as_secs()));
    }
    if !revokes {
        let token = format!("{}{UNDO_MARK}", binding.spec.token);
        return Stand::Open(Some(Box::new(Binding { spec: run(&binding.spec, undo, token), ..binding.clone() })));
    }
    if !matches!(binding.phase(), BindingPhase::Failed | BindingPhase::TimedOut) {
        return Stand::Open(None);
    }
    let ended = status.and_then(|status| status.finished_at.as_ref()).map_or(now, |time| time.0);
    let waited = Duration::try_from(now.duration_since(ended)).unwrap_or_default();
    match backoff(binding.attempt()).saturating_sub(waited) {
        Duration::ZERO => {
            let spec = run(&binding.spec, undo, next_token(binding));
            Stand::Open(Some(Box::new(Binding { spec, ..binding.clone() })))
        }
        pause => Stand::Paused(pause),
    }
}

/// Token of another run of an undo command.
fn next_token(binding: &Binding) -> String {
    let made = binding.spec.token.strip_suffix(UNDO_MARK).unwrap_or(&binding.spec.token);
    let base = made.split_once('.').map_or(made, |(base, _)| base);
    format!("{base}.{}{UNDO_MARK}", binding.attempt().saturating_add(1))
}

/// The run that takes a binding back.
fn run(made: &BindingSpec, undo: &BindingUndo, token: String) -> BindingSpec {
    BindingSpec {
        binding_id: undo.binding_id.clone(),
        command: undo.command.clone(),
        parameters: undo.parameters.clone(),
        token,
        ..made.clone()
    }
}

/// Lets the object go.
fn free(binding: &Binding) -> Step {
    let mut free = binding.clone();
    BINDING_REVOCATION.remove(&mut free.metadata);
    Step::replace(&free)
}

fn told(bundle: &Bundle, binding: &Binding, why: &str) -> String {
    let undo = binding.spec.undo.as_ref().map_or("", |undo| undo.binding_id.as_str());
    let (name, target) = (names::name(bundle), &binding.spec.target.bundle);
    format!("{undo} of {name} in bundle {target}: {why}; what {name} was given there is left, remove it by hand")
}

#[cfg(test)]
mod tests {
    use api::decode;
    use serde_json::{Value, json};

    use super::*;

    const DELETED: &str = "2026-01-01T00:10:00Z";
    const SOON: &str = "2026-01-01T00:10:05Z";
    const LATE: &str = "2026-01-01T00:11:00Z";

    fn blog() -> Bundle {
        decode(json!({"metadata": {"name": "blog", "namespace": "default"}, "spec": {"service": "wordpress"}})).unwrap()
    }

    fn database(start: bool, deleted: Option<&str>) -> BTreeMap<String, Bundle> {
        let meta = json!({"name": "mariadb", "namespace": "default", "deletionTimestamp": deleted});
        let bundle = decode(json!({"metadata": meta, "spec": {"service": "mariadb", "start": start}})).unwrap();
        BTreeMap::from([("mariadb".to_owned(), bundle)])
    }

    fn binding(token: &str, status: Value) -> Binding {
        let meta = json!({"name": "blog-create", "namespace": "default", "deletionTimestamp": DELETED,
            "finalizers": [BINDING_REVOCATION.name()]});
        decode(json!({"metadata": meta, "status": status, "spec": {
            "bundle": "blog", "bindingId": "create_user", "target": {"bundle": "mariadb", "service": "mariadb"},
            "command": ["/b/create_user"], "token": token,
            "parameters": {"username": {"value": "blog"}, "password": {"value": "x"}},
            "undo": {"bindingId": "revoke_user", "command": ["/b/revoke_user"],
                "parameters": {"username": {"value": "blog"}}}}}))
        .unwrap()
    }

    fn decided(binding: Binding, targets: &BTreeMap<String, Bundle>, now: &str) -> (Vec<Step>, Next) {
        plan(&blog(), &[binding], targets, now.parse().unwrap())
    }

    /// The object that a step writes.
    fn written(step: &Step) -> Binding {
        let Step::Replace { object, .. } = step else { panic!("{step:?}") };
        decode(object.clone()).unwrap()
    }

    fn is_free(step: &Step) -> bool {
        written(step).metadata.finalizers.unwrap_or_default().is_empty()
    }

    #[test]
    fn what_a_binding_made_is_taken_back_before_it_goes() {
        let made = json!({"token": "t-1", "phase": "Completed", "attempts": 1});
        let (steps, next) = decided(binding("t-1", made.clone()), &database(true, None), SOON);
        let run = written(&steps[0]);
        assert_eq!((run.spec.binding_id.as_str(), run.spec.token.as_str()), ("revoke_user", "t-1-undo"));
        assert_eq!(run.spec.command, ["/b/revoke_user"]);
        assert_eq!(run.spec.parameters.keys().collect::<Vec<_>>(), ["username"], "only what it declares");
        assert!(run.revokes() && is_open(&run));
        assert_eq!((steps.len(), next), (1, Next::After(Duration::from_secs(55))));

        for status in [made.clone(), json!({"token": "t-1-undo", "phase": "Running", "attempts": 1})] {
            let (steps, next) = decided(binding("t-1-undo", status), &database(true, None), SOON);
            assert!(steps.is_empty() && next == Next::After(Duration::from_secs(55)), "it waits: {steps:?}");
        }
        let done = json!({"token": "t-1-undo", "phase": "Completed", "attempts": 2});
        let (steps, next) = decided(binding("t-1-undo", done), &database(true, None), SOON);
        assert!(steps.len() == 1 && is_free(&steps[0]) && next == Next::OnChange);

        let kept = Binding { metadata: api::ObjectMeta::default(), ..binding("t-1", made) };
        assert!(decided(kept, &database(true, None), SOON).0.is_empty(), "one that is not deleted");
    }

    #[test]
    fn an_undo_command_that_failed_runs_again_under_another_token() {
        let failed =
            |token: &str, at: &str| json!({"token": token, "phase": "Failed", "attempts": 1, "finishedAt": at});
        let early =
            decided(binding("t-1-undo", failed("t-1-undo", "2026-01-01T00:10:04Z")), &database(true, None), SOON);
        assert!(early.0.is_empty() && early.1 == Next::After(Duration::from_secs(1)), "{early:?}");
        for (token, wanted) in [("t-1-undo", "t-1.2-undo"), ("t-1.2-undo", "t-1.3-undo")] {
            let status = failed(token, "2026-01-01T00:10:00Z");
            let (steps, _) = decided(binding(token, status), &database(true, None), SOON);
            let again = written(&steps[0]);
            assert_eq!((again.spec.token.as_str(), again.spec.command[0].as_str()), (wanted, "/b/revoke_user"));
            assert!(again.revokes());
        }
    }

    #[test]
    fn nothing_is_taken_back_from_who_is_not_there() {
        let status = json!({"token": "t-1", "phase": "Completed", "attempts": 1});
        let never = decided(binding("t-1", Value::Null), &database(true, None), SOON);
        let gone = decided(binding("t-1", status.clone()), &BTreeMap::new(), SOON);
        let going = decided(binding("t-1", status), &database(true, Some(DELETED)), SOON);
        for (steps, next) in [never, gone, going] {
            assert!(steps.len() == 1 && is_free(&steps[0]) && next == Next::OnChange, "{steps:?}");
        }
    }

    #[test]
    fn what_cannot_be_taken_back_is_told_and_holds_nobody_up() {
        let failed = json!({"token": "t-1-undo", "phase": "Failed", "attempts": 4, "message": "access denied"});
        let stopped = decided(binding("t-1", json!({"token": "t-1"})), &database(false, None), SOON);
        let late = decided(binding("t-1-undo", failed), &database(true, None), LATE);
        for ((steps, next), why) in [(stopped, "it is stopped"), (late, "within 60 s: access denied")] {
            let [Step::Notify(notice), freed] = &steps[..] else { panic!("{steps:?}") };
            assert!(notice.warning && notice.message.contains(why), "{}", notice.message);
            assert!(notice.message.starts_with("revoke_user of blog in bundle mariadb: "), "{}", notice.message);
            assert!(is_free(freed) && next == Next::OnChange);
        }
    }
}
