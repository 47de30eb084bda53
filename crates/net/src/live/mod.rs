//! The network on a private host: real bridges, namespaces, nftables and packets. Needs root and `nft`.

#![expect(clippy::disallowed_methods, reason = "tests start programs and tasks, and end them")]

mod attach;
mod conntrack;
mod guard;
mod repair;

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket},
    process::Command,
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::{AttachRequest, Attachment, Error, HostPort, Protocol, Publish, Service, netns};

/// Longest wait for a packet that should come; one that should not come is refused, not waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// Wait for packets that are dropped silently: long enough for a SYN and one repetition.
pub(super) const DROPPED: Duration = Duration::from_millis(1500);

pub(super) fn request(id: &str) -> AttachRequest {
    AttachRequest { id: id.into(), hostname: format!("host-{id}") }
}

/// A server in a pod that answers every connection with its name and the peer's address, until the test ends.
pub(super) fn serve(pod: &Attachment, port: u16, name: &'static str) {
    let listener = netns::inside(&pod.netns, move || TcpListener::bind(("0.0.0.0", port))).unwrap();
    thread::spawn(move || {
        while let Ok((mut stream, peer)) = listener.accept() {
            let _ = write!(stream, "{name} {}", peer.ip());
        }
    });
}

pub(super) fn fetch(address: SocketAddr, patience: Duration) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

pub(super) fn from_pod(pod: &Attachment, address: &str) -> std::io::Result<String> {
    let address = address.parse().unwrap();
    netns::inside(&pod.netns, move || fetch(address, PATIENCE)).map_err(|e| match e {
        Error::Namespace { source, .. } => source,
        other => panic!("{other}"),
    })
}

pub(super) fn from_host(address: &str) -> std::io::Result<String> {
    fetch(address.parse().unwrap(), PATIENCE)
}

pub(super) fn publish(address: Option<Ipv4Addr>, port: u16, target: Ipv4Addr, to: u16) -> Publish {
    Publish {
        port: HostPort { address, port, protocol: Protocol::Tcp },
        target: SocketAddrV4::new(target, to),
        owner: "default/pod".into(),
    }
}

pub(super) fn service(address: &str, port: u16, endpoints: &[(Ipv4Addr, u16)]) -> Service {
    Service {
        address: address.parse().unwrap(),
        port,
        protocol: Protocol::Tcp,
        node_port: None,
        endpoints: endpoints.iter().map(|(a, p)| SocketAddrV4::new(*a, *p)).collect(),
        host_program: false,
        sticky: false,
        owner: "default/svc".into(),
    }
}

/// Runs `ip` with these words.
pub(super) fn ip(words: &str) {
    assert!(Command::new("ip").args(words.split(' ')).status().unwrap().success(), "ip {words}");
}

/// Runs `ip` in a pod.
pub(super) fn ip_in(pod: &Attachment, words: &'static str) {
    netns::inside(&pod.netns, move || {
        ip(words);
        Ok(())
    })
    .unwrap();
}

/// A UDP server in a pod that answers every datagram with its name, until the test ends; and who asked it.
pub(super) fn serve_udp(pod: &Attachment, port: u16, name: &'static str) -> mpsc::Receiver<SocketAddr> {
    let socket = udp_in(pod, &format!("0.0.0.0:{port}"));
    socket.set_read_timeout(None).unwrap();
    let (seen, askers) = mpsc::channel();
    thread::spawn(move || {
        while let Ok((_, peer)) = socket.recv_from(&mut [0; 64]) {
            let _ = seen.send(peer);
            let _ = socket.send_to(name.as_bytes(), peer);
        }
    });
    askers
}

/// A socket in a pod.
pub(super) fn udp_in(pod: &Attachment, local: &str) -> UdpSocket {
    let local: SocketAddr = local.parse().unwrap();
    let socket = netns::inside(&pod.netns, move || UdpSocket::bind(local)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Sends one datagram from a connected socket and returns the answer.
pub(super) fn ask(socket: &UdpSocket) -> std::io::Result<String> {
    socket.send(b"?")?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}
