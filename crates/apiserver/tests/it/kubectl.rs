//! Stock kubectl against the server over TLS on loopback.

use std::{
    collections::HashMap,
    path::PathBuf,
    process::{Output, Stdio},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    process::Command,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use trust::{
    CertificateSpec, ClientAuth, ExposeSecret, Identity, Usage,
    tls::{ServerCertificate, server_config},
};

use crate::server::{self, Server, ask};

/// A server on a port of loopback, and a directory with a kubeconfig for it.
struct Cluster {
    server: Server,
    dir: TempDir,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), apiserver::Error>>,
    url: String,
}

fn spec(usage: Usage, name: &str, groups: &[&str], names: &[&str]) -> CertificateSpec {
    let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    CertificateSpec {
        usage,
        common_name: name.into(),
        organizations: owned(groups),
        names: owned(names),
        lifetime: Duration::from_secs(3600),
    }
}

impl Cluster {
    async fn start() -> Self {
        Self::of(server::start().await).await
    }

    async fn of(server: Server) -> Self {
        let now = Timestamp::now();
        let issued = server.authority.issue(&spec(Usage::Server, "api", &[], &["127.0.0.1"]), now).unwrap();
        let identity = Identity::from_pem(&issued.certificate_pem, issued.key_pem).unwrap();
        let certificate = ServerCertificate::new(&identity);
        let tls = Arc::new(server_config(&server.authority, certificate, ClientAuth::Optional).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let (api, token) = (server.api.clone(), stop.clone());
        let serving = tokio::spawn(async move { api.serve(listener, tls, token).await });

        let dir = TempDir::new().unwrap();
        let admin = server.authority.issue(&spec(Usage::Client, "root", &["system:masters"], &[]), now).unwrap();
        let write = |name: &str, text: &str| -> PathBuf {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://{address}"),
                "certificate-authority": write("ca.crt", server.authority.certificate_pem()),
            }}],
            "users": [{"name": "root", "user": {
                "client-certificate": write("root.crt", &admin.certificate_pem),
                "client-key": write("root.key", admin.key_pem.expose_secret()),
            }}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "root"}}],
        });
        write("config", &config.to_string());
        Self { server, dir, stop, serving, url: format!("https://{address}") }
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("kubectl");
        command.args(line.split(' ')).current_dir(self.dir.path()).kill_on_drop(true);
        command.env("KUBECONFIG", self.dir.path().join("config")).env("HOME", self.dir.path());
        command
    }

    async fn output(&self, line: &str) -> Output {
        let output = self.command(line).output().await.expect("kubectl must be in PATH (.ci/run installs it)");
        assert!(output.status.code().is_some(), "{line} was killed");
        output
    }

    /// Runs a command that must succeed; answers what it printed.
    async fn run(&self, line: &str) -> String {
        let output = self.output(line).await;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "kubectl {line}\n{out}\n{err}");
        format!("{out}{err}")
    }

    /// Runs a command that must fail; answers what it printed.
    async fn fails(&self, line: &str) -> String {
        let output = self.output(line).await;
        assert!(!output.status.success(), "kubectl {line} did not fail");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn file(&self, name: &str, document: &Value) {
        std::fs::write(self.dir.path().join(name), document.to_string()).unwrap();
    }

    async fn end(self) {
        self.stop.cancel();
        self.serving.await.unwrap().unwrap();
    }
}

#[track_caller]
fn holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

fn pod(image: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "main", "image": image, "env": [{"name": "A", "value": "1"}]}]},
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_find_their_way() {
    let cluster = Cluster::start().await;
    holds(&cluster.run("version").await, &["Server Version: v1.36"]);
    let resources = cluster.run("api-resources").await;
    holds(&resources, &["bundles", "statefulsets", "sts", "persistentvolumeclaims", "nanocloud.io/v1"]);
    holds(&cluster.run("get namespaces").await, &["NAME", "STATUS", "AGE", "default", "kube-system", "Active"]);
    holds(&cluster.run("explain pod.spec.containers").await, &["KIND:       Pod", "image", "<string>"]);
    holds(&cluster.run("explain bundle.spec").await, &["GROUP:      nanocloud.io", "service", "-required-"]);
    holds(&cluster.run("auth whoami").await, &["root", "system:masters"]);
    holds(&cluster.run("auth can-i delete pods").await, &["yes"]);
    holds(&cluster.output("auth can-i delete pods --as bob").await.stdout.escape_ascii().to_string(), &["no"]);
    holds(&cluster.run("auth can-i --list").await, &["*.*", "[*]"]);
    holds(&cluster.run("get --raw /readyz?verbose").await, &["[+]keyspace ok"]);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifests_are_applied_changed_and_deleted() {
    let cluster = Cluster::start().await;
    cluster.file("pod.json", &pod("redis:7"));
    holds(&cluster.run("apply -f pod.json").await, &["pod/web created"]);
    holds(&cluster.run("apply -f pod.json").await, &["pod/web unchanged"]);
    cluster.file("pod.json", &pod("redis:8"));
    holds(&cluster.run("apply -f pod.json").await, &["pod/web configured"]);
    holds(&cluster.run("get pod web -o jsonpath={.spec.containers[0].image}").await, &["redis:8"]);
    let mut odd = pod("redis:8");
    odd["spec"]["colour"] = "red".into();
    cluster.file("odd.json", &odd);
    holds(&cluster.fails("apply -f odd.json").await, &["unknown field \"spec.colour\""]);
    holds(&cluster.run("apply --validate=warn -f odd.json").await, &["Warning: unknown field \"spec.colour\""]);

    // On to server-side apply: kubectl hands over what it owned so far.
    holds(&cluster.run("apply --server-side -f pod.json").await, &["pod/web serverside-applied"]);
    cluster.run("diff --server-side -f pod.json").await;
    cluster.file("pod.json", &pod("redis:9"));
    let others = "apply --server-side --field-manager=other -f pod.json";
    holds(&cluster.fails(others).await, &["conflict with \"kubectl\"", ".spec.containers[name=\"main\"].image"]);
    cluster.run(&format!("{others} --force-conflicts")).await;
    holds(&cluster.run("get pod web -o jsonpath={.spec.containers[0].image}").await, &["redis:9"]);

    cluster.run("label pod web tier=front").await;
    cluster.run("annotate pod web note=hello").await;
    holds(&cluster.run("get pods -l tier=front -o wide --show-labels").await, &["READY", "NODE", "tier=front", "0/1"]);
    holds(&cluster.run("describe pod web").await, &["Name:", "web", "redis:9", "note: hello"]);
    cluster.run(r#"patch pod web -p {"metadata":{"labels":{"tier":null}}}"#).await;
    holds(&cluster.run("get pods -l tier=front").await, &["No resources found"]);
    cluster.run(r#"patch pod web --subresource=status --type=merge -p {"status":{"conditions":[{"type":"Ready","status":"True"}]}}"#).await;
    holds(&cluster.run("wait --for=condition=Ready pod/web --timeout=20s").await, &["condition met"]);
    holds(&cluster.run("delete pod web").await, &["deleted"]);
    holds(&cluster.fails("get pod web").await, &["NotFound"]);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_created_by_generators_and_listed_in_chunks() {
    let cluster = Cluster::start().await;
    cluster.run("create namespace shop").await;
    cluster.run("create configmap settings --from-literal=a=1 -n shop").await;
    cluster.run("create secret generic login --from-literal=password=x -n shop").await;
    holds(&cluster.run("get secret login -n shop -o jsonpath={.data.password}").await, &["eA=="]);
    for n in 0..5 {
        cluster.run(&format!("create configmap m{n} -n shop")).await;
    }
    let listed = cluster.run("get configmaps -A --chunk-size=2 --no-headers").await;
    assert_eq!(listed.lines().count(), 6, "{listed}");
    holds(&cluster.run("get configmaps -n shop --sort-by=.metadata.name -o name").await, &["configmap/m0"]);
    let set = api::kinds::find("sts").unwrap();
    let mut set_object = crate::sample::object(set, "db");
    set_object["apiVersion"] = "apps/v1".into();
    set_object["kind"] = "StatefulSet".into();
    cluster.file("set.json", &set_object);
    cluster.run("create -f set.json").await;
    holds(&cluster.run("scale sts db --replicas=3").await, &["scaled"]);
    holds(&cluster.run("get sts db").await, &["0/3"]);
    let bundle = json!({
        "apiVersion": "nanocloud.io/v1", "kind": "Bundle", "metadata": {"name": "redis"},
        "spec": {"service": "redis", "options": {"maxmemory": "1"}},
    });
    cluster.file("bundle.json", &bundle);
    holds(&cluster.run("apply -f bundle.json").await, &["bundle.nanocloud.io/redis created"]);
    holds(&cluster.run("get bundles").await, &["SERVICE", "READY", "redis", "ProfilePending"]);
    holds(&cluster.run("get all").await, &["bundle.nanocloud.io/redis", "statefulset.apps/db"]);
    holds(&cluster.run("delete configmaps --all -n shop").await, &["deleted"]);
    cluster.end().await;
}

#[tokio::test]
async fn a_stateful_set_goes_back_to_an_earlier_revision() {
    let cluster = Cluster::start().await;
    let mut set = crate::sample::object(api::kinds::find("sts").unwrap(), "db");
    set["apiVersion"] = "apps/v1".into();
    set["kind"] = "StatefulSet".into();
    cluster.file("set.json", &set);
    cluster.run("create -f set.json").await;
    let uid = cluster.run("get sts db -o jsonpath={.metadata.uid}").await;
    let owner = json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": uid, "controller": true}]);
    for (number, image) in [(1, "redis:6"), (2, "redis:7")] {
        let mut template = set["spec"]["template"].clone();
        template["$patch"] = "replace".into();
        template["spec"]["containers"][0]["image"] = image.into();
        let name = format!("db-{number}");
        let metadata = json!({"name": name, "labels": {"app": "x"}, "ownerReferences": owner});
        let revision = json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": metadata,
            "revision": number, "data": {"spec": {"template": template}}});
        cluster.file("revision.json", &revision);
        cluster.run("create -f revision.json").await;
    }
    holds(&cluster.run("get controllerrevisions").await, &["statefulset.apps/db", "REVISION"]);
    holds(&cluster.run("rollout history sts/db --revision=1").await, &["redis:6"]);
    holds(&cluster.run("rollout undo sts/db --to-revision=1").await, &["rolled back"]);
    let image = cluster.run("get sts db -o jsonpath={.spec.template.spec.containers[0].image}").await;
    assert_eq!(image, "redis:6");
    cluster.end().await;
}

/// Settings by which kubectl opens sessions over WebSockets, or over SPDY as older clients do.
const SESSIONS: [(&str, [(&str, &str); 2]); 2] = [
    ("WebSocket", [("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "true"), ("KUBECTL_PORT_FORWARD_WEBSOCKETS", "true")]),
    ("SPDY", [("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false"), ("KUBECTL_PORT_FORWARD_WEBSOCKETS", "false")]),
];

/// A cluster with a pod that kubectl takes for a running one.
async fn with_pod() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.file("pod.json", &pod("redis:7"));
    cluster.run("create -f pod.json").await;
    let path = "/api/v1/namespaces/default/pods/web";
    let binding = json!({"metadata": {"name": "web"}, "target": {"kind": "Node", "name": "n1"}});
    ask("POST", &format!("{path}/binding")).json(&binding).send(&cluster.server).await.expect(201);
    let running = json!({"status": {"phase": "Running"}});
    let asked = ask("PATCH", &format!("{path}/status")).typed("application/merge-patch+json", &running);
    asked.send(&cluster.server).await.expect(200);
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_validated_by_their_items() {
    let cluster = Cluster::start().await;
    let map = |name: &str, data: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, data: {"k": "v"}});
    let list = |items: &[Value]| json!({"apiVersion": "v1", "kind": "List", "items": items});
    cluster.file("list.json", &list(&[map("a", "data"), map("b", "data"), pod("redis:7")]));
    let said = cluster.run("create -f list.json").await;
    holds(&said, &["configmap/a created", "configmap/b created", "pod/web created"]);
    cluster.file("odd.json", &list(&[map("c", "data"), map("d", "daat")]));
    holds(&cluster.fails("create -f odd.json").await, &["unknown field \"daat\""]);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_exec_and_attach_speak_kubectls_protocols() {
    let cluster = with_pod().await;
    assert_eq!(cluster.run("logs web --tail=1").await, "two\n");
    for (name, settings) in SESSIONS {
        let run = async |line: &str| {
            let output = cluster.command(line).envs(settings).output().await.unwrap();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            (output.status.code(), text(&output.stdout), text(&output.stderr))
        };
        let (code, out, err) = run("exec web -- true").await;
        assert_eq!((code, &*out), (Some(0), "out\n"), "{name}: {err}");
        let (code, _, err) = run("exec web -- exit 7").await;
        assert_eq!(code, Some(7), "{name}: {err}");
        let (code, _, err) = run("exec web -- missing").await;
        assert_eq!(code, Some(1), "{name}");
        holds(&err, &["no program \"missing\""]);
        let (code, _, err) = run("exec nobody -- true").await;
        assert_eq!(code, Some(1), "{name}");
        holds(&err, &["pods \"nobody\" not found"]);
        let (code, out, err) = run("attach web").await;
        assert_eq!((code, &*out), (Some(0), "attached\n"), "{name}: {err}");
        let mut cat = cluster.command("exec -i web -- cat");
        cat.envs(settings).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = cat.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let sent = vec![b'x'; 200_000];
        stdin.write_all(&sent).await.unwrap();
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout == sent, "{name}: {} bytes came back", output.stdout.len());
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_of_a_pod_are_forwarded() {
    let cluster = with_pod().await;
    for (name, settings) in SESSIONS {
        let mut command = cluster.command("port-forward pod/web :7 :1");
        let mut child = command.envs(settings).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut addresses = HashMap::new();
        while addresses.len() < 2 {
            let line = lines.next_line().await.unwrap();
            let Some(line) = line else { panic!("{name}: {:?}", errors.next_line().await) };
            let mut words = line.strip_prefix("Forwarding from ").expect(&line).split(" -> ");
            let (from, to) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
            if from.starts_with("127.") {
                addresses.insert(to, from);
            }
        }
        // Two connections at once, with more than fits into one frame.
        let send = async |byte: u8| {
            let mut stream = TcpStream::connect(&addresses["7"]).await.unwrap();
            let sent = vec![byte; 100_000];
            let (mut from, mut to) = stream.split();
            let mut back = vec![0; sent.len()];
            let (wrote, read) = tokio::join!(to.write_all(&sent), from.read_exact(&mut back));
            wrote.unwrap();
            read.unwrap();
            assert!(back == sent, "{name}");
        };
        tokio::join!(send(1), send(2));
        let mut refused = TcpStream::connect(&addresses["1"]).await.unwrap();
        assert_eq!(refused.read(&mut [0; 8]).await.unwrap_or(0), 0);
        let line = errors.next_line().await.unwrap().unwrap_or_default();
        holds(&line, &["cannot connect to port 1 of pod default/web: nobody listens"]);
        child.kill().await.unwrap();
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_print_what_happens_and_shutdown_ends_them() {
    let cluster = Cluster::start().await;
    let mut watch = cluster.command("get configmaps -w -o name");
    let mut child = watch.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(child.stdout.take().unwrap()));
    for name in ["a", "b"] {
        cluster.run(&format!("create configmap {name}")).await;
        let line = tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await.expect("no line came");
        assert_eq!(line.unwrap().as_deref(), Some(format!("configmap/{name}").as_str()));
    }
    cluster.end().await;
    tokio::time::timeout(Duration::from_secs(30), child.wait()).await.expect("the watch went on").unwrap();
}

/// The two members of a cluster, as one of them sees it.
struct Two {
    asked: u64,
    urls: [String; 2],
}

impl keyspace::Cluster for Two {
    fn members(&self) -> futures::future::BoxFuture<'_, keyspace::ClusterState> {
        let member = |(id, (name, url)): (u64, (&str, &String))| keyspace::MemberState {
            member: keyspace::Member { id, name: name.into(), peer_address: "p:1".into(), api_url: url.clone() },
            role: keyspace::MemberRole::Voter,
            leads: id == 1,
            reachable: true,
            matched: None,
        };
        let state = keyspace::ClusterState {
            cluster_id: 1,
            asked: self.asked,
            leader: Some(1),
            term: 1,
            last_index: 1,
            applied_index: 1,
            members: (1..).zip(["a", "b"].into_iter().zip(&self.urls)).map(member).collect(),
        };
        Box::pin(std::future::ready(state))
    }

    fn change(&self, _: keyspace::MemberChange) -> futures::future::BoxFuture<'_, Result<(), keyspace::ClusterError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A node that runs nothing.
struct NoPods;

#[async_trait::async_trait]
impl apiserver::PodStreams for NoPods {
    async fn logs(
        &self,
        _: &str,
        _: &str,
        _: apiserver::LogOptions,
    ) -> Result<futures::stream::BoxStream<'static, std::io::Result<bytes::Bytes>>, apiserver::StreamError> {
        Err(Box::new(api::Status::failure(api::Reason::NotFound, "no such pod here")))
    }

    async fn exec(
        &self,
        _: &str,
        _: &str,
        _: apiserver::ExecOptions,
    ) -> Result<apiserver::ExecSession, apiserver::StreamError> {
        Err(Box::new(api::Status::failure(api::Reason::NotFound, "no such pod here")))
    }

    async fn attach(
        &self,
        namespace: &str,
        pod: &str,
        options: apiserver::ExecOptions,
    ) -> Result<apiserver::ExecSession, apiserver::StreamError> {
        self.exec(namespace, pod, options).await
    }

    async fn connect(
        &self,
        _: &str,
        _: &str,
        _: u16,
    ) -> Result<Box<dyn apiserver::Connection>, apiserver::StreamError> {
        Err(Box::new(api::Status::failure(api::Reason::NotFound, "no such pod here")))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_member_answers_for_the_pods_of_all() {
    let there = Cluster::start().await;
    let (keyspace, security) = (there.server.keyspace.clone(), there.server.security.clone());
    let here = Cluster::of(server::start_over(keyspace, security, Arc::new(NoPods)).await).await;
    let gone = "https://127.0.0.1:1".to_owned();
    let join = |cluster: &Cluster, asked: u64, urls: [String; 2]| {
        let assets = || Err(trust::Error::InvalidName { name: "unused".into() });
        let cluster_of = Arc::new(Two { asked, urls });
        cluster.server.api.serve_members(apiserver::Membership { cluster: cluster_of, assets: Arc::new(assets) });
    };
    join(&here, 1, [here.url.clone(), there.url.clone()]);
    join(&there, 2, [gone, there.url.clone()]);
    for (name, node) in [("web", "b"), ("far", "a"), ("waiting", "")] {
        let mut pod = pod("i");
        pod["metadata"]["name"] = name.into();
        if !node.is_empty() {
            pod["spec"]["nodeName"] = node.into();
        }
        ask("POST", "/api/v1/namespaces/default/pods").json(&pod).send(&here.server).await.expect(201);
    }
    for cluster in [&here, &there] {
        holds(&cluster.run("logs web").await, &["one\ntwo\n"]);
        holds(&cluster.run("exec web -- whatever").await, &["out"]);
        let ended = cluster.output("exec web -- exit 7").await;
        assert_eq!(ended.status.code(), Some(7), "{ended:?}");
    }
    // Scopes go along: who may read logs here may do no more there.
    let reader = ask("GET", "/api/v1/namespaces/default/pods/web/log");
    let scoped =
        |scopes| trust::Subject { scopes: Some(trust::Scopes::parse(scopes).unwrap()), ..trust::Subject::admin("jo") };
    assert_eq!(reader.by(scoped("pods.read")).send(&here.server).await.expect(200).body, "one\ntwo\n");

    let unreachable = ask("GET", "/api/v1/namespaces/default/pods/far/log").send(&there.server).await.expect(503);
    assert!(unreachable.body["message"].as_str().unwrap().contains("https://127.0.0.1:1"), "{}", unreachable.body);
    assert!(unreachable.body["remedy"].as_str().unwrap().contains("--server"), "{}", unreachable.body);
    ask("GET", "/api/v1/namespaces/default/pods/waiting/log").send(&here.server).await.expect(400);
    here.end().await;
    there.end().await;
}
