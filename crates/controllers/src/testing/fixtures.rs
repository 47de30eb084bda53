//! Images, an authority and a host for tests.

use std::{net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use dockyard::Facts;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::{
    Config, Context, KernelRandom,
    ports::{
        ApiServers, Catalog, CatalogError, Certificate, CertificateError, CertificateIssuer, CertificateRequest,
        HostFacts, ImageInfo,
    },
};

/// Services of the test catalog.
pub(crate) const MARIADB: &str = "mariadb";
pub(crate) const WORDPRESS: &str = "wordpress";

/// The image of a test service.
pub(crate) fn info(service: &str) -> Option<ImageInfo> {
    let label = match service {
        MARIADB => json!({
            "options": ["storage=8Gi|<size>"],
            "env": {"TLS_CERT": "!tls cert"},
            "ports": [{"name": "mysql", "port": 3306}],
            "volumes": [{"name": "data", "path": "/var/lib/mysql", "size": "${storage}"}],
            "offers": {
                "create_user": {"parameters": ["username=<name>", "password=<secret>"], "undo": "revoke_user"},
                "revoke_user": {"parameters": ["username=<name>"]}
            },
            "readiness": {"tcp": "mysql"},
            "resources": {"memory": "256Mi", "pids": 99}
        }),
        WORDPRESS => json!({
            "options": ["database=&mariadb", "database_password=!rand 32 alnum", "port=8080|<publish>", "public=yes|no"],
            "ports": [{"name": "http", "port": 80, "publish": "port"}],
            "bindings": {"database": [{"run": "&bindings.create_user",
                "with": {"username": "${self bundle}", "password": "${database_password}"}}]}
        }),
        _ => return None,
    };
    Some(ImageInfo { digest: format!("sha256:{service}"), label: Some(label.to_string()), ..ImageInfo::default() })
}

struct TestCatalog;

#[async_trait]
impl Catalog for TestCatalog {
    async fn inspect(&self, reference: &str, _update: bool) -> Result<ImageInfo, CatalogError> {
        let service = reference.rsplit('/').next().and_then(|name| name.split(':').next()).unwrap_or_default();
        info(service).ok_or_else(|| CatalogError::NotFound { reference: reference.to_owned() })
    }
}

struct TestHost;

impl HostFacts for TestHost {
    fn facts(&self) -> Facts {
        Facts::default()
    }
}

struct TestServers;

#[async_trait]
impl ApiServers for TestServers {
    async fn addresses(&self) -> Vec<SocketAddr> {
        vec!["192.0.2.7:6443".parse().unwrap()]
    }
}

struct TestIssuer;

impl CertificateIssuer for TestIssuer {
    fn authority(&self) -> Option<&str> {
        Some("authority")
    }

    fn issue(&self, request: &CertificateRequest) -> Result<Certificate, CertificateError> {
        let not_before = Timestamp::UNIX_EPOCH;
        Ok(Certificate {
            certificate: format!("certificate of {}", request.common_name),
            key: "key".to_owned().into(),
            authority: self.authority().unwrap_or_default().into(),
            not_before,
            not_after: not_before + SignedDuration::from_hours(24 * 365),
        })
    }
}

/// Ports over these fixtures.
pub(crate) fn context() -> Context {
    Context {
        catalog: Arc::new(TestCatalog),
        host: Arc::new(TestHost),
        servers: Arc::new(TestServers),
        issuer: Arc::new(TestIssuer),
        random: Arc::new(KernelRandom),
        config: Config::default(),
    }
}
