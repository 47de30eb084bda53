//! Pods on a real node.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use api::kinds::{Binding, ConfigMap, Event, PersistentVolumeClaim, Pod, Secret, Service, binding::BindingPhase};
use client::DeleteParams;
use futures::TryStreamExt as _;
use kubelet::streams::{ExecRequest, LogRequest};
use serde_json::{Value, json};

use crate::{
    image::BUSYBOX,
    world::{NODE, PATIENCE, World, on_a_node},
};

const PASSWORD: &str = "correct-horse-battery-staple";

fn pod(name: &str, script: &str, more: Value) -> Value {
    let mut container = json!({"name": "main", "image": BUSYBOX, "args": [script]});
    let mut spec = json!({"nodeName": NODE, "terminationGracePeriodSeconds": 2});
    if let Some(own) = more.get("container") {
        container.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    }
    if let Some(own) = more.get("spec") {
        spec.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    }
    let mut containers = vec![container];
    containers.extend(more.get("beside").cloned());
    spec["containers"] = containers.into();
    json!({"kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": {"app": name}}, "spec": spec})
}

fn ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

fn restarts(pod: &Pod) -> i32 {
    pod.status.iter().flat_map(|s| s.container_statuses.iter().flatten()).map(|s| s.restart_count).sum()
}

fn waiting(pod: &Pod) -> Option<&str> {
    let first = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    first.state.as_ref()?.waiting.as_ref()?.reason.as_deref()
}

async fn delete(world: &World, name: &str) {
    world.api::<Pod>().delete(name, &DeleteParams::default()).await.unwrap();
    world.until_gone::<Pod>(name).await;
}

/// The answer of a web server to the node itself.
fn fetch(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn pids(world: &World) -> Vec<i32> {
    let mut pids: Vec<i32> = world.runtime().list().iter().map(|info| info.pid).collect();
    pids.sort_unstable();
    pids
}

async fn web(world: &World) -> Pod {
    world.create::<Secret>(json!({"metadata": {"name": "s"}, "stringData": {"pw": PASSWORD}})).await;
    world.create::<ConfigMap>(json!({"metadata": {"name": "m"}, "data": {"index.html": "hello from the map\n"}})).await;
    world
        .create::<PersistentVolumeClaim>(
            json!({"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1Mi"}}}}),
        )
        .await;
    let service = json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web-0"}, "ports": [{"port": 80, "targetPort": "http"}]}});
    world.create::<Service>(service).await;
    let script = "echo started as $(id -u); cat /conf/index.html >/data/index.html; exec httpd -f -p 8080 -h /data";
    let wanted = pod(
        "web-0",
        script,
        json!({
            "container": {
                "ports": [{"name": "http", "containerPort": 8080, "hostPort": 18080}],
                "env": [{"name": "PW", "valueFrom": {"secretKeyRef": {"name": "s", "key": "pw"}}}, {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                "resources": {"limits": {"memory": "64Mi"}},
                "readinessProbe": {"httpGet": {"path": "/index.html", "port": "http"}},
                "volumeMounts": [{"name": "s", "mountPath": "/secrets", "readOnly": true}, {"name": "m", "mountPath": "/conf"},
                    {"name": "d", "mountPath": "/data"}, {"name": "e", "mountPath": "/scratch"}]},
            "spec": {"volumes": [{"name": "s", "secret": {"secretName": "s", "defaultMode": 256}}, {"name": "m", "configMap": {"name": "m"}},
                {"name": "d", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "e", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]},
        }),
    );
    world.create::<Pod>(wanted).await;
    world.until::<Pod>("web-0", "ready", ready).await
}

#[test]
fn a_web_server_with_everything_from_start_to_nothing() {
    on_a_node(async |world| {
        let running = web(world).await;
        let ip = running.status.unwrap().pod_ip.unwrap();
        let script = "id -u; stat -c '%u %a' /secrets/..data/pw; cat /secrets/pw; echo; echo $PW; echo $IP; \
            echo x >/data/x && echo x >/scratch/x && echo ok; grep -E '^(CapEff|Seccomp|NoNewPrivs):' /proc/self/status";
        let (_, text) = world.shell("web-0", script).await;
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(lines[..6], ["1000", "1000 400", PASSWORD, PASSWORD, ip.as_str(), "ok"], "{text}");
        assert!(
            text.contains("CapEff:\t0000000000000000")
                && text.contains("NoNewPrivs:\t1")
                && text.contains("Seccomp:\t2"),
            "{text}"
        );

        world.create::<Pod>(pod("client", "exec sleep 1000", json!({}))).await;
        world.until::<Pod>("client", "ready", ready).await;
        let vip = world.api::<Service>().get("web").await.unwrap().spec.unwrap().cluster_ip.unwrap();
        // Debian's static busybox crashes in `wget` when it resolves names or is given `-T`; its `nslookup` does neither.
        for name in ["web.default.svc.cluster.local", "web.nanocloud.local"] {
            let (_, text) = world.shell("client", &format!("nslookup {name}")).await;
            assert!(text.contains(&format!("Address: {vip}")), "{name}: {text}");
        }
        for address in [format!("{vip}:80"), format!("{ip}:8080")] {
            let (code, text) = world.shell("client", &format!("wget -qO- http://{address}/index.html")).await;
            assert_eq!((code, text.as_str()), (0, "hello from the map\n"), "{address}");
        }
        let published = tokio::task::spawn_blocking(|| fetch("127.0.0.1:18080")).await.unwrap();
        assert!(published.ends_with("hello from the map\n"), "{published}");

        let chunks: Vec<bytes::Bytes> =
            world.kubelet().logs("default", "web-0", &LogRequest::default()).unwrap().try_collect().await.unwrap();
        assert_eq!(chunks.concat(), b"started as 1000\n");
        let request = ExecRequest {
            container: None,
            command: vec!["/bin/sh".into(), "-c".into(), "exit 7".into()],
            tty: None,
            stdin: false,
        };
        let session = world.kubelet().exec("default", "web-0", request).await.unwrap();
        assert_eq!(session.control.wait().await.unwrap().code, 7);

        let before = pids(world);
        world.kill_and_restart().await;
        world.create::<Pod>(pod("late", "exec sleep 1000", json!({}))).await;
        world.until::<Pod>("late", "ready", ready).await;
        let after = pids(world);
        assert!(before.iter().all(|pid| after.contains(pid)), "{before:?} {after:?}");
        assert!(ready(&world.api::<Pod>().get("web-0").await.unwrap()), "readiness survives the restart");

        for name in ["web-0", "client", "late"] {
            delete(world, name).await;
        }
        assert_eq!(world.volumes(), 1);
        world.api::<PersistentVolumeClaim>().delete("data", &DeleteParams::default()).await.unwrap();
        world.until_gone::<PersistentVolumeClaim>("data").await;
        assert_eq!((world.volumes(), world.leftovers(), world.runtime().list().len()), (0, vec![], 0));
        assert_eq!(world.network().inventory().await.unwrap(), [] as [String; 0]);
        let on_disk =
            std::process::Command::new("grep").args(["-rlF", PASSWORD]).arg(world.state_root()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&on_disk.stdout), "", "no secret is on disk");
    });
}

#[test]
fn crashes_are_counted_told_and_survive_a_restart_of_the_server() {
    on_a_node(async |world| {
        world.create::<Pod>(pod("crash", "echo about to fail; exit 3", json!({}))).await;
        let looping = |p: &Pod| waiting(p) == Some("CrashLoopBackOff") && restarts(p) >= 1;
        let looping = world.until::<Pod>("crash", "in a crash loop", looping).await;
        let first = &looping.status.unwrap().container_statuses.unwrap()[0];
        let last = first.last_state.clone().unwrap().terminated.unwrap();
        assert_eq!((last.exit_code, last.message.as_deref()), (3, Some("about to fail")));
        let previous = LogRequest { previous: true, ..LogRequest::default() };
        let log = world.kubelet().logs("default", "crash", &previous).unwrap();
        let chunks: Vec<bytes::Bytes> = log.try_collect().await.unwrap();
        assert_eq!(chunks.concat(), b"about to fail\n");
        world.kill_and_restart().await;
        world.until::<Pod>("crash", "run a third time", |p| restarts(p) >= 2).await;

        let greedy = json!({
            "container": {"resources": {"limits": {"memory": "16Mi"}}, "volumeMounts": [{"name": "e", "mountPath": "/scratch"}]},
            "spec": {"restartPolicy": "Never", "volumes": [{"name": "e", "emptyDir": {"medium": "Memory"}}]},
        });
        world.create::<Pod>(pod("greedy", "exec dd if=/dev/zero of=/scratch/x bs=1M count=64", greedy)).await;
        let failed = |p: &Pod| p.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Failed");
        let killed = world.until::<Pod>("greedy", "failed", failed).await;
        let first = killed.status.unwrap().container_statuses.unwrap()[0].clone();
        assert_eq!(first.state.unwrap().terminated.unwrap().reason.as_deref(), Some("OOMKilled"));
        delete(world, "crash").await;
        // The object of a finished pod goes at once (Kubernetes); what it left on the node follows.
        delete(world, "greedy").await;
        world.until_clean().await;
    });
}

#[test]
fn init_containers_come_first_and_containers_share_the_pod() {
    on_a_node(async |world| {
        let init = json!({"name": "init", "image": BUSYBOX, "args": ["echo prepared >/shared/file"], "volumeMounts": [{"name": "v", "mountPath": "/shared"}]});
        let beside = json!({"name": "beside", "image": BUSYBOX, "args": ["exec sleep 1000"]});
        let script = "mkdir -p /tmp/w; cat /shared/file >/tmp/index.html; exec httpd -f -p 8080 -h /tmp";
        world.create::<Pod>(pod("pair", script.trim_start_matches("mkdir -p /tmp/w; "), json!({
            "container": {"volumeMounts": [{"name": "v", "mountPath": "/shared"}], "readinessProbe": {"tcpSocket": {"port": 8080}}},
            "beside": beside, "spec": {"initContainers": [init], "volumes": [{"name": "v", "emptyDir": {}}]},
        }))).await;
        world.until::<Pod>("pair", "ready", ready).await;
        let request = |container: &str, script: &str| ExecRequest {
            container: Some(container.into()),
            command: ["/bin/sh", "-c", script].map(str::to_owned).into(),
            tty: None,
            stdin: false,
        };
        let script = "wget -qO- http://127.0.0.1:8080/index.html; cat /proc/sys/kernel/hostname";
        let session = world.kubelet().exec("default", "pair", request("beside", script)).await.unwrap();
        assert_eq!(session.output(1024).await.unwrap().stdout, b"prepared\npair\n");
        assert!(
            world
                .kubelet()
                .exec("default", "pair", ExecRequest { container: None, ..request("", "true") })
                .await
                .is_err()
        );
        delete(world, "pair").await;
        assert_eq!(world.leftovers(), [] as [std::path::PathBuf; 0]);
    });
}

fn binding(name: &str, script: &str, timeout: u32) -> Value {
    json!({"metadata": {"name": name}, "spec": {"bundle": "shop", "bindingId": name, "target": {"bundle": "web", "service": "httpd"},
        "command": ["/bin/sh", "-c", script], "timeoutSeconds": timeout, "token": "t1",
        "parameters": {"user": {"value": "a%b"}, "password": {"secretKeyRef": {"name": "s", "key": "pw"}}}}})
}

#[test]
fn bindings_run_in_the_envelope_and_keep_secrets() {
    on_a_node(async |world| {
        web(world).await;
        let script = "cat <&3; id -u; id -g; env | sort | grep -v -E '^(PWD|OLDPWD|SHLVL|_)='; grep -E '^(CapEff|Seccomp):' /proc/self/status";
        world.create::<Binding>(binding("create-user", script, 20)).await;
        let done = world
            .until::<Binding>("create-user", "completed", |b| b.phase() == BindingPhase::Completed)
            .await
            .status
            .unwrap();
        let wanted = "password=[redacted]\nuser=a%25b\n65534\n65534\nLANG=C.UTF-8\nNANOCLOUD_BINDING_ID=create-user\nNANOCLOUD_NAMESPACE=default\n\
            NANOCLOUD_SERVICE=httpd\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin";
        let shown: Vec<&str> = done.message.lines().collect();
        let wanted: Vec<&str> = wanted.lines().collect();
        assert!(
            done.message.contains("CapEff:\t0000000000000000") && done.message.contains("Seccomp:\t2"),
            "{}",
            done.message
        );
        // The last ten lines are kept.
        assert_eq!(shown[..8], wanted[1..], "{}", done.message);
        assert_eq!((done.attempts, done.exit_code), (1, Some(0)));

        world.create::<Binding>(binding("slow", "/bin/busybox sleep 1000", 1)).await;
        world.until::<Binding>("slow", "timed out", |b| b.phase() == BindingPhase::TimedOut).await;
        world.create::<Binding>(binding("leaky", "cat <&3 >&2; exit 5", 20)).await;
        let failed =
            world.until::<Binding>("leaky", "failed", |b| b.phase() == BindingPhase::Failed).await.status.unwrap();
        assert_eq!((failed.exit_code, failed.message.as_str()), (Some(5), "password=[redacted]\nuser=a%25b"));
        let events = world.api::<Event>().list_all(&Default::default()).await.unwrap().items;
        let reasons: Vec<&str> = events.iter().filter_map(|e| e.reason.as_deref()).collect();
        for reason in ["BindingStarted", "BindingCompleted", "BindingTimeout", "BindingFailed"] {
            assert!(reasons.contains(&reason), "{reason} in {reasons:?}");
        }
        assert!(!format!("{events:?}").contains(PASSWORD));
    });
}

#[test]
fn containers_of_pods_the_api_does_not_know_are_ended() {
    on_a_node(async |world| {
        world.create::<Pod>(pod("ghost", "exec sleep 1000", json!({}))).await;
        world.until::<Pod>("ghost", "ready", ready).await;
        // Removed while the server is down: nobody tells the next one.
        world.kill().await;
        world.api::<Pod>().delete("ghost", &DeleteParams::immediate()).await.unwrap();
        world.kill_and_restart().await;
        world.until_clean().await;
    });
}
