//! Connections follow the rules.

use std::io::ErrorKind;

use super::*;
use crate::{
    Network, Rules,
    testing::{config, on_private_host},
};

fn udp_service(endpoints: &[(Ipv4Addr, u16)]) -> Rules {
    let mut service = service("10.177.0.2", 53, endpoints);
    service.protocol = Protocol::Udp;
    Rules { publish: vec![], services: vec![service] }
}

fn udp_publish(target: Ipv4Addr) -> Rules {
    let mut publish = publish(None, 514, target, 9000);
    publish.port.protocol = Protocol::Udp;
    Rules { publish: vec![publish], services: vec![] }
}

#[test]
fn a_udp_client_with_a_fixed_port_follows_its_service() {
    on_private_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(config(dir.path(), "nct0", 77)).await.unwrap();
        let a = network.attach(&request("a")).await.unwrap();
        let b = network.attach(&request("b")).await.unwrap();
        let client = network.attach(&request("client")).await.unwrap();
        serve_udp(&a, 9000, "a");
        serve_udp(&b, 9000, "b");
        // The kernel tells a program of the host at once that its datagram may not leave; a pod is told by ICMP.
        let refused =
            |error: std::io::Error| matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::PermissionDenied);
        let clients = [udp_in(&client, "0.0.0.0:40000"), UdpSocket::bind("0.0.0.0:40000").unwrap()];
        for client in &clients {
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client.connect("10.177.0.2:53").unwrap();
        }
        let a_and_b = [(a.address, 9000), (b.address, 9000)];
        for (endpoints, answer) in [
            (&a_and_b[..1], Some("a")),
            (&a_and_b[1..], Some("b")),
            // An endpoint more moves nobody.
            (&a_and_b, Some("b")),
            (&[], None),
            (&a_and_b[..1], Some("a")),
        ] {
            network.reconcile_rules(&udp_service(endpoints)).await.unwrap();
            for client in &clients {
                // What the socket was told of an earlier datagram.
                client.take_error().unwrap();
                match (ask(client), answer) {
                    (Ok(name), Some(wanted)) => assert_eq!(name, wanted),
                    (Err(error), None) => assert!(refused(error)),
                    (got, wanted) => panic!("{got:?} instead of {wanted:?}"),
                }
            }
        }
        // Deleted altogether: refused at once as well.
        network.reconcile_rules(&Rules::default()).await.unwrap();
        for client in &clients {
            assert!(refused(ask(client).unwrap_err()));
        }
        network.teardown().await.unwrap();
    });
}

#[test]
fn a_udp_client_follows_a_host_port_to_the_next_pod_also_over_a_restart() {
    on_private_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(config(dir.path(), "nct0", 77)).await.unwrap();
        let a = network.attach(&request("a")).await.unwrap();
        let b = network.attach(&request("b")).await.unwrap();
        serve_udp(&a, 9000, "a");
        serve_udp(&b, 9000, "b");
        let pod = udp_in(&b, "0.0.0.0:40000");
        let [gateway, loopback] = [(); 2].map(|()| UdpSocket::bind("0.0.0.0:0").unwrap());
        loopback.connect("127.0.0.1:514").unwrap();
        for socket in [&pod, &gateway] {
            socket.connect("10.77.0.1:514").unwrap();
        }
        let clients = [&pod, &gateway, &loopback];
        clients.iter().for_each(|client| client.set_read_timeout(Some(PATIENCE)).unwrap());
        network.reconcile_rules(&Rules::default()).await.unwrap();
        // These make entries without translation.
        clients.iter().for_each(|client| assert!(ask(client).is_err(), "nobody listens yet"));
        network.reconcile_rules(&udp_publish(a.address)).await.unwrap();
        clients.iter().for_each(|client| assert_eq!(ask(client).unwrap(), "a"));
        // The server that knew the old rules is gone.
        drop(network);
        let network = Network::open(config(dir.path(), "nct0", 77)).await.unwrap();
        network.reconcile_rules(&udp_publish(b.address)).await.unwrap();
        clients.iter().for_each(|client| assert_eq!(ask(client).unwrap(), "b"));
        network.teardown().await.unwrap();
    });
}

/// A TCP server in a pod that returns what it gets, until the test ends.
fn echo(pod: &Attachment, port: u16) {
    let listener = netns::inside(&pod.netns, move || TcpListener::bind(("0.0.0.0", port))).unwrap();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            thread::spawn(move || {
                let mut buffer = [0; 16];
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    let _ = stream.write_all(&buffer[..length]);
                }
            });
        }
    });
}

#[test]
fn a_tcp_connection_outlives_readiness_and_is_reset_when_its_pod_is_gone() {
    on_private_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(config(dir.path(), "nct0", 77)).await.unwrap();
        let a = network.attach(&request("a")).await.unwrap();
        echo(&a, 8080);
        let of = |endpoints: &[(Ipv4Addr, u16)]| Rules {
            publish: vec![],
            services: vec![service("10.177.0.2", 80, endpoints)],
        };
        network.reconcile_rules(&of(&[(a.address, 8080)])).await.unwrap();
        let mut stream = TcpStream::connect("10.177.0.2:80").unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut talk = || {
            stream.write_all(b"?")?;
            stream.read_exact(&mut [0])
        };
        talk().unwrap();
        network.reconcile_rules(&of(&[])).await.unwrap();
        talk().expect("a pod that ends gracefully finishes its requests");
        network.detach("a").await.unwrap();
        network.reconcile_rules(&of(&[])).await.unwrap();
        assert_eq!(talk().unwrap_err().kind(), std::io::ErrorKind::ConnectionReset, "told at once");
        network.teardown().await.unwrap();
    });
}
