//! What every member of a cluster holds: the authority and the keys that seal secrets and sign tokens.
//!
//! Any member's API signs certificates, opens secrets and verifies tokens, so each of them has the same keys. They go to
//! a new member once, over TLS, against its join token. Whoever had them keeps them: after a member was lost to somebody
//! else, replace the authority and rotate the keys.

use std::fmt;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{
    files::{self, Directory},
    key_files, load,
    plan::Asset,
};
use crate::{authority::Authority, error::Error};

/// The keys that members share.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SharedAssets {
    authority_key: String,
    authority_certificate: String,
    master_keys: String,
    token_keys: String,
}

impl fmt::Debug for SharedAssets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedAssets").finish_non_exhaustive()
    }
}

impl SharedAssets {
    /// Reads them from a member's directory.
    ///
    /// # Errors
    /// When one is missing or broken.
    pub fn read(dir: &Path) -> Result<Self, Error> {
        let text = |asset| load(dir, asset, |text| Ok(text.expose_secret().to_owned()));
        let shared = Self {
            authority_key: text(Asset::AuthorityKey)?,
            authority_certificate: text(Asset::AuthorityCertificate)?,
            master_keys: text(Asset::MasterKeys)?,
            token_keys: text(Asset::TokenKeys)?,
        };
        shared.check(dir)?;
        Ok(shared)
    }

    fn check(&self, dir: &Path) -> Result<(), Error> {
        let broken = |asset: Asset| move |reason| Error::Corrupt { asset, path: dir.join(asset.file()), reason };
        let secret = |text: &String| SecretString::from(text.clone());
        Authority::from_pem(&self.authority_certificate, &secret(&self.authority_key))
            .map_err(|error| broken(Asset::AuthorityKey)(error.to_string()))?;
        key_files::read_master_keys(&secret(&self.master_keys)).map_err(broken(Asset::MasterKeys))?;
        key_files::read_token_keys(&secret(&self.token_keys)).map_err(broken(Asset::TokenKeys))?;
        Ok(())
    }

    /// Writes them into a new member's directory, from which [`SecureAssets::init`](super::SecureAssets::init) makes the
    /// rest. What is there of the same cluster is kept.
    ///
    /// # Errors
    /// When the directory holds other keys: they are not replaced silently.
    pub fn install(&self, dir: &Path) -> Result<(), Error> {
        self.check(dir)?;
        let directory = Directory::create(dir)?;
        let all = [
            (Asset::AuthorityKey, &self.authority_key),
            (Asset::AuthorityCertificate, &self.authority_certificate),
            (Asset::MasterKeys, &self.master_keys),
            (Asset::TokenKeys, &self.token_keys),
        ];
        for (asset, text) in all {
            let path = dir.join(asset.file());
            if files::read(&path)?.is_some_and(|found| found.expose_secret() != text) {
                return Err(Error::OtherCluster { asset, path });
            }
        }
        for (asset, text) in all {
            directory.write(asset.file(), text.as_bytes())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{AssetsConfig, SecureAssets};

    fn init(dir: &Path) -> SecureAssets {
        let config = AssetsConfig { dir: dir.to_owned(), server_names: vec!["localhost".into()], data_exists: false };
        SecureAssets::init(&config, Timestamp::now()).unwrap().0
    }

    #[test]
    fn a_new_member_gets_the_same_keys_and_makes_its_own_certificates() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (one, two) = (one.path().join("assets"), two.path().join("assets"));
        let first = init(&one);
        let shared = SharedAssets::read(&one).unwrap();
        let sent: SharedAssets = serde_json::from_str(&serde_json::to_string(&shared).unwrap()).unwrap();
        sent.install(&two).unwrap();
        sent.install(&two).unwrap();
        let second = init(&two);
        assert_eq!(first.ca_pem(), second.ca_pem());
        assert!(first.authority().signed(second.server().certificate_der()));
        assert_ne!(first.server().certificate_pem(), second.server().certificate_pem());
        assert_eq!(format!("{shared:?}"), "SharedAssets { .. }");
    }

    #[test]
    fn keys_of_another_cluster_stay() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (one, two) = (one.path().join("assets"), two.path().join("assets"));
        init(&one);
        let kept = init(&two);
        let refused = SharedAssets::read(&one).unwrap().install(&two);
        assert!(matches!(refused, Err(Error::OtherCluster { asset: Asset::AuthorityKey, .. })));
        assert_eq!(SecureAssets::open(&two, Timestamp::now()).unwrap().ca_pem(), kept.ca_pem());
    }
}
