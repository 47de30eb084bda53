//! What somebody breaks on the host is noticed, named and mended.

use tokio::sync::watch;

use super::*;
use crate::{
    Health, Network, Rules, nft,
    testing::{config, on_private_host},
};

#[test]
fn what_is_broken_under_a_running_server_is_named_and_mended() {
    on_private_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(config(dir.path(), "nct0", 77)).await.unwrap();
        let a = network.attach(&request("a")).await.unwrap();
        let b = network.attach(&request("b")).await.unwrap();
        serve(&b, 8080, "b");
        let rules = Rules {
            publish: vec![publish(None, 80, b.address, 8080)],
            services: vec![service("10.177.0.2", 80, &[(b.address, 8080)])],
        };
        network.reconcile_rules(&rules).await.unwrap();
        let works = || {
            assert!(from_pod(&a, &format!("{}:8080", b.address)).is_ok(), "pod to pod");
            assert!(from_pod(&a, "10.177.0.2:80").is_ok(), "service");
            assert!(from_host("10.177.0.2:80").is_ok(), "service from the host");
            assert!(from_host("127.0.0.1:80").is_ok(), "published");
        };
        works();
        let (health, mut seen) = watch::channel(Health::Well);
        network.look_after(&health).await;
        assert!(!seen.has_changed().unwrap(), "nothing to say while all is well");
        let veth = b.host_veth.clone();
        let breakages: [(&str, &str); 8] = [
            ("bridge nct0 is missing", "link del nct0"),
            ("bridge nct0 is down", "link set nct0 down"),
            ("bridge nct0 lacks the address 10.77.0.1/24", "addr flush dev nct0"),
            ("the route to 10.177.0.0/24 does not lead to bridge nct0", "route del 10.177.0.0/24"),
            ("attachment b has no interface in the bridge", &format!("link del {veth}")),
            ("attachment b has no interface in the bridge", &format!("link set {veth} nomaster")),
            ("the nftables tables nct0 are missing or were changed", "inet"),
            ("the nftables tables nct0 are missing or were changed", "bridge"),
        ];
        for (name, breakage) in breakages {
            match breakage {
                "inet" | "bridge" => {
                    nft::load("nct0", &format!("delete table {breakage} nct0\n")).await.unwrap();
                }
                words => ip(words),
            }
            let found: Vec<String> = network.check().await.unwrap().iter().map(ToString::to_string).collect();
            assert!(found.iter().any(|found| found == name), "{breakage}: {found:?}");
            network.look_after(&health).await;
            assert_eq!(*seen.borrow_and_update(), Health::Well, "{breakage}");
            assert_eq!(network.check().await.unwrap(), [], "{breakage}");
            works();
        }
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
        network.look_after(&health).await;
        works();
        network.teardown().await.unwrap();
    });
}

#[test]
fn what_cannot_be_mended_is_told_until_it_can() {
    on_private_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(config(dir.path(), "nct0", 77)).await.unwrap();
        let (health, seen) = watch::channel(Health::Well);
        ip("link del nct0");
        // Somebody else took the name.
        ip("link add nct0 type veth peer name other");
        network.look_after(&health).await;
        assert!(
            matches!(&*seen.borrow(), Health::Broken(why) if why.contains("nct0 exists and is not a bridge")),
            "{:?}",
            seen.borrow()
        );
        ip("link del nct0");
        network.look_after(&health).await;
        assert_eq!(*seen.borrow(), Health::Well);
        network.teardown().await.unwrap();
    });
}
