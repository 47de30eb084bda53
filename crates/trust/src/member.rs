//! Members of a cluster among themselves: certificates that say which member it is, and TLS that asks for them.
//!
//! A member's certificate has the common name `system:nanocloud:member:<id>`, the organisation
//! `system:nanocloud:members`, and one DNS name made of the id, so that a connection to a member is refused in the
//! handshake when another one answers. All members of a cluster hold its authority, so each makes its own certificate at
//! its start and none is stored.

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
