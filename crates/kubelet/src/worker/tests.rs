//! A worker in a small world: what it does, in which order, and what it says.

#![expect(clippy::disallowed_methods, reason = "tests start programs and tasks, and end them")]

use std::sync::Arc;

use api::{Time, kinds::Pod};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, PodCondition};
use runtime::container::MountSpec;
use serde_json::json;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    Desired, Shared, Worker,
    fakes::{Things, World},
};
use crate::files::{ContainerName, PodUid, VolumeName, unmount_below};

struct Bench {
    world: Arc<World>,
    shared: Arc<Shared>,
    desired: watch::Sender<Desired>,
    worker: JoinHandle<()>,
    stop: CancellationToken,
    _dir: Dir,
}

/// What a worker mounts goes away with the test, however it ends.
struct Dir(tempfile::TempDir);

impl Drop for Dir {
    fn drop(&mut self) {
        unmount_below(self.0.path()).unwrap();
    }
}

fn uid(text: &str) -> PodUid {
    PodUid::new(text, "metadata.uid").unwrap()
}

fn pod(spec: serde_json::Value) -> Pod {
    let mut all = json!({"containers": [{"name": "a", "image": "img"}], "terminationGracePeriodSeconds": 5});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "default", "uid": "u1"}, "spec": all}))
        .unwrap()
}

impl Bench {
    fn start(pod: Pod, prepare: impl FnOnce(&mut Things)) -> Self {
        let dir = Dir(tempfile::tempdir().unwrap());
        let world = Arc::new(World::default());
        world.with(|things| {
            things.pod = Some(pod.clone());
            prepare(things);
        });
        let shared = world.shared(dir.0.path());
        let (desired, receiver) = watch::channel(Desired { pod: Arc::new(pod), gone: false });
        let stop = CancellationToken::new();
        let worker = tokio::spawn(Worker::new(Arc::clone(&shared), uid("u1"), receiver).run(stop.clone()));
        Self { world, shared, desired, worker, stop, _dir: dir }
    }

    /// The server is killed and starts again: a new worker with what the API has.
    async fn restart(&mut self) {
        self.kill().await;
        self.resume();
    }

    async fn kill(&mut self) {
        self.worker.abort();
        let _ = (&mut self.worker).await;
    }

    fn resume(&mut self) {
        let pod = Arc::new(self.world.with(|things| things.pod.clone()).unwrap());
        let (desired, receiver) = watch::channel(Desired { pod, gone: false });
        self.desired = desired;
        self.shared.host_ports.lock().clear();
        self.worker = tokio::spawn(Worker::new(Arc::clone(&self.shared), uid("u1"), receiver).run(self.stop.clone()));
    }

    /// Somebody else sets a condition of the pod.
    fn set_condition(&self, name: &str, value: &str) {
        let pod = self.world.with(|things| {
            let pod = things.pod.as_mut().unwrap();
            let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
            conditions.retain(|c| c.type_ != name);
            conditions.push(PodCondition { type_: name.into(), status: value.into(), ..Default::default() });
            pod.clone()
        });
        self.desired.send_replace(Desired { pod: Arc::new(pod), gone: false });
    }

    fn delete(&self) {
        let mut pod = self.world.with(|things| things.pod.clone()).unwrap();
        let grace = if self.world.with(|t| t.stubborn) { 0 } else { 10 };
        pod.metadata.deletion_grace_period_seconds = Some(grace);
        pod.metadata.deletion_timestamp = Some(Time(Timestamp::now()));
        self.world.with(|things| things.pod = Some(pod.clone()));
        self.desired.send_replace(Desired { pod: Arc::new(pod), gone: false });
    }

    async fn ended(mut self) -> Arc<World> {
        (&mut self.worker).await.unwrap();
        Arc::clone(&self.world)
    }
}

fn status(things: &Things) -> Option<&ContainerStatus> {
    things.pod.as_ref()?.status.as_ref()?.container_statuses.as_ref()?.first()
}

fn phase(things: &Things) -> &str {
    things.pod.as_ref().and_then(|p| p.status.as_ref()?.phase.as_deref()).unwrap_or_default()
}

fn ready(things: &Things) -> bool {
    status(things).is_some_and(|s| s.ready)
}

fn waiting(things: &Things) -> &str {
    let waiting = status(things).and_then(|s| s.state.as_ref()?.waiting.as_ref()?.reason.as_deref());
    waiting.unwrap_or_default()
}

#[tokio::test]
async fn a_pod_runs_and_its_deletion_leaves_nothing() {
    let bench = Bench::start(pod(json!({})), |_| {});
    bench.world.until("ready", ready).await;
    let run_dir = bench.shared.layout.run(&uid("u1"));
    assert!(run_dir.join("etc/resolv.conf").exists());
    bench.delete();
    let world = bench.ended().await;
    world.with(|things| {
        let log: Vec<&str> = things.log.iter().map(String::as_str).collect();
        let wanted = ["attach", "start u1.a.0", "signal 15 u1.a.0", "remove u1.a.0", "unpublish", "detach", "release"];
        assert_eq!(log, wanted);
        assert!(things.containers.is_empty() && things.attached.is_empty());
    });
    assert!(!run_dir.exists());
}

#[tokio::test]
async fn an_adopted_pod_that_is_to_stop_at_once_does_not_wait_for_its_grace() {
    // With a probe, as its containers are probed by an address that a stopping pod never asks for.
    let probe = json!({"exec": {"command": ["ok"]}});
    let mut bench =
        Bench::start(pod(json!({"containers": [{"name": "a", "image": "img", "readinessProbe": probe}]})), |_| {});
    bench.world.until("ready", ready).await;
    bench.kill().await;
    bench.delete();
    bench.resume();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(5), bench.ended()).await;
    let world = ended.expect("its grace of ten seconds is not waited for");
    let log = world.with(|things| things.log.join(","));
    assert!(log.contains("signal 15 u1.a.0,remove u1.a.0"), "{log}");
}

#[tokio::test]
async fn what_was_said_while_the_node_was_silent_is_put_right() {
    let bench = Bench::start(pod(json!({})), |_| {});
    bench.world.until("ready", ready).await;
    let mut told = bench.world.with(|things| things.pod.clone()).unwrap();
    for condition in told.status.iter_mut().flat_map(|status| status.conditions.iter_mut().flatten()) {
        if condition.type_ == "Ready" {
            condition.status = "False".into();
            condition.reason = Some(api::kinds::node::NODE_NOT_READY.into());
        }
    }
    bench.world.with(|things| things.pod = Some(told.clone()));
    bench.desired.send_replace(Desired { pod: Arc::new(told), gone: false });
    let right = |things: &Things| {
        let conditions =
            things.pod.iter().flat_map(|pod| pod.status.iter()).flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    bench.world.until("ready again", right).await;
}

#[tokio::test]
async fn a_program_that_ignores_term_is_killed_after_the_grace() {
    let bench = Bench::start(pod(json!({})), |things| things.stubborn = true);
    bench.world.until("ready", ready).await;
    bench.delete();
    let world = bench.ended().await;
    let log = world.with(|things| things.log.join(","));
    assert!(log.contains("signal 15 u1.a.0,kill u1.a.0,remove u1.a.0"), "{log}");
}

#[tokio::test]
async fn a_crash_is_told_with_its_termination_message_and_run_again() {
    let containers = json!([{"name": "a", "image": "img", "terminationMessagePolicy": "FallbackToLogsOnError"}]);
    let bench = Bench::start(pod(json!({"containers": containers})), |_| {});
    bench.world.until("ready", ready).await;
    bench.world.end("u1.a.0", 3);
    bench.world.until("crash loop", |t| waiting(t) == "CrashLoopBackOff").await;
    bench.world.until("second run", |t| status(t).is_some_and(|s| s.restart_count == 1 && s.ready)).await;
    bench.world.with(|things| {
        let last = status(things).unwrap().last_state.clone().unwrap().terminated.unwrap();
        assert_eq!((last.exit_code, last.message.as_deref()), (3, Some("first\nlast line of the log")));
        assert!(
            things.events.contains(&("Exited".into(), "Container a exited with code 3: last line of the log".into()))
        );
        assert!(!things.containers.contains_key("u1.a.0"), "what is left of the first run is removed");
    });
}

#[tokio::test]
async fn the_end_of_the_log_is_told_to_nobody_unless_the_pod_asks_for_it() {
    let bench = Bench::start(pod(json!({"restartPolicy": "Never"})), |_| {});
    bench.world.until("ready", ready).await;
    bench.world.end("u1.a.0", 3);
    bench.world.until("failed", |t| phase(t) == "Failed").await;
    bench.world.with(|things| {
        let ended = status(things).unwrap().state.clone().unwrap().terminated.unwrap();
        assert_eq!((ended.exit_code, ended.message), (3, None));
        let said = format!("{:?}", things.events);
        assert!(said.contains("exited with code 3") && !said.contains("of the log"), "{said}");
    });
}

#[tokio::test]
async fn a_termination_message_comes_from_the_file_the_container_wrote() {
    let bench = Bench::start(pod(json!({"restartPolicy": "Never"})), |_| {});
    bench.world.until("ready", ready).await;
    let file = bench.shared.layout.termination_message(&uid("u1"), &ContainerName::new("a", "").unwrap(), 0);
    std::fs::write(file, "x".repeat(10_000)).unwrap();
    bench.world.end("u1.a.0", 3);
    bench.world.until("failed", |t| phase(t) == "Failed").await;
    bench.world.with(|things| {
        let ended = status(things).unwrap().state.clone().unwrap().terminated.unwrap();
        assert_eq!(ended.message.map(|words| words.len()), Some(4096));
    });
}

#[tokio::test]
async fn a_deletion_from_long_ago_still_asks_before_it_kills() {
    let mut bench = Bench::start(pod(json!({})), |_| {});
    bench.world.until("ready", ready).await;
    bench.worker.abort();
    // While no server looks, the pod is deleted; the API's clock says that its time is long up.
    bench.world.with(|things| {
        let meta = &mut things.pod.as_mut().unwrap().metadata;
        meta.deletion_grace_period_seconds = Some(30);
        meta.deletion_timestamp = Some(Time("2020-01-01T00:00:00Z".parse().unwrap()));
    });
    bench.restart().await;
    let world = bench.ended().await;
    world.with(|things| {
        assert!(things.log.contains(&"signal 15 u1.a.0".to_owned()), "{:?}", things.log);
        assert!(!things.log.contains(&"kill u1.a.0".to_owned()), "{:?}", things.log);
    });
}

#[tokio::test]
async fn a_pod_that_is_active_for_too_long_fails_and_its_containers_are_told_as_ended() {
    let bench = Bench::start(pod(json!({"activeDeadlineSeconds": 1})), |_| {});
    bench.world.until("ready", ready).await;
    bench.world.until("failed", |t| phase(t) == "Failed" && t.containers.is_empty() && t.attached.is_empty()).await;
    bench.world.with(|things| {
        let whole = things.pod.as_ref().unwrap().status.as_ref().unwrap();
        assert_eq!(whole.reason.as_deref(), Some("DeadlineExceeded"));
        assert!(status(things).unwrap().state.as_ref().unwrap().terminated.is_some());
        assert!(things.events.iter().any(|(reason, _)| reason == "DeadlineExceeded"));
        assert!(things.log.contains(&"signal 15 u1.a.0".to_owned()));
    });
}

#[tokio::test]
async fn a_readiness_gate_opens_and_closes_the_pod() {
    let bench = Bench::start(pod(json!({"readinessGates": [{"conditionType": "example.com/gate"}]})), |_| {});
    let is_ready = |t: &Things| {
        let conditions = t.pod.as_ref().and_then(|p| p.status.as_ref()?.conditions.clone()).unwrap_or_default();
        conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
    };
    bench.world.until("containers ready", ready).await;
    for (gate, wanted) in [("False", false), ("True", true), ("False", false), ("True", true)] {
        bench.set_condition("example.com/gate", gate);
        bench.world.until("gate counts", |t| is_ready(t) == wanted).await;
    }
}

#[tokio::test]
async fn a_killed_server_finds_its_container_and_starts_no_other() {
    let mut bench = Bench::start(pod(json!({})), |_| {});
    bench.world.until("ready", ready).await;
    bench.restart().await;
    bench.world.until("attached again", |t| t.log.iter().filter(|l| *l == "attach").count() == 2).await;
    bench.world.with(|things| assert!(ready(things), "readiness survives"));
    // It ends while no server looks: the next one sees it.
    bench.worker.abort();
    bench.world.end("u1.a.0", 1);
    bench.restart().await;
    bench.world.until("second run", |t| status(t).is_some_and(|s| s.restart_count == 1 && s.ready)).await;
    bench.world.with(|things| {
        let starts: Vec<&String> = things.log.iter().filter(|l| l.starts_with("start")).collect();
        assert_eq!(starts, ["start u1.a.0", "start u1.a.1"]);
    });
}

#[tokio::test]
async fn an_object_deleted_behind_our_back_is_cleaned_up_too() {
    let bench = Bench::start(pod(json!({})), |_| {});
    bench.world.until("ready", ready).await;
    bench.desired.send_modify(|desired| desired.gone = true);
    let world = bench.ended().await;
    world.with(|things| {
        assert!(things.containers.is_empty() && things.attached.is_empty());
        assert!(!things.log.contains(&"release".to_owned()), "there is nothing to release");
    });
}

#[tokio::test]
async fn a_finished_pod_keeps_its_object_and_nothing_else() {
    let bench = Bench::start(pod(json!({"restartPolicy": "Never"})), |_| {});
    bench.world.until("ready", ready).await;
    bench.world.end("u1.a.0", 0);
    bench.world.until("clean", |t| phase(t) == "Succeeded" && t.attached.is_empty() && t.containers.is_empty()).await;
    bench.world.with(|things| {
        let ended = status(things).unwrap().state.clone().unwrap().terminated.unwrap();
        assert_eq!(ended.reason.as_deref(), Some("Completed"));
        assert!(things.pod.is_some());
    });
}

#[tokio::test]
async fn secrets_become_files_and_environment_and_are_told_to_nobody() {
    const VALUE: &str = "correct-horse-battery";
    let spec = json!({"containers": [{"name": "a", "image": "img",
            "env": [{"name": "PW", "valueFrom": {"secretKeyRef": {"name": "s", "key": "pw"}}}],
            "volumeMounts": [{"name": "v", "mountPath": "/secrets", "readOnly": false}]}],
        "volumes": [{"name": "v", "secret": {"secretName": "s", "defaultMode": 256}}]});
    let bench = Bench::start(pod(spec), |_| {});
    bench.world.until("told what is missing", |t| t.events.iter().any(|(reason, _)| reason == "FailedMount")).await;
    bench.world.with(|things| {
        let message = status(things).unwrap().state.clone().unwrap().waiting.unwrap().message.unwrap();
        assert_eq!(message, "secret \"s\" not found");
        let secret = serde_json::from_value(
            json!({"metadata": {"name": "s"}, "stringData": {}, "data": {"pw": "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5"}}),
        );
        things.secrets.insert("s".into(), secret.unwrap());
    });
    bench.world.until("ready", ready).await;
    let file = bench.shared.layout.memory_volume(&uid("u1"), &VolumeName::new("v", "").unwrap()).join("pw");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), VALUE);
    {
        use std::os::unix::fs::MetadataExt as _;
        let meta = std::fs::metadata(&file).unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o777), (1000, 0o400));
    }
    bench.world.with(|things| {
        let spec = &things.specs["u1.a.0"];
        let mount = spec.mounts.iter().find(|m| m.target() == std::path::Path::new("/secrets")).unwrap();
        assert!(matches!(mount, MountSpec::Bind { read_only: true, .. }), "read-only, whatever the mount says");
        let env = &spec.env;
        assert!(env.contains(&("PW".into(), VALUE.into())));
        let said = format!("{:?}{:?}{:?}{:?}", things.events, things.log, things.pod, things.specs);
        assert!(!said.contains(VALUE));
    });
}

#[tokio::test]
async fn a_claim_is_bound_before_its_volume_is_made_for_the_images_user() {
    let claim = json!({"metadata": {"name": "data", "namespace": "default", "uid": "c1"},
        "spec": {"resources": {"requests": {"storage": "1Gi"}}}});
    let spec = json!({"containers": [{"name": "a", "image": "img", "volumeMounts": [{"name": "v", "mountPath": "/data"}]}],
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]});
    let bench = Bench::start(pod(spec), |things| {
        things.claims.insert("data".into(), serde_json::from_value(claim).unwrap());
    });
    bench.world.until("ready", ready).await;
    bench.world.with(|things| {
        let about_volumes: Vec<&String> = things.log.iter().filter(|l| l.contains("pvc")).collect();
        assert_eq!(about_volumes, ["bind pvc-c1 to n1", "create volume pvc-c1 for 1000:1000"]);
        let targets: Vec<String> =
            things.specs["u1.a.0"].mounts.iter().map(|m| m.target().display().to_string()).collect();
        assert!(targets.contains(&"/data".to_owned()) && targets.contains(&"/etc/resolv.conf".to_owned()));
    });
}

#[tokio::test]
async fn a_claim_of_another_node_is_not_mounted_and_the_node_is_named() {
    let claim = json!({"metadata": {"name": "data", "namespace": "default", "uid": "c1",
            "annotations": {"volume.kubernetes.io/selected-node": "n2"}},
        "spec": {"volumeName": "pvc-c1", "resources": {"requests": {"storage": "1Gi"}}}});
    let spec = json!({"containers": [{"name": "a", "image": "img", "volumeMounts": [{"name": "v", "mountPath": "/data"}]}],
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]});
    let bench = Bench::start(pod(spec), |things| {
        things.claims.insert("data".into(), serde_json::from_value(claim).unwrap());
    });
    let told =
        |t: &Things| t.events.iter().any(|(reason, text)| reason == "FailedMount" && text.contains("on node n2"));
    bench.world.until("told", told).await;
    bench.world.with(|things| {
        let waiting = status(things).unwrap().state.clone().unwrap().waiting.unwrap();
        assert!(waiting.message.unwrap().contains("persistentvolumeclaim \"data\": its volume is on node n2"));
        assert!(!things.log.iter().any(|l| l.contains("pvc")), "{:?}", things.log);
    });
}

#[tokio::test]
async fn a_missing_image_is_named_and_tried_again() {
    let bench = Bench::start(pod(json!({})), |things| things.images_broken = true);
    bench.world.until("told", |t| waiting(t) == "ErrImagePull").await;
    bench.world.until("told again", |t| waiting(t) == "ImagePullBackOff").await;
    bench.world.with(|things| things.images_broken = false);
    bench.world.until("ready", ready).await;
}

#[tokio::test]
async fn an_image_whose_name_cannot_be_read_waits_with_kubernetes_reason() {
    let bench = Bench::start(pod(json!({"containers": [{"name": "a", "image": "UPPER/case:"}]})), |_| {});
    let tries = |t: &Things| t.events.iter().filter(|(reason, _)| reason == "InspectFailed").count();
    bench.world.until("told", |t| waiting(t) == "InvalidImageName" && tries(t) > 1).await;
    assert!(bench.world.with(|t| waiting(t) == "InvalidImageName"), "and the reason stays");
}

#[tokio::test]
async fn what_the_pod_mounts_in_etc_is_seen_there() {
    let mounts = json!([{"name": "own", "mountPath": "/etc//hosts"}, {"name": "own", "mountPath": "/etc/x"}]);
    let spec = json!({"containers": [{"name": "a", "image": "img", "volumeMounts": mounts}],
        "volumes": [{"name": "own", "emptyDir": {}}]});
    let bench = Bench::start(pod(spec), |_| {});
    bench.world.until("ready", ready).await;
    let mounts = bench.world.with(|things| things.specs.values().next().unwrap().mounts.clone());
    let at = |place: &str| {
        let found = mounts.iter().filter(|mount| mount.target() == std::path::Path::new(place));
        found.map(|mount| matches!(mount, MountSpec::Bind { read_only: true, .. })).collect::<Vec<_>>()
    };
    assert_eq!(at("/etc/hosts"), [false], "the volume, and once");
    assert_eq!(at("/etc/resolv.conf"), [true]);
}

#[tokio::test]
async fn a_pull_without_room_makes_room() {
    let bench = Bench::start(pod(json!({})), |things| things.disk_full = true);
    let keeper = tokio::spawn(crate::room::keep(Arc::clone(&bench.shared), bench.stop.clone()));
    bench.world.until("images are collected", |t| !t.collected.is_empty()).await;
    bench.world.with(|things| things.disk_full = false);
    bench.world.until("ready", ready).await;
    keeper.abort();
}

#[tokio::test]
async fn above_the_high_mark_unused_images_go_before_the_next_is_pulled() {
    for (used_percent, collections) in [(85, 0), (86, 1)] {
        let not_there = json!({"containers": [{"name": "a", "image": "img", "imagePullPolicy": "Always"}]});
        let bench = Bench::start(pod(not_there), |things| things.used_percent = used_percent);
        bench.world.until("ready", ready).await;
        bench.world.with(|things| assert_eq!(things.collected.len(), collections, "at {used_percent} %"));
    }
}

#[tokio::test]
async fn an_image_is_asked_for_with_the_logins_of_its_registry() {
    let spec = json!({"containers": [{"name": "a", "image": "private.example/app"}],
        "imagePullSecrets": [{"name": "login"}, {"name": "gone"}]});
    let bench = Bench::start(pod(spec), |things| {
        let config = r#"{"auths":{"private.example":{"username":"u","password":"hunter22"},"other.example":{"username":"u","password":"p"}}}"#;
        let data =
            json!({".dockerconfigjson": base64::Engine::encode(&base64::engine::general_purpose::STANDARD, config)});
        let secret = json!({"metadata": {"name": "login"}, "type": "kubernetes.io/dockerconfigjson", "data": data});
        things.secrets.insert("login".into(), serde_json::from_value(secret).unwrap());
    });
    bench.world.until("ready", ready).await;
    bench.world.with(|things| {
        assert_eq!(things.logins, 1);
        let said = format!("{:?}", things.events);
        assert!(said.contains("FailedToRetrieveImagePullSecret") && said.contains("gone"), "{said}");
        assert!(!said.contains("hunter22"));
    });
}

#[tokio::test]
async fn a_refused_pod_says_why_and_can_be_deleted() {
    let bench = Bench::start(pod(json!({"hostNetwork": true})), |_| {});
    bench.world.until("told", |t| t.events.iter().any(|(reason, _)| reason == "SecurityPolicyViolation")).await;
    bench.delete();
    let world = bench.ended().await;
    world.with(|things| assert!(things.log.contains(&"release".to_owned())));
}

#[tokio::test]
async fn a_host_port_has_one_owner_until_it_is_given_back() {
    let spec =
        json!({"containers": [{"name": "a", "image": "img", "ports": [{"containerPort": 80, "hostPort": 8080}]}]});
    let bench = Bench::start(pod(spec.clone()), |_| {});
    bench.world.until("ready", ready).await;
    let mut second = pod(spec);
    second.metadata.uid = Some("u2".into());
    let (_desired, receiver) = watch::channel(Desired { pod: Arc::new(second), gone: false });
    let rival = tokio::spawn(Worker::new(Arc::clone(&bench.shared), uid("u2"), receiver).run(bench.stop.clone()));
    let taken =
        |t: &Things| t.events.iter().any(|(_, message)| message.contains("host port 8080/tcp is taken by pod u1"));
    bench.world.until("told", taken).await;
    bench.shared.host_ports.lock().clear();
    bench.world.until("second runs", |t| t.containers.contains_key("u2.a.0")).await;
    rival.abort();
}

#[tokio::test]
async fn a_failing_liveness_probe_ends_the_container_and_it_runs_again() {
    let probe = json!({"exec": {"command": ["check"]}, "periodSeconds": 1, "failureThreshold": 1});
    let spec = json!({"containers": [{"name": "a", "image": "img", "livenessProbe": probe,
        "lifecycle": {"preStop": {"exec": {"command": ["bye"]}}}}]});
    let bench = Bench::start(pod(spec), |things| things.exec_code = 1);
    bench.world.until("second run", |t| t.log.contains(&"start u1.a.1".to_owned())).await;
    bench.world.with(|things| {
        let position = |what: &str| things.log.iter().position(|l| l == what).unwrap_or(usize::MAX);
        assert!(position("exec check u1.a.0") < position("exec bye u1.a.0"), "{:?}", things.log);
        assert!(position("exec bye u1.a.0") < position("signal 15 u1.a.0"), "{:?}", things.log);
        let said = |wanted: &str| things.events.iter().any(|(reason, _)| reason == wanted);
        assert!(said("Unhealthy") && said("Killing"));
    });
}

#[tokio::test]
async fn stopping_the_server_leaves_containers_alone() {
    let bench = Bench::start(pod(json!({})), |_| {});
    bench.world.until("ready", ready).await;
    bench.stop.cancel();
    let world = bench.ended().await;
    world.with(|things| assert_eq!(things.log, ["attach", "start u1.a.0"]));
}
