//! Who gets in: nobody without a certificate, and of those who have one only administrators.

use std::sync::Arc;
use std::time::Duration;

use etcd::{Access, Alone, Endpoints, Error, EtcdBackend, EtcdServer, serve};
use jiff::Timestamp;
use keyspace::{Cluster, EngineError, Keyspace, KeyspaceExt, MemoryKeyspace};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use trust::tls::{ServerCertificate, client_config, server_config};
use trust::{Authority, CertificateSpec, ClientAuth, Identity, Usage};

fn identity(authority: &Authority, usage: Usage, user: &str, group: &str) -> Identity {
    let spec = CertificateSpec {
        usage,
        common_name: user.into(),
        organizations: vec![group.into()],
        names: if usage == Usage::Client { vec![] } else { vec!["127.0.0.1".into()] },
        lifetime: Duration::from_secs(3600),
    };
    let issued = authority.issue(&spec, Timestamp::now()).expect("a certificate");
    Identity::from_pem(&issued.certificate_pem, issued.key_pem).expect("an identity")
}

#[tokio::test]
async fn only_administrators_with_a_certificate_get_in() {
    let (authority, _) = Authority::generate("test-ca", Timestamp::now()).expect("an authority");
    let (stranger, _) = Authority::generate("other-ca", Timestamp::now()).expect("an authority");
    let server = ServerCertificate::new(&identity(&authority, Usage::Server, "server", "servers"));
    let tls = server_config(&authority, server, ClientAuth::Required).expect("a configuration");
    let keyspace = Arc::new(MemoryKeyspace::new());
    let cluster: Arc<dyn Cluster> = Arc::new(Alone::new(keyspace.clone(), 7, "one"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let server = EtcdServer::open(keyspace.clone(), cluster, &format!("https://{address}"), &std::env::temp_dir())
        .await
        .expect("a server");
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve(server, listener, Access::Certificates(Arc::new(tls)), stop.clone()));
    let connect = async |identity: Option<Identity>| {
        let tls = client_config(authority.certificate_pem(), identity.as_ref()).expect("a configuration");
        let endpoints = Endpoints::parse(&format!("https://{address}"), Some(Arc::new(tls))).expect("an endpoint");
        EtcdBackend::connect(endpoints).await
    };
    let client = |authority, user, group| Some(identity(authority, Usage::Client, user, group));

    let admin = connect(client(&authority, "admin", "system:masters")).await.expect("an administrator gets in");
    admin.put("k", "v").await.expect("and writes");
    assert!(keyspace.get("k").await.expect("get").is_some());
    let node = connect(client(&authority, "system:node:one", "system:nodes")).await.expect_err("a node does not");
    assert!(matches!(node, keyspace::Error::Storage(EngineError::Io { .. })), "{node:?}");
    connect(None).await.expect_err("nobody gets in without a certificate");
    connect(client(&stranger, "admin", "system:masters")).await.expect_err("nor with one of another authority");
    stop.cancel();
    drop(admin);
    serving.await.expect("it ends").expect("without an error");
}

#[tokio::test]
async fn in_clear_only_loopback_is_served() {
    let keyspace: Arc<dyn Keyspace> = Arc::new(MemoryKeyspace::new());
    let cluster: Arc<dyn Cluster> = Arc::new(Alone::new(keyspace.clone(), 7, "one"));
    let listener = TcpListener::bind("0.0.0.0:0").await.expect("a port");
    let server = EtcdServer::open(keyspace, cluster, "http://0.0.0.0", &std::env::temp_dir()).await.expect("a server");
    let serving = serve(server, listener, Access::Loopback, CancellationToken::new());
    let refused = serving.await.expect_err("not on every interface");
    assert!(matches!(refused, Error::Unprotected { .. }), "{refused}");
}
