use api::{Time, decode, kinds::binding::BindingStatus};
use serde_json::json;

use super::*;
use crate::bundles::backoff::BINDING_BACKOFF_MAX;

const NOW: &str = "2026-01-01T00:10:00Z";

fn bundle(name: &str, uid: &str, ready: bool) -> Bundle {
    let status = if ready { "True" } else { "False" };
    let condition = json!({"type": "Ready", "status": status, "reason": "StartCompleted", "message": "", "lastTransitionTime": NOW});
    decode(json!({"metadata": {"name": name, "namespace": "default", "uid": uid}, "spec": {"service": name},
        "status": {"conditions": [condition], "profile": {"image": "i"}}}))
    .unwrap()
}

fn calls(names: &[&str]) -> Vec<BindingPlan> {
    let call = |name: &&str| BindingPlan {
        id: (*name).to_owned(),
        name: format!("database-{name}"),
        option: "database".into(),
        target: "mariadb".into(),
        command: dockyard::offer_command(name),
        undo: None,
        parameters: [
            ("username".to_owned(), Value::Literal("blog".into())),
            ("password".to_owned(), Value::SecretRef("database_password".into())),
        ]
        .into_iter()
        .collect(),
    };
    names.iter().map(call).collect()
}

struct World {
    bundle: Bundle,
    plans: Vec<BindingPlan>,
    targets: BTreeMap<String, Bundle>,
    bindings: Vec<Binding>,
}

impl World {
    fn new(ready: bool) -> Self {
        Self {
            bundle: bundle("blog", "blog-uid", true),
            plans: calls(&["create_user"]),
            targets: BTreeMap::from([("mariadb".to_owned(), bundle("mariadb", "db-uid", ready))]),
            bindings: Vec::new(),
        }
    }

    fn plan(&self) -> Outcome {
        plan(&Observed {
            bundle: &self.bundle,
            plans: &self.plans,
            targets: &self.targets,
            bindings: &self.bindings,
            profile_secret: None,
            now: NOW.parse().unwrap(),
        })
    }

    /// Lets the first step of the plan happen.
    fn take(&mut self) -> Binding {
        let outcome = self.plan();
        let binding: Binding = match outcome.steps.first() {
            Some(Step::Create { object, .. } | Step::Replace { object, .. }) => decode(object.clone()).unwrap(),
            other => panic!("{other:?}"),
        };
        self.bindings = vec![binding.clone()];
        binding
    }

    /// Ends the run of the first binding.
    fn end(&mut self, phase: BindingPhase, seconds_ago: i64) {
        let now: Timestamp = NOW.parse().unwrap();
        let token = self.bindings[0].spec.token.clone();
        self.bindings[0].status = Some(BindingStatus {
            phase,
            token,
            attempts: 1,
            exit_code: (phase == BindingPhase::Failed).then_some(7),
            finished_at: Some(Time(now - jiff::SignedDuration::from_secs(seconds_ago))),
            message: "access denied".into(),
            ..BindingStatus::default()
        });
    }
}

#[test]
fn a_run_waits_for_its_target_and_names_secrets_only() {
    let waiting = World::new(false).plan();
    assert!(waiting.steps.is_empty());
    assert_eq!(waiting.open, Some(Open::Pending("create_user waits for bundle mariadb to be Ready".into())));
    let mut world = World::new(true);
    let binding = world.take();
    assert_eq!(binding.metadata.name.as_deref(), Some("blog-database-create_user"));
    assert_eq!(binding.spec.command, ["/usr/lib/nanocloud/bindings/create_user"]);
    let password = binding.spec.parameters["password"].secret_key_ref.clone().unwrap();
    assert_eq!((password.name.as_str(), password.key.as_str()), ("blog-profile", "database_password"));
    assert!(world.plan().steps.is_empty(), "one run is asked for once");
}

#[test]
fn success_is_recorded_and_outlives_the_object() {
    let mut world = World::new(true);
    world.take();
    world.end(BindingPhase::Completed, 0);
    let outcome = world.plan();
    assert_eq!((outcome.open, outcome.records.len()), (None, 1));
    assert!(outcome.records[0].completed_at.is_some());
    world.bundle.status.as_mut().unwrap().profile.as_mut().unwrap().bindings = outcome.records;
    world.bindings.clear();
    world.targets.get_mut("mariadb").unwrap().status = None;
    let again = world.plan();
    assert!(again.steps.is_empty() && again.open.is_none());
}

#[test]
fn failures_are_tried_again_after_a_growing_pause() {
    for (phase, word) in [(BindingPhase::Failed, "exit code 7"), (BindingPhase::TimedOut, "took too long")] {
        let mut world = World::new(true);
        let first = world.take();
        world.end(phase, 1);
        let early = world.plan();
        assert!(early.steps.is_empty());
        assert_eq!(early.next, Next::After(Duration::from_secs(1)));
        let Some(Open::Failed(message)) = early.open else { panic!() };
        assert!(
            message.contains(word) && message.contains("access denied") && message.contains("nanocloud logs mariadb")
        );
        world.end(phase, 2);
        let second = world.take();
        assert_eq!(second.spec.token, first.spec.token.replace("-1", "-2"));
        world.end(phase, 3);
        assert_eq!(world.plan().next, Next::After(Duration::from_secs(1)), "the pause doubled");
    }
    assert_eq!(backoff(u32::MAX), BINDING_BACKOFF_MAX);
}

#[test]
fn a_new_run_is_due_when_anything_that_matters_changed() {
    let token = |change: &dyn Fn(&mut World)| {
        let mut world = World::new(true);
        change(&mut world);
        world.take().spec.token
    };
    let base = token(&|_| {});
    assert_eq!(base, token(&|_| {}));
    let changes: [&dyn Fn(&mut World); 4] = [
        &|world| world.bundle.metadata.uid = Some("another".into()),
        &|world| world.targets.get_mut("mariadb").unwrap().metadata.uid = Some("reinstalled".into()),
        &|world| drop(world.plans[0].parameters.insert("username".into(), Value::Literal("other".into()))),
        &|world| world.bundle.metadata.annotations = Some(BTreeMap::from([(RERUN_BINDINGS.into(), "1".into())])),
    ];
    for change in changes {
        assert_ne!(token(change), base);
    }
}

#[test]
fn bindings_go_in_order_and_stale_ones_go_away() {
    let mut world = World::new(true);
    world.plans = calls(&["create_user", "create_index"]);
    assert_eq!(world.plan().steps.len(), 1);
    world.take();
    world.end(BindingPhase::Completed, 0);
    let Step::Create { key, .. } = &world.plan().steps[0] else { panic!() };
    assert_eq!(key.name, "blog-database-create_index");
    world.plans.clear();
    assert!(matches!(&world.plan().steps[..], [Step::Delete { key, .. }] if key.name == "blog-database-create_user"));
}
