//! Netfilter over netlink: tracked connections, and whether somebody changed any nftables.

use std::{
    io,
    net::{IpAddr, SocketAddrV4},
};

use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
    conntrack::{ConntrackAttribute, ConntrackMessage, IPTuple, ProtoTuple, Protocol as IpProtocol, Tuple},
    nftables::{GenAttribute, GenMessage, NfTablesMessage},
};
use rtnetlink::{
    packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload, Nla as _},
    sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER},
};

use crate::{Protocol, flow::Flow};

/// Bytes received at once: above what the kernel puts into one answer of a dump.
const RECEIVE_BUFFER: usize = 64 << 10;
/// Attributes that tell one connection from another with the same addresses (`enum ctattr_type` of the kernel).
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;

/// Forgets every IPv4 connection that `is_stale` says; how many those were. One pass over the kernel's table in
/// constant memory; the table's own limit (`nf_conntrack_max`) bounds the work. Blocks meanwhile.
pub(crate) fn forget(is_stale: impl Fn(&Flow) -> bool) -> io::Result<usize> {
    let (all, one) = (open()?, open()?);
    send(&all, ConntrackMessage::Get(Vec::new()), NLM_F_REQUEST | NLM_F_DUMP)?;
    let mut forgotten = 0;
    each_answer(&all, |message| {
        let NetfilterMessageInner::Conntrack(ConntrackMessage::New(attributes)) = message.inner else {
            return Ok(());
        };
        if flow_of(&attributes).is_some_and(|flow| is_stale(&flow)) {
            forgotten += usize::from(forget_one(&one, attributes)?);
        }
        Ok(())
    })?;
    Ok(forgotten)
}

/// Whether it was there to be forgotten.
fn forget_one(socket: &Socket, attributes: Vec<ConntrackAttribute>) -> io::Result<bool> {
    let names = |attribute: &ConntrackAttribute| match attribute {
        ConntrackAttribute::CtaTupleOrig(_) => true,
        ConntrackAttribute::Other(other) => matches!(other.kind(), CTA_ID | CTA_ZONE),
        _ => false,
    };
    let key = attributes.into_iter().filter(names).collect();
    send(socket, ConntrackMessage::Delete(key), NLM_F_REQUEST | NLM_F_ACK)?;
    match each_answer(socket, |_| Ok(())) {
        // It ended meanwhile, or another one has its place.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        done => done.map(|()| true),
    }
}

/// The generation of all nftables of this network namespace: another number after each change by anybody.
pub(crate) fn generation() -> io::Result<u32> {
    let socket = open()?;
    let request = NfTablesMessage::GetGen(GenMessage { attributes: Vec::new() });
    send(&socket, request, NLM_F_REQUEST | NLM_F_ACK)?;
    let mut generation = None;
    each_answer(&socket, |message| {
        if let NetfilterMessageInner::NfTables(NfTablesMessage::NewGen(answer)) = message.inner {
            generation = answer.attributes.iter().find_map(|attribute| match attribute {
                GenAttribute::Id(id) => Some(*id),
                _ => None,
            });
        }
        Ok(())
    })?;
    generation.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

fn send(socket: &Socket, message: impl Into<NetfilterMessageInner>, flags: u16) -> io::Result<()> {
    let header = NetfilterHeader::new(NetfilterProtoFamily::IPv4, 0, 0);
    let mut message = NetlinkMessage::from(NetfilterMessage::new(header, message));
    message.header.flags = flags;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0).map(drop)
}

/// Hands on each answer until the last one: the end of a dump, an acknowledgement, or an error.
fn each_answer(socket: &Socket, mut take: impl FnMut(NetfilterMessage) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(RECEIVE_BUFFER);
    loop {
        buffer.clear();
        socket.recv(&mut buffer, 0)?;
        let mut rest = buffer.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<NetfilterMessage>::deserialize(rest).map_err(io::Error::other)?;
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(()),
                NetlinkPayload::Error(error) if error.code.is_none() => return Ok(()),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::InnerMessage(message) => take(message)?,
                _ => {}
            }
            // Messages begin at multiples of four bytes.
            let length = usize::try_from(message.header.length).unwrap_or(usize::MAX).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

/// What the attributes of a connection say; nothing for other protocols than those that are published.
fn flow_of(attributes: &[ConntrackAttribute]) -> Option<Flow> {
    let original = attributes.iter().find_map(|attribute| match attribute {
        ConntrackAttribute::CtaTupleOrig(tuple) => Some(tuple),
        _ => None,
    })?;
    let reply = attributes.iter().find_map(|attribute| match attribute {
        ConntrackAttribute::CtaTupleReply(tuple) => Some(tuple),
        _ => None,
    })?;
    let protocol = original.iter().flat_map(ports).find_map(|part| match part {
        ProtoTuple::Protocol(IpProtocol::Tcp) => Some(Protocol::Tcp),
        ProtoTuple::Protocol(IpProtocol::Udp) => Some(Protocol::Udp),
        ProtoTuple::Protocol(IpProtocol::Sctp) => Some(Protocol::Sctp),
        _ => None,
    })?;
    let destination = end(
        original,
        |part| if let IPTuple::DestinationAddress(IpAddr::V4(address)) = part { Some(*address) } else { None },
        |part| if let ProtoTuple::DestinationPort(port) = part { Some(*port) } else { None },
    )?;
    let answers = end(
        reply,
        |part| if let IPTuple::SourceAddress(IpAddr::V4(address)) = part { Some(*address) } else { None },
        |part| if let ProtoTuple::SourcePort(port) = part { Some(*port) } else { None },
    )?;
    Some(Flow { protocol, destination, answers })
}

fn end(
    tuple: &[Tuple],
    address: impl Fn(&IPTuple) -> Option<std::net::Ipv4Addr>,
    port: impl Fn(&ProtoTuple) -> Option<u16>,
) -> Option<SocketAddrV4> {
    let addresses = tuple.iter().flat_map(|part| if let Tuple::Ip(parts) = part { parts.as_slice() } else { &[] });
    let address = addresses.into_iter().find_map(address)?;
    Some(SocketAddrV4::new(address, tuple.iter().flat_map(ports).find_map(port)?))
}

fn ports(tuple: &Tuple) -> &[ProtoTuple] {
    if let Tuple::Proto(parts) = tuple { parts } else { &[] }
}
