//! The directory of keys and certificates, `<state>/secure_assets`.
//!
//! Mode 0700, files 0600, each written atomically and synced. `init` may run any number of times;
//! a run that finds everything good changes nothing.

mod files;
mod key_files;
mod plan;
mod shared;

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use self::{
    files::Directory,
    plan::{Condition, Mode, Refusal, Step},
};
use crate::{
    authority::{self, Authority, CertificateSpec, Usage},
    envelope::{Envelope, MasterKeys},
    error::Error,
    jwt::{TokenKeys, Tokens},
    subject::MASTERS,
    tls::Identity,
};

pub use self::{plan::Asset, shared::SharedAssets};

/// Common name of every authority; it stays the same so that a certificate can be made again for
/// the same key.
const AUTHORITY_NAME: &str = "nanocloud-ca";
const ISSUER: &str = "nanocloud.io/serviceaccount";
const SERVER_NAME: &str = "nanocloud-apiserver";
/// User name of the certificate that `init` makes.
pub const ADMIN_USER: &str = "admin";
const LIFETIME: Duration = Duration::from_secs(397 * 24 * 3600);
/// 2026-01-01T00:00:00Z: no clock that is right says less.
const EARLIEST_PLAUSIBLE_SECOND: i64 = 1_767_225_600;

/// Where the assets are and what they are for.
#[derive(Clone, Debug)]
pub struct AssetsConfig {
    /// The directory, `<state>/secure_assets`.
    pub dir: PathBuf,
    /// DNS names and IP addresses the server's certificate is for.
    pub server_names: Vec<String>,
    /// Whether state exists that was sealed or issued under earlier assets: then authority and
    /// master key are never made anew without consent.
    pub data_exists: bool,
}

/// One thing that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was not there and was made.
    Created {
        /// What.
        asset: Asset,
    },
    /// It was good and was made again.
    Renewed {
        /// What.
        asset: Asset,
        /// Why.
        reason: &'static str,
    },
    /// It was broken, was set aside as `FILE.broken`, and made anew.
    Replaced {
        /// What.
        asset: Asset,
        /// What was wrong.
        reason: String,
    },
    /// Something that may have been in use is gone for good.
    Lost {
        /// What.
        asset: Asset,
        /// What that means and what to do.
        consequence: &'static str,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created { asset } => write!(f, "made {asset} ({})", asset.file()),
            Self::Renewed { asset, reason } => write!(f, "renewed {asset} ({}): {reason}", asset.file()),
            Self::Replaced { asset, reason } => {
                write!(f, "replaced {asset} ({0}; the old file is {0}.broken): {reason}", asset.file())
            }
            Self::Lost { asset, consequence } => write!(f, "{asset} was lost: {consequence}"),
        }
    }
}

/// The keys and certificates of an installation.
#[derive(Clone)]
pub struct SecureAssets {
    authority: Arc<Authority>,
    master_keys: MasterKeys,
    token_keys: TokenKeys,
    server: Identity,
    admin: Identity,
}

impl fmt::Debug for SecureAssets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecureAssets").field("server", &self.server).finish_non_exhaustive()
    }
}

impl SecureAssets {
    /// Makes what is missing and renews certificates that are near their end or are for other names.
    /// Touches nothing that is broken and nothing that is good.
    pub fn init(config: &AssetsConfig, now: Timestamp) -> Result<(Self, Vec<Change>), Error> {
        Settling::begin(config, Mode::Init, now)?.run()
    }

    /// Also replaces what is broken or gone, when it can be derived or nothing depends on it, or when
    /// the loss is accepted.
    pub fn repair(config: &AssetsConfig, accept_loss: bool, now: Timestamp) -> Result<(Self, Vec<Change>), Error> {
        Settling::begin(config, Mode::Repair { accept_loss }, now)?.run()
    }

    /// Reads the assets. Changes nothing.
    pub fn open(dir: &Path, now: Timestamp) -> Result<Self, Error> {
        if !dir.exists() {
            return Err(Error::Missing { asset: Asset::AuthorityKey, path: dir.join(Asset::AuthorityKey.file()) });
        }
        files::check_private(dir)?;
        let authority = Self::open_authority(dir)?;
        authority.check_clock(now)?;
        Ok(Self {
            master_keys: load(dir, Asset::MasterKeys, key_files::read_master_keys)?,
            token_keys: load(dir, Asset::TokenKeys, key_files::read_token_keys)?,
            server: load(dir, Asset::Server, |text| read_identity(text, &authority))?,
            admin: load(dir, Asset::Admin, |text| read_identity(text, &authority))?,
            authority: Arc::new(authority),
        })
    }

    fn open_authority(dir: &Path) -> Result<Authority, Error> {
        let key = load(dir, Asset::AuthorityKey, |text| Ok(text.clone()))?;
        load(dir, Asset::AuthorityCertificate, |text| {
            Authority::from_pem(text.expose_secret(), &key).map_err(|error| error.to_string())
        })
    }

    /// The certificate authority.
    pub fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// The authority's certificate, PEM: what clients trust.
    pub fn ca_pem(&self) -> &str {
        self.authority.certificate_pem()
    }

    /// The server's certificate and key.
    pub fn server(&self) -> &Identity {
        &self.server
    }

    /// The administrator's certificate and key: user `admin`, group `system:masters`.
    pub fn admin(&self) -> &Identity {
        &self.admin
    }

    /// Seals and opens secrets under the master keys.
    pub fn envelope(&self) -> Envelope {
        Envelope::new(&self.master_keys)
    }

    /// Issues and verifies bearer tokens.
    pub fn tokens(&self) -> Result<Tokens, Error> {
        Tokens::new(ISSUER, &self.token_keys)
    }
}

fn load<T>(dir: &Path, asset: Asset, read: impl FnOnce(&SecretString) -> Result<T, String>) -> Result<T, Error> {
    let path = dir.join(asset.file());
    let Some(text) = files::read(&path)? else { return Err(Error::Missing { asset, path }) };
    read(&text).map_err(|reason| Error::Corrupt { asset, path, reason })
}

/// A file with the certificate first and its key second.
fn read_identity(text: &SecretString, authority: &Authority) -> Result<Identity, String> {
    let text = text.expose_secret();
    let key_start = text.find("-----BEGIN PRIVATE KEY-----").ok_or("it holds no private key")?;
    let (certificate, key) = text.split_at(key_start);
    let identity = Identity::from_pem(certificate, key.to_owned().into()).map_err(|error| error.to_string())?;
    if authority.signed(identity.certificate_der()) {
        Ok(identity)
    } else {
        Err("another authority signed it".to_owned())
    }
}

/// One run of `init` or `repair`, with the directory locked.
struct Settling<'a> {
    config: &'a AssetsConfig,
    directory: Directory,
    mode: Mode,
    now: Timestamp,
    changes: Vec<Change>,
}

impl<'a> Settling<'a> {
    fn begin(config: &'a AssetsConfig, mode: Mode, now: Timestamp) -> Result<Self, Error> {
        if now.as_second() < EARLIEST_PLAUSIBLE_SECOND {
            return Err(Error::ClockImplausible { now });
        }
        for name in &config.server_names {
            authority::check_name(name)?;
        }
        Ok(Self { config, directory: Directory::create(&config.dir)?, mode, now, changes: Vec::new() })
    }

    fn run(mut self) -> Result<(SecureAssets, Vec<Change>), Error> {
        self.check_before_changing()?;
        let authority = self.authority()?;
        let now = self.now;
        self.settle(
            Asset::MasterKeys,
            |_, text| key_files::read_master_keys(text).map(|_| None),
            || key_files::write_master_keys(&MasterKeys::generate(now)?),
        )?;
        self.settle(
            Asset::TokenKeys,
            |_, text| key_files::read_token_keys(text).map(|_| None),
            || key_files::write_token_keys(&TokenKeys::generate(now)?),
        )?;
        let names = self.config.server_names.clone();
        let wanted: BTreeSet<String> = names.iter().cloned().collect();
        let server = CertificateSpec {
            usage: Usage::Server,
            common_name: SERVER_NAME.into(),
            organizations: Vec::new(),
            names,
            lifetime: LIFETIME,
        };
        self.certificate(Asset::Server, &authority, &server, &wanted)?;
        let admin = CertificateSpec {
            usage: Usage::Client,
            common_name: ADMIN_USER.into(),
            organizations: vec![MASTERS.into()],
            names: Vec::new(),
            lifetime: LIFETIME,
        };
        self.certificate(Asset::Admin, &authority, &admin, &BTreeSet::new())?;
        let assets = SecureAssets::open(self.directory.path(), self.now)?;
        Ok((assets, self.changes))
    }

    /// Refusals come before the first change: a run that fails for what it found changes nothing.
    fn check_before_changing(&self) -> Result<(), Error> {
        let key = self.read(Asset::AuthorityKey)?;
        let key_condition = match &key {
            None => Condition::Missing,
            Some(text) => match Authority::recertify(AUTHORITY_NAME, text, self.now) {
                Ok(_) => Condition::Good,
                Err(error) => Condition::Corrupt(error.to_string()),
            },
        };
        self.decide(Asset::AuthorityKey, &key_condition)?;
        for (asset, read) in [
            (
                Asset::MasterKeys,
                &(|text: &_| key_files::read_master_keys(text).map(drop)) as &dyn Fn(&SecretString) -> _,
            ),
            (Asset::TokenKeys, &|text| key_files::read_token_keys(text).map(drop)),
        ] {
            let found: Condition = match self.read(asset)?.map(|text| read(&text)) {
                None => Condition::Missing,
                Some(Ok(())) => Condition::Good,
                Some(Err(reason)) => Condition::Corrupt(reason),
            };
            self.decide(asset, &found)?;
        }
        Ok(())
    }

    fn read(&self, asset: Asset) -> Result<Option<SecretString>, Error> {
        files::read(&self.directory.path().join(asset.file()))
    }

    fn decide(&self, asset: Asset, found: &Condition) -> Result<Step, Error> {
        let path = || self.directory.path().join(asset.file());
        plan::decide(asset, found, self.mode, self.config.data_exists).map_err(|refusal| match refusal {
            Refusal::Corrupt(reason) => Error::Corrupt { asset, path: path(), reason },
            Refusal::Irreplaceable(lost) => Error::Irreplaceable { asset, path: path(), lost },
        })
    }

    /// Judges an asset's text (`Ok(Some(reason))`: good but to be renewed), decides, and does it.
    fn settle(
        &mut self,
        asset: Asset,
        judge: impl FnOnce(&Self, &SecretString) -> Result<Option<&'static str>, String>,
        make: impl FnOnce() -> Result<SecretString, Error>,
    ) -> Result<(), Error> {
        let found = match self.read(asset)?.map(|text| judge(self, &text)) {
            None => Condition::Missing,
            Some(Ok(None)) => Condition::Good,
            Some(Ok(Some(reason))) => Condition::Stale(reason),
            Some(Err(reason)) => Condition::Corrupt(reason),
        };
        let change = match self.decide(asset, &found)? {
            Step::Keep => return Ok(()),
            Step::Create => Change::Created { asset },
            Step::Renew(reason) => Change::Renewed { asset, reason },
            Step::Replace { reason } => Change::Replaced { asset, reason },
        };
        let text = make()?;
        if matches!(change, Change::Replaced { .. }) {
            self.directory.set_aside(asset.file())?;
        }
        self.directory.write(asset.file(), text.expose_secret().as_bytes())?;
        let anew = !matches!(change, Change::Renewed { .. });
        self.changes.push(change);
        if let Some(consequence) = asset.lost_with_it().filter(|_| anew && self.config.data_exists) {
            self.changes.push(Change::Lost { asset, consequence });
        }
        Ok(())
    }

    /// Key first, then a certificate for it: the key alone is enough to make the certificate again.
    fn authority(&mut self) -> Result<Authority, Error> {
        let now = self.now;
        self.settle(
            Asset::AuthorityKey,
            |this, text| match Authority::recertify(AUTHORITY_NAME, text, this.now) {
                Ok(_) => Ok(None),
                Err(error) => Err(error.to_string()),
            },
            || Authority::generate(AUTHORITY_NAME, now).map(|(_, key)| key),
        )?;
        let key = load(self.directory.path(), Asset::AuthorityKey, |text| Ok(text.clone()))?;
        let anew = !self.changes.is_empty();
        self.settle(
            Asset::AuthorityCertificate,
            |_, text| match Authority::from_pem(text.expose_secret(), &key) {
                Ok(_) => Ok(None),
                // The certificate of a replaced key is no fault of its own.
                Err(_) if anew => Ok(Some("the key is new")),
                Err(error) => Err(error.to_string()),
            },
            || {
                Authority::recertify(AUTHORITY_NAME, &key, now)
                    .map(|authority| authority.certificate_pem().to_owned().into())
            },
        )?;
        let authority = SecureAssets::open_authority(self.directory.path())?;
        match authority.check_clock(now) {
            Err(Error::AuthorityExpired { .. }) if self.mode == (Mode::Repair { accept_loss: true }) => {
                self.recertify(&key)
            }
            Err(error) => Err(error),
            Ok(()) => Ok(authority),
        }
    }

    /// A new certificate for the same key: what it signed stays good, copies of the old certificate do not.
    fn recertify(&mut self, key: &SecretString) -> Result<Authority, Error> {
        let authority = Authority::recertify(AUTHORITY_NAME, key, self.now)?;
        let asset = Asset::AuthorityCertificate;
        self.directory.write(asset.file(), authority.certificate_pem().as_bytes())?;
        self.changes
            .push(Change::Renewed { asset, reason: "it had expired; fetch new kubeconfigs with `nanocloud config`" });
        Ok(authority)
    }

    fn certificate(
        &mut self,
        asset: Asset,
        authority: &Authority,
        spec: &CertificateSpec,
        names: &BTreeSet<String>,
    ) -> Result<(), Error> {
        let now = self.now;
        let derived_anew = self.changes.iter().any(|change| {
            matches!(
                change,
                Change::Created { asset: Asset::AuthorityKey } | Change::Replaced { asset: Asset::AuthorityKey, .. }
            )
        });
        self.settle(
            asset,
            |_, text| match read_identity(text, authority) {
                Ok(identity) if identity.info().needs_renewal(now) => Ok(Some("it is near its end")),
                Ok(identity) if identity.info().names != *names => Ok(Some("it was for other names")),
                Ok(_) => Ok(None),
                Err(_) if derived_anew => Ok(Some("the authority is new")),
                Err(reason) => Err(reason),
            },
            || {
                let issued = authority.issue(spec, now)?;
                Ok(format!("{}{}", issued.certificate_pem, issued.key_pem.expose_secret()).into())
            },
        )
    }
}

#[cfg(test)]
mod tests;
