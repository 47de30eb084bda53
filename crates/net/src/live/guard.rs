//! What pods cannot do: reach the host, or speak for others.

#![expect(clippy::disallowed_methods, reason = "tests start programs and tasks, and end them")]

use std::os::fd::AsRawFd as _;

use super::*;
use crate::{
    Network, Rules, nft,
    testing::{config, on_private_host},
};

/// A program of the host that answers every connection, until the test ends.
fn host_listens(address: &str) -> SocketAddr {
    let listener = TcpListener::bind(address).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.write_all(b"host");
        }
    });
    address
}

#[test]
fn of_the_host_pods_reach_names_published_ports_and_what_was_opened() {
    on_private_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path(), "nct0", 77);
        config.host_ports = [(Protocol::Tcp, 7000)].into();
        let network = Network::open(config).await.unwrap();
        let a = network.attach(&request("a")).await.unwrap();
        let b = network.attach(&request("b")).await.unwrap();
        serve(&b, 8080, "b");
        ip("link add uplink type veth peer name elsewhere");
        ip("addr add 192.0.2.1/24 dev uplink");
        ip("link set uplink up");
        let api = host_listens("0.0.0.0:6443");
        let dns = host_listens("10.77.0.1:53");
        host_listens("0.0.0.0:7000");
        assert!(from_host(&format!("127.0.0.1:{}", api.port())).is_ok());
        for rules in [Rules::default(), Rules { publish: vec![publish(None, 80, b.address, 8080)], services: vec![] }] {
            network.reconcile_rules(&rules).await.unwrap();
            for closed in ["10.77.0.1:6443", "192.0.2.1:6443", "192.0.2.1:53"] {
                let error = from_pod(&a, closed).unwrap_err();
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{closed}: at once, not by silence");
            }
            assert_eq!(from_pod(&a, &dns.to_string()).unwrap(), "host", "names");
            assert_eq!(from_pod(&a, "192.0.2.1:7000").unwrap(), "host", "what was opened");
        }
        // Datagrams are refused as well, and the host still reaches its pods.
        let _silent = UdpSocket::bind("10.77.0.1:123").unwrap();
        let client = udp_in(&a, "0.0.0.0:0");
        client.connect("10.77.0.1:123").unwrap();
        assert!(ask(&client).is_err());
        assert!(from_pod(&a, "192.0.2.1:80").unwrap().starts_with("b "), "published");
        assert!(from_host(&format!("{}:8080", b.address)).unwrap().starts_with("b "));
        network.teardown().await.unwrap();
    });
}

#[test]
fn of_the_hosts_neighbours_pods_reach_name_servers_only() {
    on_private_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(config(dir.path(), "nct0", 77)).await.unwrap();
        let a = network.attach(&request("a")).await.unwrap();
        let neighbour = network.attach(&request("neighbour")).await.unwrap();
        let host = nix::unistd::gettid();
        netns::inside(&neighbour.netns, move || {
            ip(&format!("link add elsewhere type veth peer name uplink netns {host}"));
            ip("addr add 169.254.169.254/16 dev elsewhere");
            ip("link set elsewhere up");
            Ok(())
        })
        .unwrap();
        ip("addr add 169.254.0.1/16 dev uplink");
        ip("link set uplink up");
        serve(&a, 8080, "a");
        for port in [53, 80] {
            serve(&neighbour, port, "neighbour");
        }
        for rules in [Rules::default(), Rules { publish: vec![publish(None, 8080, a.address, 8080)], services: vec![] }]
        {
            network.reconcile_rules(&rules).await.unwrap();
            let refused = from_pod(&a, "169.254.169.254:80").unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "at once, not by silence");
            assert_eq!(from_pod(&a, "169.254.169.254:53").unwrap(), "neighbour 169.254.0.1", "names");
            assert_eq!(from_host("169.254.169.254:80").unwrap(), "neighbour 169.254.0.1", "the host's own business");
        }
        assert!(from_pod(&neighbour, "169.254.0.1:8080").unwrap().starts_with("a "), "what is published is answered");
        nft::load("nct0", "flush chain inet nct0 forward\n").await.unwrap();
        assert!(from_pod(&a, "169.254.169.254:80").is_ok(), "without the rule it would be reachable");
        network.teardown().await.unwrap();
    });
}

#[test]
fn a_pod_cannot_speak_for_another_address() {
    on_private_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(config(dir.path(), "nct0", 77)).await.unwrap();
        let a = network.attach(&request("a")).await.unwrap();
        let b = network.attach(&request("b")).await.unwrap();
        let victim = network.attach(&request("victim")).await.unwrap();
        let askers = serve_udp(&b, 9000, "b");
        assert_eq!(victim.address, Ipv4Addr::new(10, 77, 0, 4));
        ip_in(&a, "addr add 10.77.0.4/32 dev eth0");
        ip_in(&a, "addr add 10.77.0.200/32 dev eth0");
        let own = udp_in(&a, "10.77.0.2:5000");
        own.connect((b.address, 9000)).unwrap();
        assert_eq!(ask(&own).unwrap(), "b");
        for forged in ["10.77.0.4:5000", "10.77.0.200:5000"] {
            udp_in(&a, forged).send_to(b"?", (b.address, 9000)).unwrap();
        }
        // Datagrams of one sender keep their order: when this one was answered, the forged ones are lost.
        assert_eq!(ask(&own).unwrap(), "b");
        let seen: Vec<SocketAddr> = askers.try_iter().collect();
        assert_eq!(seen, [SocketAddr::from((a.address, 5000)); 2]);
        // Unguarded, the same datagram arrives.
        nft::load("nct0", "flush chain bridge nct0 prerouting\n").await.unwrap();
        udp_in(&a, "10.77.0.4:5000").send_to(b"?", (b.address, 9000)).unwrap();
        assert_eq!(askers.recv_timeout(PATIENCE).unwrap(), SocketAddr::from((victim.address, 5000)));
        network.teardown().await.unwrap();
    });
}

/// An ARP request for `target` that says it comes from `sender` at `mac`, in a frame of the same MAC (RFC 826).
fn arp_request(mac: [u8; 6], sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(mac);
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(sender.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame
}

/// Sends a frame by the pod's interface.
fn send_frame(pod: &Attachment, frame: Vec<u8>) {
    use nix::{libc, sys::socket};
    netns::inside(&pod.netns, move || {
        let (family, kind) = (socket::AddressFamily::Packet, socket::SockType::Raw);
        let packet = socket::socket(family, kind, socket::SockFlag::SOCK_CLOEXEC, None)?;
        let index = nix::net::if_::if_nametoindex("eth0")?;
        // SAFETY: all zeros is a value of this plain structure.
        #[expect(unsafe_code, reason = "neither std nor nix makes addresses of interfaces")]
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = index as i32;
        // SAFETY: frame and address live through the call, with the lengths given.
        #[expect(unsafe_code, reason = "see above")]
        let sent = unsafe {
            let address_length = std::mem::size_of_val(&address) as u32;
            let address = std::ptr::from_ref(&address).cast();
            libc::sendto(packet.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0, address, address_length)
        };
        if sent == frame.len() as isize { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    })
    .unwrap();
}

#[test]
fn a_pod_cannot_mislead_the_hosts_neighbour_cache() {
    on_private_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(config(dir.path(), "nct0", 77)).await.unwrap();
        let a = network.attach(&request("a")).await.unwrap();
        let victim = network.attach(&request("victim")).await.unwrap();
        serve(&a, 80, "a");
        serve(&victim, 80, "victim");
        let reach = |pod: &Attachment| from_host(&format!("{}:80", pod.address)).unwrap();
        let victim_is_at = || {
            let shown = Command::new("ip").args(["neigh", "show", "10.77.0.3"]).output().unwrap();
            String::from_utf8(shown.stdout).unwrap()
        };
        let hex = |mac: [u8; 6]| mac.map(|byte| format!("{byte:02x}")).join(":");
        assert!(reach(&victim).starts_with("victim"));
        send_frame(&a, arp_request(a.mac, victim.address, a.gateway));
        send_frame(&a, arp_request(victim.mac, victim.address, a.gateway));
        // Frames of one interface keep their order.
        assert!(reach(&a).starts_with("a"));
        assert!(victim_is_at().contains(&hex(victim.mac)), "{}", victim_is_at());
        assert!(reach(&victim).starts_with("victim"), "its frames still come to it");
        nft::load("nct0", "flush chain bridge nct0 prerouting\n").await.unwrap();
        send_frame(&a, arp_request(a.mac, victim.address, a.gateway));
        assert!(reach(&a).starts_with("a"));
        assert!(victim_is_at().contains(&hex(a.mac)), "unguarded, it would work: {}", victim_is_at());
        network.teardown().await.unwrap();
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
        nft::load("nct0", "flush chain inet nct0 martian; flush chain inet nct0 from_pods\n").await.unwrap();
        let open = netns::inside(&netns, move || fetch(target, PATIENCE));
        assert_eq!(open.unwrap(), "secret", "without the guard it would be reachable");
        network.reconcile_rules(&Rules::default()).await.unwrap();
        assert!(netns::inside(&netns, move || fetch(target, DROPPED)).is_err(), "guarded again");
        network.teardown().await.unwrap();
    });
}
