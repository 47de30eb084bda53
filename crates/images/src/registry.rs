//! Registries over HTTP: the distribution protocol by `oci-client`, mirrors, credentials, resumed
//! downloads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Read};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::StreamExt;
use oci_client::client::{BlobResponse, Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use tokio::sync::mpsc;

use crate::catalog;
use crate::error::ImageError;
use crate::manifest::{self, Document, LayerBlob, MANIFEST_BYTES_MAX, MANIFEST_TYPES};
use crate::reference::Reference;

/// Longest time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest silence of a registry.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Times a broken download is resumed.
const RESUMES_MAX: u32 = 5;
/// First pause before resuming; it doubles each time.
const RESUME_PAUSE: Duration = Duration::from_millis(200);
/// Chunks of a download waiting to be unpacked.
const CHUNKS_MAX: usize = 32;
/// Docker's registry, where names without a slash are under `library/`.
const DOCKER: &str = "docker.io";

/// How registries are reached.
#[derive(Clone, Debug, Default)]
pub struct RegistryConfig {
    /// Hosts asked in order before the registry itself; by registry.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// By registry (or mirror) host.
    pub credentials: BTreeMap<String, Credentials>,
    /// Hosts spoken to without TLS. Loopback addresses are so anyway.
    pub plain_http: BTreeSet<String>,
    /// Further certificate authorities, PEM.
    pub authorities_pem: Vec<Vec<u8>>,
}

/// Proof of who asks.
#[derive(Clone)]
pub enum Credentials {
    /// User name and password; exchanged for a token where the registry wants one.
    Basic {
        /// User name.
        user: String,
        /// Password.
        password: String,
    },
    /// A token used as it is.
    Bearer(String),
}

/// Never prints the secret.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { user, .. } => f.debug_struct("Basic").field("user", user).finish_non_exhaustive(),
            Self::Bearer(_) => f.write_str("Bearer"),
        }
    }
}

/// A client of all registries.
pub(crate) struct Registries {
    config: RegistryConfig,
    client: oci_client::Client,
}

/// An image found in a registry.
pub(crate) struct RegistryImage {
    pub(crate) digest: String,
    pub(crate) manifest: Vec<u8>,
    /// Where it was found: the registry or a mirror.
    host: String,
    name: oci_client::Reference,
}

impl Registries {
    pub(crate) fn new(config: RegistryConfig) -> Self {
        // Already done by another part of this process is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let authority = |pem: &Vec<u8>| Certificate { encoding: CertificateEncoding::Pem, data: pem.clone() };
        let mut plain: Vec<String> = config.plain_http.iter().cloned().collect();
        let hosts = config.mirrors.values().flatten().chain(config.credentials.keys());
        plain.extend(hosts.filter(|host| is_loopback(host)).cloned());
        let client = client(&config, plain, config.authorities_pem.iter().map(authority).collect());
        Self { config, client }
    }

    /// Asks mirrors and the registry for the image; verifies the manifest.
    pub(crate) async fn find(
        &self,
        reference: &Reference,
        own: Option<&Credentials>,
    ) -> Result<RegistryImage, ImageError> {
        let mirrors = self.config.mirrors.get(reference.registry()).into_iter().flatten();
        let mut last = None;
        for host in mirrors.map(String::as_str).chain([reference.registry()]) {
            let own = own.filter(|_| host == reference.registry());
            match self.find_at(host, reference, own).await {
                Ok(image) => return Ok(image),
                // A mirror that fails is passed over; content that is wrong is not.
                Err(error @ (ImageError::Registry { .. } | ImageError::NotFound { .. })) => {
                    tracing::debug!(%host, %reference, error = %error.with_causes(), "image not had here");
                    last = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| ImageError::NotFound {
            reference: reference.to_string(),
            place: format!("in {}", reference.registry()),
        }))
    }

    async fn find_at(
        &self,
        host: &str,
        reference: &Reference,
        own: Option<&Credentials>,
    ) -> Result<RegistryImage, ImageError> {
        let auth = match own.or_else(|| self.config.credentials.get(host)) {
            Some(Credentials::Basic { user, password }) => RegistryAuth::Basic(user.clone(), password.clone()),
            Some(Credentials::Bearer(token)) => RegistryAuth::Bearer(token.clone()),
            None => RegistryAuth::Anonymous,
        };
        let client = self.client_for(host);
        let name = name_at(host, reference);
        let (digest, bytes) = self.manifest(&client, host, reference, &name, &auth).await?;
        let (digest, bytes) = match manifest::parse(&bytes, &digest)? {
            Document::Manifest(_) => (digest, bytes),
            Document::Index(entries) => {
                let entry = manifest::choose(&entries).ok_or_else(|| ImageError::NotFound {
                    reference: reference.to_string(),
                    place: format!("for linux/{} in {host}", manifest::ARCHITECTURE),
                })?;
                let pinned = name.clone_with_digest(entry.digest.clone());
                let (digest, bytes) = self.manifest(&client, host, reference, &pinned, &auth).await?;
                catalog::verify(&bytes, &entry.digest, "manifest")?;
                (digest, bytes)
            }
        };
        Ok(RegistryImage { digest, manifest: bytes, host: host.to_owned(), name })
    }

    async fn manifest(
        &self,
        client: &oci_client::Client,
        host: &str,
        reference: &Reference,
        name: &oci_client::Reference,
        auth: &RegistryAuth,
    ) -> Result<(String, Vec<u8>), ImageError> {
        let pulled = client.pull_manifest_raw(name, auth, &MANIFEST_TYPES).await;
        let (bytes, _) = pulled.map_err(|error| failed(host, reference, error))?;
        if bytes.len() as u64 > MANIFEST_BYTES_MAX {
            return Err(ImageError::TooLarge {
                what: format!("the manifest of {reference}"),
                limit: MANIFEST_BYTES_MAX,
            });
        }
        let digest = catalog::digest_of(&bytes);
        if let Some(expected) = name.digest() {
            catalog::verify(&bytes, expected, "manifest")?;
        }
        Ok((digest, bytes.to_vec()))
    }

    /// A small blob, verified.
    pub(crate) async fn read(&self, image: &RegistryImage, digest: &str, limit: u64) -> Result<Vec<u8>, ImageError> {
        let mut bytes = Vec::new();
        let mut download = self.download(image, digest, limit);
        while let Some(chunk) = download.recv().await {
            bytes.extend_from_slice(&chunk.map_err(|source| broken(image, digest, source))?);
            if bytes.len() as u64 > limit {
                return Err(ImageError::TooLarge { what: format!("blob {digest}"), limit });
            }
        }
        catalog::verify(&bytes, digest, "image configuration")?;
        Ok(bytes)
    }

    /// A layer's blob as a blocking reader, yet to be verified.
    pub(crate) fn open(&self, image: &RegistryImage, blob: &LayerBlob) -> Download {
        Download { chunks: self.download(image, &blob.digest, blob.size), current: Bytes::new() }
    }

    fn download(&self, image: &RegistryImage, digest: &str, size: u64) -> mpsc::Receiver<io::Result<Bytes>> {
        let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
        let client = self.client_for(&image.host);
        let (name, digest) = (image.name.clone(), digest.to_owned());
        // Ends when the receiver is dropped.
        #[expect(clippy::disallowed_methods, reason = "ends when the receiver is dropped")]
        tokio::spawn(async move {
            let mut offset = 0;
            let mut pause = RESUME_PAUSE;
            for attempt in 0..=RESUMES_MAX {
                let broken = match download_from(&client, &name, &digest, size, &mut offset, &sender).await {
                    Ok(()) => return,
                    Err(error) => error,
                };
                if attempt == RESUMES_MAX || sender.is_closed() {
                    // Nobody listening is as good.
                    let _ = sender.send(Err(broken)).await;
                    return;
                }
                tracing::debug!(%digest, offset, error = %broken, "download broke; resuming");
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
        });
        receiver
    }

    /// Loopback addresses that are first heard of in a reference need a client that knows so.
    fn client_for(&self, host: &str) -> oci_client::Client {
        let known = self.config.plain_http.contains(host) || !is_loopback(host);
        let listed = self.config.mirrors.values().flatten().any(|mirror| mirror == host)
            || self.config.credentials.contains_key(host);
        if known || listed {
            return self.client.clone();
        }
        client(&self.config, vec![host.to_owned()], Vec::new())
    }
}

fn client(config: &RegistryConfig, mut plain: Vec<String>, authorities: Vec<Certificate>) -> oci_client::Client {
    plain.extend(config.plain_http.iter().cloned());
    oci_client::Client::new(ClientConfig {
        protocol: ClientProtocol::HttpsExcept(plain),
        extra_root_certificates: authorities,
        connect_timeout: Some(CONNECT_TIMEOUT),
        read_timeout: Some(READ_TIMEOUT),
        user_agent: concat!("nanocloud/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    })
}

/// One connection's worth of a blob, from `offset` on. Early ends are errors, so that they are
/// resumed.
async fn download_from(
    client: &oci_client::Client,
    name: &oci_client::Reference,
    digest: &str,
    size: u64,
    offset: &mut u64,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let response = client.pull_blob_stream_partial(name, digest, *offset, None).await.map_err(io::Error::other)?;
    // A server without range requests starts from the beginning: what we have is skipped.
    let (stream, mut skip) = match response {
        BlobResponse::Full(stream) => (stream, *offset),
        BlobResponse::Partial(stream) => (stream, 0),
    };
    let known = stream.content_length.map(|length| length + *offset - skip);
    let mut stream = stream.stream;
    while let Some(chunk) = stream.next().await {
        let mut chunk = chunk?;
        let skipped = skip.min(chunk.len() as u64);
        chunk.advance(usize::try_from(skipped).unwrap_or(chunk.len()));
        skip -= skipped;
        *offset += chunk.len() as u64;
        if !chunk.is_empty() && sender.send(Ok(chunk)).await.is_err() {
            return Ok(());
        }
    }
    let expected = known.unwrap_or(size).min(size);
    if *offset < expected {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{offset} of {expected} bytes came")));
    }
    Ok(())
}

/// A download as a blocking reader, for a thread outside of the async runtime.
pub(crate) struct Download {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.current = chunk?,
                None => return Ok(0),
            }
        }
        let read = self.current.len().min(buffer.len());
        self.current.copy_to_slice(&mut buffer[..read]);
        Ok(read)
    }
}

fn broken(image: &RegistryImage, digest: &str, source: io::Error) -> ImageError {
    ImageError::Download { digest: digest.to_owned(), registry: image.host.clone(), source }
}

fn failed(host: &str, reference: &Reference, error: OciDistributionError) -> ImageError {
    let missing = match &error {
        OciDistributionError::ImageManifestNotFoundError(_) => true,
        OciDistributionError::ServerError { code, .. } => *code == 404,
        OciDistributionError::RegistryError { envelope, .. } => {
            use oci_client::errors::OciErrorCode::{ManifestUnknown, NameUnknown, NotFound};
            envelope.errors.iter().any(|error| matches!(error.code, ManifestUnknown | NameUnknown | NotFound))
        }
        _ => false,
    };
    if missing {
        return ImageError::NotFound { reference: reference.to_string(), place: format!("in {host}") };
    }
    ImageError::Registry { reference: reference.to_string(), registry: host.to_owned(), source: Box::new(error) }
}

fn name_at(host: &str, reference: &Reference) -> oci_client::Reference {
    let repository = match reference.repository() {
        short if host == DOCKER && !short.contains('/') => format!("library/{short}"),
        repository => repository.to_owned(),
    };
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => oci_client::Reference::with_digest(host.to_owned(), repository, digest.to_owned()),
        (None, tag) => {
            let tag = tag.unwrap_or(crate::reference::DEFAULT_TAG);
            oci_client::Reference::with_tag(host.to_owned(), repository, tag.to_owned())
        }
    }
}

/// Whether a host (with or without port) is this machine by its address.
fn is_loopback(host: &str) -> bool {
    let bare = match host.rsplit_once(':') {
        Some((bare, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => bare,
        _ => host,
    };
    let bare = bare.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Shared between pulls.
pub(crate) type SharedRegistries = Arc<Registries>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_goes_without_tls() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.8.8.8", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["example.test", "localhost.example.test:80", "127.0.0.1.example.test", "10.0.0.1:5000", "[::2]:1"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let basic = Credentials::Basic { user: "u".into(), password: "hunter2".into() };
        let text = format!("{basic:?} {:?}", Credentials::Bearer("hunter2".into()));
        assert!(!text.contains("hunter2"), "{text}");
    }
}
