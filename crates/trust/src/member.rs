//! Members of a cluster among themselves: certificates that say which member it is, and TLS that asks for them.
//!
//! A member's certificate has the common name `system:nanocloud:member:<id>`, the organisation
//! `system:nanocloud:members`, and one DNS name made of the id, so that a connection to a member is refused in the
//! handshake when another one answers. An authority for members alone signs them: no certificate of the API, of a client
//! or of a workload passes the handshake, and no member's is good for the API. Its key follows from the cluster's
//! authority, which all members hold, so each makes its own certificate at its start and none is stored.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::{CertificateDer, ServerName};

use crate::{
    Authority, CertificateInfo, CertificateSpec, ClientAuth, Identity, Usage,
    error::Error,
    subject::{MEMBER_PREFIX, MEMBERS},
    tls::{ServerCertificate, client_config, server_config},
};

/// How long a member's certificate is valid: a process renews it when a third is left.
pub const LIFETIME: Duration = Duration::from_secs(397 * 24 * 3600);
const ALPN: &[u8] = b"nanocloud-peer";

/// Name and purpose of the authority of members.
const AUTHORITY_NAME: &str = "nanocloud-members-ca";

/// The authority that signs members' certificates, from the cluster's authority.
///
/// # Errors
/// When its certificate cannot be made.
pub fn authority(cluster: &Authority, now: Timestamp) -> Result<Authority, Error> {
    cluster.derive(AUTHORITY_NAME, now)
}

/// Makes the certificate of a member, for servers and clients.
pub fn issue(authority: &Authority, id: u64, lifetime: Duration, now: Timestamp) -> Result<Identity, Error> {
    let spec = CertificateSpec {
        usage: Usage::Service,
        common_name: format!("{MEMBER_PREFIX}{id:x}"),
        organizations: vec![MEMBERS.to_owned()],
        names: vec![dns_name(id)],
        lifetime,
    };
    let issued = authority.issue(&spec, now)?;
    Identity::from_pem(&issued.certificate_pem, issued.key_pem)
}

/// The member whose certificate this is: both the name and the role must say so.
pub fn of_certificate(der: &[u8]) -> Result<u64, Error> {
    let info = CertificateInfo::from_der(der)?;
    let id = info.common_name.strip_prefix(MEMBER_PREFIX).and_then(|id| u64::from_str_radix(id, 16).ok());
    match id {
        Some(id) if info.organizations.iter().any(|group| group == MEMBERS) => Ok(id),
        _ => Err(Error::NotAMember { common_name: info.common_name }),
    }
}

/// The name a member's certificate is for.
pub fn server_name(id: u64) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(dns_name(id)).map_err(|_| Error::InvalidName { name: dns_name(id) })
}

fn dns_name(id: u64) -> String {
    format!("{id:x}.member.nanocloud.internal")
}

/// TLS for both ends of a connection between members; each end must show a certificate of the authority. Who it is
/// has to be asked of the certificate ([`of_certificate`]): other certificates of the authority pass the handshake.
pub fn tls(authority: &Authority, identity: &Identity) -> Result<(ServerConfig, ClientConfig), Error> {
    let certificate = ServerCertificate::new(identity);
    let mut server = server_config(authority, certificate, ClientAuth::Required)?;
    let mut client = client_config(authority.certificate_pem(), Some(identity))?;
    server.alpn_protocols = vec![ALPN.to_vec()];
    client.alpn_protocols = vec![ALPN.to_vec()];
    // A resumed session would not show the certificate again.
    server.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    client.resumption = rustls::client::Resumption::disabled();
    Ok((server, client))
}

/// The first certificate of a chain that a handshake has verified.
pub fn of_chain(chain: Option<&[CertificateDer<'_>]>) -> Result<u64, Error> {
    let first = chain.and_then(<[_]>::first);
    let first = first.ok_or_else(|| Error::Pem { what: "certificate", reason: "the peer showed none".into() })?;
    of_certificate(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    /// Shakes hands in memory. Answers with the first error of either end.
    fn handshake(server: ServerConfig, client: ClientConfig, member: u64) -> Result<(), rustls::Error> {
        let mut server = rustls::ServerConnection::new(Arc::new(server))?;
        let mut client = rustls::ClientConnection::new(Arc::new(client), server_name(member).unwrap())?;
        while client.is_handshaking() || server.is_handshaking() {
            let mut bytes = Vec::new();
            client.write_tls(&mut bytes).unwrap();
            server.read_tls(&mut bytes.as_slice()).unwrap();
            server.process_new_packets()?;
            let mut bytes = Vec::new();
            server.write_tls(&mut bytes).unwrap();
            client.read_tls(&mut bytes.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        Ok(())
    }

    #[test]
    fn members_trust_the_authority_of_members_only() {
        let at = Timestamp::now();
        let (cluster, key) = Authority::generate("test-ca", at).unwrap();
        let copy = Authority::recertify("test-ca", &key, at).unwrap();
        // Two members derive it each for itself.
        let (ours, theirs) = (authority(&cluster, at).unwrap(), authority(&copy, at).unwrap());
        let one = issue(&ours, 1, LIFETIME, at).unwrap();
        let two = issue(&theirs, 2, LIFETIME, at).unwrap();
        let (server, _) = tls(&ours, &one).unwrap();
        let (_, client) = tls(&theirs, &two).unwrap();
        handshake(server, client, 1).unwrap();
        // A certificate that the cluster's own authority signed says the same and is refused, at both ends.
        let forged = issue(&cluster, 2, LIFETIME, at).unwrap();
        let (server, _) = tls(&ours, &one).unwrap();
        let (_, client) = tls(&ours, &forged).unwrap();
        assert!(handshake(server, client, 1).is_err(), "as a client");
        let (server, _) = tls(&ours, &forged).unwrap();
        let (_, client) = tls(&ours, &one).unwrap();
        assert!(handshake(server, client, 2).is_err(), "as a server");
        // The API does not take a member's certificate.
        assert!(!cluster.signed(one.certificate_der()));
    }

    #[test]
    fn a_certificate_names_its_member_and_others_name_none() {
        let authority = Authority::generate("test-ca", now()).unwrap().0;
        let identity = issue(&authority, 0xbeef, LIFETIME, now()).unwrap();
        assert_eq!(of_certificate(identity.certificate_der()).unwrap(), 0xbeef);
        assert!(of_chain(None).is_err());
        let spec = |common_name: &str, organization: &str| CertificateSpec {
            usage: Usage::Service,
            common_name: common_name.into(),
            organizations: vec![organization.into()],
            names: vec![dns_name(1)],
            lifetime: LIFETIME,
        };
        for (name, organization) in [
            ("system:nanocloud:member:1", "system:masters"),
            ("admin", MEMBERS),
            ("system:nanocloud:member:", MEMBERS),
            ("system:nanocloud:member:x", MEMBERS),
        ] {
            let issued = authority.issue(&spec(name, organization), now()).unwrap();
            let identity = Identity::from_pem(&issued.certificate_pem, issued.key_pem).unwrap();
            let refused = of_certificate(identity.certificate_der());
            assert!(matches!(refused, Err(Error::NotAMember { .. })), "{name} {organization}");
        }
    }
}
