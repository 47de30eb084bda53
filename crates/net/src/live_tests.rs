//! The network on a private host: real bridges, namespaces, nftables and packets. Needs root and `nft`.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    path::Path,
    thread,
    time::Duration,
};

use crate::{
    AttachRequest, Attachment, Error, Finding, HostPort, Network, Protocol, Publish, Rules, Service, netns,
    testing::{config, on_private_host},
};

/// Longest wait for a packet that should come; one that should not come is refused, not waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Wait for packets that are dropped silently: long enough for a SYN and one repetition.
const DROPPED: Duration = Duration::from_millis(1500);

fn request(id: &str) -> AttachRequest {
    AttachRequest { id: id.into(), hostname: format!("host-{id}") }
}

/// A server in a pod that answers every connection with its name and the peer's address, until the test ends.
fn serve(pod: &Attachment, port: u16, name: &'static str) {
    let listener = netns::inside(&pod.netns, move || TcpListener::bind(("0.0.0.0", port))).unwrap();
    thread::spawn(move || {
        while let Ok((mut stream, peer)) = listener.accept() {
            let _ = write!(stream, "{name} {}", peer.ip());
        }
    });
}

fn fetch(address: SocketAddr, patience: Duration) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn from_pod(pod: &Attachment, address: &str) -> std::io::Result<String> {
    let address = address.parse().unwrap();
    netns::inside(&pod.netns, move || fetch(address, PATIENCE)).map_err(|e| match e {
        Error::Namespace { source, .. } => source,
        other => panic!("{other}"),
    })
}

fn from_host(address: &str) -> std::io::Result<String> {
    fetch(address.parse().unwrap(), PATIENCE)
}

fn publish(address: Option<Ipv4Addr>, port: u16, target: Ipv4Addr, to: u16) -> Publish {
    Publish {
        port: HostPort { address, port, protocol: Protocol::Tcp },
        target: SocketAddrV4::new(target, to),
        owner: "default/pod".into(),
    }
}

fn service(address: &str, port: u16, endpoints: &[(Ipv4Addr, u16)]) -> Service {
    Service {
        address: address.parse().unwrap(),
        port,
        protocol: Protocol::Tcp,
        node_port: None,
        endpoints: endpoints.iter().map(|(a, p)| SocketAddrV4::new(*a, *p)).collect(),
        sticky: false,
        owner: "default/svc".into(),
    }
}

#[test]
fn attach_is_idempotent_and_detach_frees_everything() {
    on_private_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(config(dir.path(), "nct0", 77)).await.unwrap();
        let a = network.attach(&request("a")).await.unwrap();
        assert_eq!(network.attach(&request("a")).await.unwrap(), a);
        let b = network.attach(&request("b")).await.unwrap();
        assert_ne!(a.address, b.address);
        serve(&b, 80, "b");
        let seen = from_pod(&a, &format!("{}:80", b.address)).unwrap();
        assert_eq!(seen, format!("b {}", a.address), "pods see each other's own address");
        assert_eq!(network.check().await.unwrap(), []);

        // The server is killed and starts again: same attachments, nothing rewired.
        drop(network);
        let network = Network::open(config(dir.path(), "nct0", 77)).await.unwrap();
        assert_eq!(network.attach(&request("b")).await.unwrap(), b);
        assert!(from_pod(&a, &format!("{}:80", b.address)).is_ok());

        network.detach("a").await.unwrap();
        network.detach("a").await.unwrap();
        assert!(!a.netns.exists());
        assert_eq!(network.inventory().await.unwrap(), ["b"]);
        network.teardown().await.unwrap();
        network.teardown().await.unwrap();
        assert!(!Path::new("/sys/class/net/nct0").exists());
        assert!(!Path::new("/sys/class/net").join(&b.host_veth).exists());
        assert_eq!(network.inventory().await.unwrap(), [] as [String; 0]);
    });
}

#[test]
fn a_half_made_attachment_is_completed() {
    on_private_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(config(dir.path(), "nct0", 77)).await.unwrap();
        let a = network.attach(&request("a")).await.unwrap();
        // As after a reboot: the lease is there, the namespace is not.
        netns::unpin(&a.netns).unwrap();
        assert_eq!(network.check().await.unwrap(), [Finding::NoNamespace("a".into())]);
        assert_eq!(network.attach(&request("a")).await.unwrap(), a);
        serve(&a, 80, "a");
        assert!(from_host(&format!("{}:80", a.address)).is_ok());
        // As after a crash between namespace and lease.
        netns::pin(&dir.path().join("run/netns/stray")).unwrap();
        assert_eq!(network.check().await.unwrap(), [Finding::Stray("stray".into())]);
        network.detach("stray").await.unwrap();
        assert_eq!(network.check().await.unwrap(), []);
        network.teardown().await.unwrap();
    });
}

#[test]
fn published_ports_lead_to_pods_from_loopback_host_pods_and_the_pod_itself() {
    on_private_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(config(dir.path(), "nct0", 77)).await.unwrap();
        let a = network.attach(&request("a")).await.unwrap();
        let b = network.attach(&request("b")).await.unwrap();
        serve(&a, 8080, "a");
        let rules = Rules {
            publish: vec![publish(None, 80, a.address, 8080), publish(Some(Ipv4Addr::LOCALHOST), 81, a.address, 8080)],
            services: vec![],
        };
        assert!(network.reconcile_rules(&rules).await.unwrap());
        assert!(!network.reconcile_rules(&rules).await.unwrap(), "the second time nothing changes");
        let gateway = a.gateway;
        assert_eq!(from_host("127.0.0.1:80").unwrap(), format!("a {gateway}"));
        assert_eq!(from_host("127.0.0.1:81").unwrap(), format!("a {gateway}"));
        assert!(from_host(&format!("{gateway}:80")).is_ok());
        assert_eq!(from_pod(&b, &format!("{gateway}:80")).unwrap(), format!("a {}", b.address));
        assert_eq!(from_pod(&a, &format!("{gateway}:80")).unwrap(), format!("a {gateway}"), "a pod to itself");
        assert!(from_pod(&b, &format!("{gateway}:81")).is_err(), "published on loopback only");
        // Somebody empties the table: the next reconciliation puts it back.
        crate::nft::load("nct0", "flush table inet nct0\n").await.unwrap();
        assert_eq!(network.check().await.unwrap(), [Finding::Table("nct0".into())]);
        assert!(network.reconcile_rules(&rules).await.unwrap());
        assert!(from_host("127.0.0.1:80").is_ok());
        network.teardown().await.unwrap();
        assert_eq!(crate::nft::list("nct0").await.unwrap(), None);
    });
}

#[test]
fn services_balance_refuse_and_hairpin() {
    on_private_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(config(dir.path(), "nct0", 77)).await.unwrap();
        let a = network.attach(&request("a")).await.unwrap();
        let b = network.attach(&request("b")).await.unwrap();
        serve(&a, 8080, "a");
        serve(&b, 8080, "b");
        let mut node_port = service("10.177.0.4", 80, &[(b.address, 8080)]);
        node_port.node_port = Some(30080);
        let rules = Rules {
            publish: vec![],
            services: vec![
                service("10.177.0.2", 80, &[(a.address, 8080), (b.address, 8080)]),
                service("10.177.0.3", 80, &[]),
                node_port,
            ],
        };
        network.reconcile_rules(&rules).await.unwrap();
        // 2^-40 that a fair choice never meets one of two endpoints in 40 tries from one side.
        let answers: Vec<String> = (0..40).map(|_| from_pod(&a, "10.177.0.2:80").unwrap()).collect();
        assert!(answers.contains(&format!("a {}", a.gateway)), "its own endpoint, {answers:?}");
        assert!(answers.contains(&format!("b {}", a.address)), "the other endpoint sees the pod, {answers:?}");
        assert!(from_host("10.177.0.2:80").is_ok(), "the host reaches services too");
        assert!(from_host("127.0.0.1:30080").unwrap().starts_with("b "));
        for vip in ["10.177.0.3:80", "10.177.0.2:81", "10.177.0.99:80"] {
            for error in [from_pod(&a, vip).unwrap_err(), from_host(vip).unwrap_err()] {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{vip}");
            }
        }
        network.teardown().await.unwrap();
    });
}

#[test]
fn two_networks_side_by_side_are_walled_off() {
    on_private_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let one = Network::open(config(&dir.path().join("1"), "nct1", 71)).await.unwrap();
        let two = Network::open(config(&dir.path().join("2"), "nct2", 72)).await.unwrap();
        let a = one.attach(&request("a")).await.unwrap();
        let b = two.attach(&request("a")).await.unwrap();
        assert_ne!(a.host_veth, b.host_veth);
        serve(&b, 80, "b");
        for network in [&one, &two] {
            network.reconcile_rules(&Rules::default()).await.unwrap();
        }
        let target = SocketAddr::from((b.address, 80));
        let direct = netns::inside(&a.netns, move || fetch(target, DROPPED));
        assert!(direct.is_err(), "not published, so not reachable from elsewhere");
        let rules = Rules { publish: vec![publish(None, 8090, b.address, 80)], services: vec![] };
        two.reconcile_rules(&rules).await.unwrap();
        assert!(from_pod(&a, &format!("{}:8090", a.gateway)).is_ok(), "published, so reachable");
        one.teardown().await.unwrap();
        assert!(from_host("127.0.0.1:8090").is_ok(), "the other network is untouched");
        two.teardown().await.unwrap();
    });
}

#[test]
fn a_pod_cannot_reach_the_hosts_loopback() {
    on_private_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(config(dir.path(), "nct0", 77)).await.unwrap();
        let a = network.attach(&request("a")).await.unwrap();
        let secret = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = secret.local_addr().unwrap().port();
        thread::spawn(move || {
            while let Ok((mut stream, _)) = secret.accept() {
                let _ = stream.write_all(b"secret");
            }
        });
        // The pod routes a loopback address to the gateway: possible for whoever owns the namespace.
        netns::inside(&a.netns, || {
            std::fs::write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1")?;
            for args in [
                "rule add pref 0 to 127.9.9.9 lookup 100",
                "rule add pref 1 lookup local",
                "rule del pref 0 lookup local",
                "route add 127.9.9.9/32 via 10.77.0.1 dev eth0 table 100",
            ] {
                assert!(std::process::Command::new("ip").args(args.split(' ')).status()?.success(), "{args}");
            }
            Ok(())
        })
        .unwrap();
        let target = SocketAddr::from(([127, 9, 9, 9], port));
        let netns = a.netns.clone();
        assert!(netns::inside(&netns, move || fetch(target, DROPPED)).is_err(), "guarded from the start");
        crate::nft::load("nct0", "flush chain inet nct0 martian\n").await.unwrap();
        let open = netns::inside(&netns, move || fetch(target, PATIENCE));
        assert_eq!(open.unwrap(), "secret", "without the guard it would be reachable");
        network.reconcile_rules(&Rules::default()).await.unwrap();
        assert!(netns::inside(&netns, move || fetch(target, DROPPED)).is_err(), "guarded again");
        network.teardown().await.unwrap();
    });
}

#[test]
fn a_foreign_interface_is_not_taken_over() {
    on_private_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path(), "nct0", 77);
        config.bridge = "lo".into();
        assert!(matches!(Network::open(config).await, Err(Error::NotABridge { name }) if name == "lo"));
    });
}

#[test]
fn the_host_reaches_what_a_pod_keeps_to_itself() {
    on_private_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(config(dir.path(), "nct7", 83)).await.unwrap();
        let pod = network.attach(&request("a")).await.unwrap();
        let listener = netns::inside(&pod.netns, || TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            if let Ok((mut stream, peer)) = listener.accept() {
                let _ = write!(stream, "private to {}", peer.ip());
            }
        });
        assert!(from_host(&format!("{}:{port}", pod.address)).is_err(), "it listens on its loopback only");
        let mut stream = network.connect("a", port).await.unwrap();
        let mut text = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut text).await.unwrap();
        assert_eq!(text, "private to 127.0.0.1");
        assert!(matches!(network.connect("a", 1).await, Err(Error::Connect { port: 1, .. })));
        assert!(matches!(network.connect("other", port).await, Err(Error::Connect { .. })));
        network.detach("a").await.unwrap();
    });
}
