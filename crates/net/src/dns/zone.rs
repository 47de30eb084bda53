//! Names we are the authority for, and the pure answer to a query.

use std::{
    collections::{HashMap, HashSet},
    net::Ipv4Addr,
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{
        DNSClass, LowerName, Name, RData, Record, RecordType,
        rdata::{A, PTR, SOA, SRV, TXT},
    },
};

use ipnet::Ipv4Net;

use crate::{Error, Result};

/// Lifetime of answers in seconds: short, because pods come and go (CoreDNS uses the same for Kubernetes).
const TTL: u32 = 5;
/// SOA timers in seconds; nobody transfers these zones, so only the last (negative TTL) has an effect.
const SOA_TIMERS: (i32, i32, i32) = (7200, 1800, 86400);

/// A service record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    /// Port of the service.
    pub port: u16,
    /// Name with an address record.
    pub target: Name,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Records {
    pub(super) addresses: Vec<Ipv4Addr>,
    pub(super) services: Vec<Srv>,
    /// Names of an address (RFC 1035, 3.5).
    pub(super) pointers: Vec<Name>,
    pub(super) texts: Vec<String>,
}

/// A snapshot of the names of all own zones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Zone {
    pub(super) origins: Vec<LowerName>,
    pub(super) names: HashMap<LowerName, Records>,
    /// Names that exist only because a longer one does (RFC 8020: they answer NODATA, not NXDOMAIN).
    branches: HashSet<LowerName>,
    /// Serial of the SOA records: [`super::file`] counts it up with each change.
    pub(super) serial: u32,
}

impl Zone {
    /// Empty zones at `origins`, such as `cluster.local`.
    ///
    /// # Errors
    /// [`Error::DnsName`].
    pub fn new<'a>(origins: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let origins = origins.into_iter().map(lower).collect::<Result<Vec<_>>>()?;
        Ok(Self { branches: origins.iter().cloned().collect(), origins, names: HashMap::new(), serial: 0 })
    }

    /// Makes these zones the authority for the names of all addresses of `range` too.
    ///
    /// # Errors
    /// [`Error::DnsName`], never for a range of addresses.
    pub fn add_reverse(&mut self, range: Ipv4Net) -> Result<()> {
        // Names end at whole octets (RFC 1035, 3.5): a range that does not is several zones.
        let octets = range.prefix_len().div_ceil(8);
        for zone in range.subnets(octets * 8).into_iter().flatten() {
            let labels = zone.network().octets();
            let labels = labels.iter().take(usize::from(octets)).rev().map(|octet| format!("{octet}."));
            let origin = lower(&format!("{}in-addr.arpa", labels.collect::<String>()))?;
            self.branches.insert(origin.clone());
            self.origins.push(origin);
        }
        Ok(())
    }

    /// Adds a name to an address; repeating it changes nothing.
    ///
    /// # Errors
    /// [`Error::DnsName`], also for addresses outside the ranges.
    pub fn insert_ptr(&mut self, address: Ipv4Addr, target: &str) -> Result<()> {
        let [a, b, c, d] = address.octets();
        self.insert_pointer(&format!("{d}.{c}.{b}.{a}.in-addr.arpa"), target)
    }

    /// [`Self::insert_ptr`] by the address's name.
    pub(super) fn insert_pointer(&mut self, name: &str, target: &str) -> Result<()> {
        let target = Name::from(lower(target)?);
        let records = self.entry(name)?;
        if !records.pointers.contains(&target) {
            records.pointers.push(target);
        }
        Ok(())
    }

    /// Adds a text to a name; repeating it changes nothing.
    ///
    /// # Errors
    /// [`Error::DnsName`].
    pub fn insert_txt(&mut self, name: &str, text: &str) -> Result<()> {
        let records = self.entry(name)?;
        if !records.texts.iter().any(|known| known == text) {
            records.texts.push(text.to_owned());
        }
        Ok(())
    }

    /// Adds an address to a name; repeating it changes nothing.
    ///
    /// # Errors
    /// [`Error::DnsName`], also for names outside the origins.
    pub fn insert(&mut self, name: &str, address: Ipv4Addr) -> Result<()> {
        let records = self.entry(name)?;
        if !records.addresses.contains(&address) {
            records.addresses.push(address);
        }
        Ok(())
    }

    /// Adds a service record to a name such as `_http._tcp.web.default.svc.cluster.local`.
    ///
    /// # Errors
    /// [`Error::DnsName`] for either name.
    pub fn insert_srv(&mut self, name: &str, port: u16, target: &str) -> Result<()> {
        let srv = Srv { port, target: Name::from(lower(target)?) };
        let records = self.entry(name)?;
        if !records.services.contains(&srv) {
            records.services.push(srv);
        }
        Ok(())
    }

    /// Number of names with records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether no name has records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn entry(&mut self, name: &str) -> Result<&mut Records> {
        let name = lower(name)?;
        let Some(origin) = self.origin_of(&name).cloned() else {
            return Err(Error::DnsName { name: name.to_string() });
        };
        let mut parent = name.base_name();
        while origin.zone_of(&parent) && parent != origin {
            self.branches.insert(parent.clone());
            parent = parent.base_name();
        }
        Ok(self.names.entry(name).or_default())
    }

    fn origin_of(&self, name: &LowerName) -> Option<&LowerName> {
        self.origins.iter().find(|origin| origin.zone_of(name))
    }

    fn soa(&self, origin: &LowerName) -> Record {
        let name = Name::from(origin);
        let of =
            |label: &str| Name::from_ascii(label).and_then(|l| l.append_domain(&name)).unwrap_or_else(|_| name.clone());
        let (refresh, retry, expire) = SOA_TIMERS;
        let soa = SOA::new(of("ns"), of("hostmaster"), self.serial, refresh, retry, expire, TTL);
        Record::from_rdata(name, TTL, RData::SOA(soa))
    }
}

/// What to do with a query.
#[derive(Debug)]
pub enum Answer {
    /// Send this.
    Reply(Box<Message>),
    /// Ask the resolvers of the host.
    Forward,
}

/// Answers from the zones, or says that the query is for somebody else.
#[must_use]
pub fn answer(zone: &Zone, request: &Message) -> Answer {
    let [query] = request.queries.as_slice() else {
        return refuse(request, ResponseCode::FormErr);
    };
    if request.metadata.op_code != OpCode::Query {
        return refuse(request, ResponseCode::NotImp);
    }
    let name = LowerName::from(query.name());
    let Some(origin) = zone.origin_of(&name) else { return Answer::Forward };
    if !matches!(query.query_class(), DNSClass::IN | DNSClass::ANY) {
        return refuse(request, ResponseCode::Refused);
    }
    let mut reply = reply_to(request);
    reply.metadata.authoritative = true;
    let exists = zone.names.contains_key(&name) || zone.branches.contains(&name);
    reply.add_answers(answers(zone, origin, &name, query, request.metadata.id));
    if reply.answers.is_empty() {
        reply.metadata.response_code = if exists { ResponseCode::NoError } else { ResponseCode::NXDomain };
        reply.add_authority(zone.soa(origin));
    }
    Answer::Reply(Box::new(reply))
}

fn answers(zone: &Zone, origin: &LowerName, name: &LowerName, query: &Query, turn: u16) -> Vec<Record> {
    let asks = |kind| query.query_type() == kind || query.query_type() == RecordType::ANY;
    let record = |data| Record::from_rdata(query.name().clone(), TTL, data);
    let mut found = Vec::new();
    if name == origin && asks(RecordType::SOA) {
        found.push(zone.soa(origin));
    }
    let Some(records) = zone.names.get(name) else { return found };
    if asks(RecordType::A) && !records.addresses.is_empty() {
        let mut addresses = records.addresses.clone();
        // Clients take the first one: begin with another for each query.
        let first = usize::from(turn) % addresses.len();
        addresses.rotate_left(first);
        found.extend(addresses.into_iter().map(|a| record(RData::A(A(a)))));
    }
    if asks(RecordType::SRV) {
        let data = |srv: &Srv| record(RData::SRV(SRV::new(0, 100, srv.port, srv.target.clone())));
        found.extend(records.services.iter().map(data));
    }
    if asks(RecordType::PTR) {
        found.extend(records.pointers.iter().map(|name| record(RData::PTR(PTR(name.clone())))));
    }
    if asks(RecordType::TXT) {
        found.extend(records.texts.iter().map(|text| record(RData::TXT(TXT::new(vec![text.clone()])))));
    }
    found
}

/// An empty reply with the query's id, question and flags.
pub(crate) fn reply_to(request: &Message) -> Message {
    let mut reply = Message::new(request.metadata.id, MessageType::Response, request.metadata.op_code);
    reply.metadata.recursion_desired = request.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.add_queries(request.queries.iter().cloned());
    if let Some(edns) = &request.edns {
        let mut own = hickory_proto::op::Edns::new();
        own.set_max_payload(edns.max_payload().clamp(MIN_PAYLOAD, MAX_PAYLOAD));
        own.set_version(0);
        reply.set_edns(own);
    }
    reply
}

/// Smallest UDP payload every client takes (RFC 1035).
pub(crate) const MIN_PAYLOAD: u16 = 512;
/// Largest UDP payload sent (DNS flag day 2020).
pub(crate) const MAX_PAYLOAD: u16 = 1232;

fn refuse(request: &Message, code: ResponseCode) -> Answer {
    Answer::Reply(Box::new(failure(request, code)))
}

/// A reply that says only `code`.
pub(crate) fn failure(request: &Message, code: ResponseCode) -> Message {
    let mut reply = reply_to(request);
    reply.metadata.response_code = code;
    reply
}

fn lower(name: &str) -> Result<LowerName> {
    let mut parsed = Name::from_ascii(name).map_err(|_| Error::DnsName { name: name.to_owned() })?;
    parsed.set_fqdn(true);
    Ok(LowerName::from(parsed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> Zone {
        let mut zone = Zone::new(["cluster.local", "nanocloud.local"]).unwrap();
        zone.insert("web.default.svc.cluster.local", Ipv4Addr::new(10, 96, 0, 1)).unwrap();
        zone.insert("Web.nanocloud.local", Ipv4Addr::new(10, 96, 0, 1)).unwrap();
        zone.insert("db.default.svc.cluster.local", Ipv4Addr::new(10, 88, 0, 2)).unwrap();
        zone.insert("db.default.svc.cluster.local", Ipv4Addr::new(10, 88, 0, 3)).unwrap();
        zone.insert_srv("_http._tcp.web.default.svc.cluster.local", 80, "web.default.svc.cluster.local").unwrap();
        zone
    }

    fn ask(name: &str, kind: RecordType) -> Option<Message> {
        let mut request = Message::query();
        request.add_query(Query::query(Name::from_utf8(name).unwrap(), kind));
        match answer(&zone(), &request) {
            Answer::Reply(reply) => {
                assert_eq!(reply.metadata.id, request.metadata.id);
                assert!(reply.metadata.message_type == MessageType::Response);
                Some(*reply)
            }
            Answer::Forward => None,
        }
    }

    #[test]
    fn own_names_have_authority() {
        for (name, kind, code, answers, soa) in [
            ("web.default.svc.cluster.local.", RecordType::A, ResponseCode::NoError, 1, 0),
            ("WEB.Default.svc.cluster.LOCAL.", RecordType::A, ResponseCode::NoError, 1, 0),
            ("web.nanocloud.local.", RecordType::A, ResponseCode::NoError, 1, 0),
            ("db.default.svc.cluster.local.", RecordType::A, ResponseCode::NoError, 2, 0),
            ("_http._tcp.web.default.svc.cluster.local.", RecordType::SRV, ResponseCode::NoError, 1, 0),
            ("web.default.svc.cluster.local.", RecordType::AAAA, ResponseCode::NoError, 0, 1),
            ("default.svc.cluster.local.", RecordType::A, ResponseCode::NoError, 0, 1),
            ("cluster.local.", RecordType::SOA, ResponseCode::NoError, 1, 0),
            ("nothing.default.svc.cluster.local.", RecordType::A, ResponseCode::NXDomain, 0, 1),
            ("x.web.default.svc.cluster.local.", RecordType::A, ResponseCode::NXDomain, 0, 1),
        ] {
            let reply = ask(name, kind).unwrap();
            assert!(reply.metadata.authoritative, "{name}");
            assert_eq!(reply.metadata.response_code, code, "{name} {kind}");
            assert_eq!((reply.answers.len(), reply.authorities.len()), (answers, soa), "{name} {kind}");
        }
    }

    #[test]
    fn addresses_of_ours_have_names_and_those_of_others_are_forwarded() {
        let mut zone = zone();
        zone.add_reverse("10.96.0.0/16".parse().unwrap()).unwrap();
        zone.add_reverse("172.20.32.0/19".parse().unwrap()).unwrap();
        zone.insert_ptr(Ipv4Addr::new(10, 96, 0, 1), "web.default.svc.cluster.local").unwrap();
        zone.insert_ptr(Ipv4Addr::new(172, 20, 63, 4), "a.db.default.svc.cluster.local").unwrap();
        zone.insert_ptr(Ipv4Addr::new(172, 20, 63, 4), "a.db.default.svc.cluster.local").unwrap();
        assert!(zone.insert_ptr(Ipv4Addr::new(192, 0, 2, 1), "web.default.svc.cluster.local").is_err());
        zone.insert_txt("dns-version.cluster.local", "1.1.0").unwrap();
        let ask = |name: &str, kind| {
            let mut request = Message::query();
            request.add_query(Query::query(Name::from_utf8(name).unwrap(), kind));
            match answer(&zone, &request) {
                Answer::Reply(reply) => {
                    let data: Vec<String> = reply.answers.iter().map(|record| record.data.to_string()).collect();
                    Some((reply.metadata.response_code, data.join(" "), reply.authorities.len()))
                }
                Answer::Forward => None,
            }
        };
        let (good, none) = (ResponseCode::NoError, ResponseCode::NXDomain);
        for (name, kind, wanted) in [
            ("1.0.96.10.in-addr.arpa.", RecordType::PTR, Some((good, "web.default.svc.cluster.local.", 0))),
            ("4.63.20.172.in-addr.arpa.", RecordType::PTR, Some((good, "a.db.default.svc.cluster.local.", 0))),
            ("1.0.96.10.in-addr.arpa.", RecordType::A, Some((good, "", 1))),
            ("2.0.96.10.in-addr.arpa.", RecordType::PTR, Some((none, "", 1))),
            ("0.96.10.in-addr.arpa.", RecordType::PTR, Some((good, "", 1))),
            ("96.10.in-addr.arpa.", RecordType::PTR, Some((good, "", 1))),
            ("1.64.20.172.in-addr.arpa.", RecordType::PTR, None),
            ("1.0.97.10.in-addr.arpa.", RecordType::PTR, None),
            ("10.in-addr.arpa.", RecordType::PTR, None),
            ("dns-version.cluster.local.", RecordType::TXT, Some((good, "1.1.0", 0))),
        ] {
            let wanted = wanted.map(|(code, data, soa)| (code, data.to_owned(), soa));
            assert_eq!(ask(name, kind), wanted, "{name} {kind}");
        }
    }

    #[test]
    fn other_names_are_forwarded() {
        for name in ["example.com.", "local.", "xcluster.local.", "."] {
            assert!(ask(name, RecordType::A).is_none(), "{name}");
        }
    }

    #[test]
    fn names_outside_the_origins_and_non_names_are_refused() {
        let mut zone = zone();
        assert!(zone.insert("example.com", Ipv4Addr::LOCALHOST).is_err());
        assert!(zone.insert("a..cluster.local", Ipv4Addr::LOCALHOST).is_err());
        assert!(zone.insert(&format!("{}.cluster.local", "a".repeat(64)), Ipv4Addr::LOCALHOST).is_err());
    }

    #[test]
    fn two_questions_and_updates_are_refused() {
        let mut two = Message::query();
        for _ in 0..2 {
            two.add_query(Query::query(Name::from_utf8("web.nanocloud.local.").unwrap(), RecordType::A));
        }
        let mut update = Message::new(1, MessageType::Query, OpCode::Update);
        update.add_query(Query::query(Name::from_utf8("web.nanocloud.local.").unwrap(), RecordType::A));
        for (request, code) in [(two, ResponseCode::FormErr), (update, ResponseCode::NotImp)] {
            match answer(&zone(), &request) {
                Answer::Reply(reply) => assert_eq!(reply.metadata.response_code, code),
                Answer::Forward => panic!("forwarded"),
            }
        }
    }
}
