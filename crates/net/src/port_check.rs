//! Is a host port free, and if not, who holds it?

use std::{
    fs, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, TcpListener, UdpSocket},
    path::Path,
};

use crate::{Error, HostPort, PortHolder, Protocol, Result};

/// Checks that no process of this network namespace listens on `port`.
///
/// Publishing works by address translation and would silently take the traffic of such a listener, so this is asked
/// before a port is published. SCTP is not probed.
///
/// # Errors
/// [`Error::PortInUse`] with the holder, [`Error::PortProbe`] when the answer cannot be had.
pub fn check_port(port: HostPort) -> Result<()> {
    let address = SocketAddrV4::new(port.address.unwrap_or(Ipv4Addr::UNSPECIFIED), port.port);
    let bound = match port.protocol {
        Protocol::Tcp => TcpListener::bind(address).map(drop),
        Protocol::Udp => UdpSocket::bind(address).map(drop),
        Protocol::Sctp => Ok(()),
    };
    match bound {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => Err(Error::PortInUse { port, holder: holder(port) }),
        // An address the host does not have (yet) cannot be listened on either.
        Err(e) if e.kind() == io::ErrorKind::AddrNotAvailable => Ok(()),
        Err(source) => Err(Error::PortProbe { port, source }),
    }
}

/// Finds the listener through `/proc/thread-self/net` and the descriptors of all processes.
fn holder(port: HostPort) -> PortHolder {
    let tables: &[&str] = match port.protocol {
        Protocol::Tcp => &["tcp", "tcp6"],
        Protocol::Udp => &["udp", "udp6"],
        Protocol::Sctp => &[],
    };
    tables
        .iter()
        .filter_map(|table| fs::read_to_string(format!("/proc/thread-self/net/{table}")).ok())
        .flat_map(|text| listening_inodes(&text, port))
        .find_map(process_with_socket)
        .unwrap_or(PortHolder::Unknown)
}

/// Socket inodes of listeners on `port` in the text of a `/proc/net/{tcp,udp}{,6}` table (proc(5)).
fn listening_inodes(table: &str, port: HostPort) -> Vec<u64> {
    const TCP_LISTEN: &str = "0A";
    let parse = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (address, number) = fields.next()?.split_once(':')?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?.parse().ok()?;
        let listens = port.protocol != Protocol::Tcp || state == TCP_LISTEN;
        let same = u16::from_str_radix(number, 16).ok()? == port.port && port.overlaps(v4_of(address)?);
        (listens && same).then_some(inode)
    };
    table.lines().skip(1).filter_map(parse).collect()
}

/// The IPv4 address a hexadecimal local address catches: outer `None` when it catches none, inner `None` for any.
#[expect(clippy::option_option, reason = "three answers: not IPv4, every address, one address")]
fn v4_of(hex: &str) -> Option<Option<Ipv4Addr>> {
    let words: Vec<u32> = (0..hex.len())
        .step_by(8)
        .map(|at| u32::from_str_radix(hex.get(at..at + 8)?, 16).ok())
        .collect::<Option<_>>()?;
    let octets: Vec<u8> = words.iter().flat_map(|w| w.to_ne_bytes()).collect();
    let address = if let Ok(four) = <[u8; 4]>::try_from(octets.as_slice()) {
        Ipv4Addr::from(four)
    } else {
        let six = Ipv6Addr::from(<[u8; 16]>::try_from(octets.as_slice()).ok()?);
        if six.is_unspecified() { Ipv4Addr::UNSPECIFIED } else { six.to_ipv4_mapped()? }
    };
    Some((!address.is_unspecified()).then_some(address))
}

fn process_with_socket(inode: u64) -> Option<PortHolder> {
    let wanted = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let holds = fs::read_dir(process.path().join("fd"))
            .ok()?
            .flatten()
            .any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to == Path::new(&wanted)));
        let name = fs::read_to_string(process.path().join("comm")).ok()?.trim().to_owned();
        holds.then_some(PortHolder::Process { pid, name })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        for address in [None, Some(Ipv4Addr::LOCALHOST)] {
            let port = HostPort { address, port, protocol: Protocol::Tcp };
            match check_port(port) {
                Err(Error::PortInUse { holder: PortHolder::Process { pid, .. }, .. }) => {
                    assert_eq!(pid, std::process::id())
                }
                other => panic!("{other:?}"),
            }
        }
        drop(listener);
        check_port(HostPort { address: None, port, protocol: Protocol::Tcp }).unwrap();
    }

    #[test]
    fn udp_and_tcp_are_apart() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let at = |protocol| HostPort { address: Some(Ipv4Addr::LOCALHOST), port, protocol };
        assert!(matches!(check_port(at(Protocol::Udp)), Err(Error::PortInUse { .. })));
    }

    #[test]
    fn proc_tables_are_read() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                    0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0\n\
                    1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0\n\
                    2: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0\n";
        let at = |address: Option<Ipv4Addr>, port| HostPort { address, port, protocol: Protocol::Tcp };
        assert_eq!(listening_inodes(text, at(None, 8080)), [4711]);
        assert_eq!(listening_inodes(text, at(Some(Ipv4Addr::new(192, 0, 2, 1)), 8080)), [] as [u64; 0]);
        assert_eq!(listening_inodes(text, at(Some(Ipv4Addr::new(192, 0, 2, 1)), 80)), [4713]);
    }
}
