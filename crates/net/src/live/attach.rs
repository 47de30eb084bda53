//! Attachments, published ports, services.

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    thread,
};

use super::*;
use crate::{
    Finding, Network, Rules, netfilter, nft,
    testing::{config, on_private_host},
};

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
fn pods_that_go_together_are_removed_together() {
    on_private_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(config(dir.path(), "nct0", 77)).await.unwrap();
        for id in ["a", "b", "c", "d", "e"] {
            network.attach(&request(id)).await.unwrap();
        }
        let before = netfilter::generation().unwrap();
        let detach = |id| network.detach(id);
        let gone = tokio::join!(detach("a"), detach("b"), detach("c"), detach("d"));
        gone.0.and(gone.1).and(gone.2).and(gone.3).unwrap();
        // The first goes alone, and the others together.
        assert_eq!(netfilter::generation().unwrap(), before + 2, "changes of nftables");
        assert_eq!(network.inventory().await.unwrap(), ["e"]);
        assert_eq!(network.check().await.unwrap(), []);
        let kept = network.find("e").await.unwrap();
        let listed = nft::list("nct0").await.unwrap().unwrap();
        let of_interfaces = |line: &&String| line.starts_with("bridge \"nc");
        let interfaces: Vec<_> = listed.iter().filter(of_interfaces).collect();
        assert!(interfaces.iter().all(|line| line.contains(&kept.host_veth)), "{interfaces:?}");
        // An address that comes back at once is guarded for the new interface.
        let next = request("f");
        let (gone, new) = tokio::join!(network.detach("e"), network.attach(&next));
        gone.unwrap();
        let new = new.unwrap();
        assert_eq!(network.check().await.unwrap(), []);
        assert!(nft::list("nct0").await.unwrap().unwrap().iter().any(|line| line.contains(&new.host_veth)));
        network.teardown().await.unwrap();
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
        assert_eq!(network.check().await.unwrap(), []);
        nft::load("nct0", "flush table inet nct0\n").await.unwrap();
        assert_eq!(network.check().await.unwrap(), [Finding::Table("nct0".into())]);
        assert!(network.reconcile_rules(&rules).await.unwrap());
        assert!(from_host("127.0.0.1:80").is_ok());
        network.teardown().await.unwrap();
        assert_eq!(nft::exist("nct0").await.unwrap(), [false; 2]);
    });
}

#[test]
fn the_host_asks_its_bridge_by_the_address_of_the_bridge() {
    on_private_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        ip("link add ext0 type bridge");
        ip("address add 192.0.2.2/24 dev ext0");
        ip("link set ext0 up");
        let network = Network::open(config(dir.path(), "nct0", 77)).await.unwrap();
        let gateway = network.attach(&request("a")).await.unwrap().gateway;
        // As the DNS server of this node, which answers to addresses of its pods and its bridge only.
        let listener = TcpListener::bind((gateway, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, peer) = listener.accept().unwrap();
            write!(stream, "{}", peer.ip()).unwrap();
        });
        assert_eq!(from_host(&address.to_string()).unwrap(), gateway.to_string());
        network.teardown().await.unwrap();
    });
}

#[test]
fn a_service_leads_pods_to_a_program_of_the_host_and_to_nothing_else_there() {
    on_private_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(config(dir.path(), "nct0", 77)).await.unwrap();
        let pod = network.attach(&request("a")).await.unwrap();
        let program = |address: &str| -> u16 {
            let listener = TcpListener::bind(address).unwrap();
            let port = listener.local_addr().unwrap().port();
            thread::spawn(move || {
                while let Ok((mut stream, peer)) = listener.accept() {
                    let _ = write!(stream, "{}", peer.ip());
                }
            });
            port
        };
        let (on_loopback, everywhere) = (program("127.0.0.1:0"), program("0.0.0.0:0"));
        let of = |address: &str, port: u16, host_program: bool| Service {
            host_program,
            ..service(address, 443, &[(Ipv4Addr::LOCALHOST, port)])
        };
        let services = vec![
            of("10.177.0.1", on_loopback, true),
            of("10.177.0.2", everywhere, true),
            of("10.177.0.3", everywhere, false),
        ];
        network.reconcile_rules(&Rules { publish: vec![], services }).await.unwrap();
        assert_eq!(from_pod(&pod, "10.177.0.1:443").unwrap(), pod.address.to_string());
        assert_eq!(from_pod(&pod, "10.177.0.2:443").unwrap(), pod.address.to_string());
        assert!(from_host("10.177.0.1:443").is_ok());
        for closed in [
            "10.177.0.3:443".to_owned(),
            format!("{}:{on_loopback}", pod.gateway),
            format!("{}:{everywhere}", pod.gateway),
        ] {
            assert!(from_pod(&pod, &closed).is_err(), "{closed}");
        }
        network.teardown().await.unwrap();
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
