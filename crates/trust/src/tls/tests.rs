use std::time::Duration;

use jiff::Timestamp;
use rustls_pki_types::ServerName;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::authority::{CertificateSpec, Usage};

fn authority() -> Authority {
    Authority::generate("test-ca", Timestamp::now()).unwrap().0
}

fn identity(authority: &Authority, usage: Usage, common_name: &str) -> Identity {
    let spec = CertificateSpec {
        usage,
        common_name: common_name.into(),
        organizations: vec!["system:nodes".into()],
        names: if usage == Usage::Client { vec![] } else { vec!["localhost".into()] },
        lifetime: Duration::from_secs(3600),
    };
    let issued = authority.issue(&spec, Timestamp::now()).unwrap();
    Identity::from_pem(&issued.certificate_pem, issued.key_pem).unwrap()
}

/// Shakes hands over a pipe. Returns the subject and protocol the server saw.
async fn handshake(server: ServerConfig, client: ClientConfig) -> Result<(Option<Subject>, Vec<u8>), String> {
    let (near, far) = tokio::io::duplex(16 * 1024);
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let connector = TlsConnector::from(Arc::new(client));
    let name = ServerName::try_from("localhost").unwrap();
    let (accepted, connected) = tokio::join!(acceptor.accept(far), connector.connect(name, near));
    let accepted = accepted.map_err(|error| error.to_string())?;
    connected.map_err(|error| error.to_string())?;
    let connection = accepted.get_ref().1;
    let subject = connection.peer_certificates().map(|chain| peer_subject(chain).unwrap());
    Ok((subject, connection.alpn_protocol().unwrap_or_default().to_vec()))
}

#[tokio::test]
async fn the_server_learns_who_the_client_is() {
    let authority = authority();
    let certificate = ServerCertificate::new(&identity(&authority, Usage::Server, "server"));
    let client = identity(&authority, Usage::Client, "system:node:one");
    for auth in [ClientAuth::Optional, ClientAuth::Required] {
        let server = server_config(&authority, certificate.clone(), auth).unwrap();
        let client = client_config(authority.certificate_pem(), Some(&client)).unwrap();
        let (subject, protocol) = handshake(server, client).await.unwrap();
        assert_eq!(subject, Some(Subject::node("one")));
        assert_eq!(protocol, b"h2");
    }
}

#[tokio::test]
async fn a_certificate_is_needed_only_where_it_is_required() {
    let authority = authority();
    let certificate = ServerCertificate::new(&identity(&authority, Usage::Server, "server"));
    let client = || client_config(authority.certificate_pem(), None).unwrap();
    let optional = server_config(&authority, certificate.clone(), ClientAuth::Optional).unwrap();
    assert_eq!(handshake(optional, client()).await.unwrap().0, None);
    let required = server_config(&authority, certificate, ClientAuth::Required).unwrap();
    assert!(handshake(required, client()).await.is_err());
}

#[tokio::test]
async fn strangers_are_refused_on_both_sides() {
    let (ours, theirs) = (authority(), authority());
    let certificate = ServerCertificate::new(&identity(&ours, Usage::Server, "server"));
    let server = |auth| server_config(&ours, certificate.clone(), auth).unwrap();
    let stranger = identity(&theirs, Usage::Client, "admin");
    let client = client_config(ours.certificate_pem(), Some(&stranger)).unwrap();
    assert!(handshake(server(ClientAuth::Optional), client).await.is_err(), "a stranger's certificate");
    let client = client_config(theirs.certificate_pem(), None).unwrap();
    assert!(handshake(server(ClientAuth::Optional), client).await.is_err(), "a server of another authority");
    let wrong_usage = identity(&ours, Usage::Server, "admin");
    let client = client_config(ours.certificate_pem(), Some(&wrong_usage)).unwrap();
    assert!(handshake(server(ClientAuth::Optional), client).await.is_err(), "a server certificate used by a client");
}

#[tokio::test]
async fn a_replaced_certificate_is_shown_from_then_on() {
    let (old, new) = (authority(), authority());
    let certificate = ServerCertificate::new(&identity(&old, Usage::Server, "server"));
    let server = || server_config(&old, certificate.clone(), ClientAuth::Optional).unwrap();
    let client = || client_config(new.certificate_pem(), None).unwrap();
    assert!(handshake(server(), client()).await.is_err());
    certificate.replace(&identity(&new, Usage::Server, "server"));
    assert!(handshake(server(), client()).await.is_ok());
}

#[test]
fn a_foreign_key_makes_no_identity() {
    let authority = authority();
    let (one, two) = (identity(&authority, Usage::Client, "a"), identity(&authority, Usage::Client, "b"));
    let error = Identity::from_pem(one.certificate_pem(), two.key_pem().clone()).unwrap_err();
    assert!(error.to_string().contains("does not belong"), "{error}");
    assert!(peer_subject(&[]).is_err());
}
