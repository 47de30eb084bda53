//! What to do about each asset: pure.

use std::fmt;

/// A key or certificate in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asset {
    /// The authority's private key, `ca.key`.
    AuthorityKey,
    /// The authority's certificate, `ca.crt`.
    AuthorityCertificate,
    /// The keys that seal secrets, `master_keys.json`.
    MasterKeys,
    /// The keys that sign bearer tokens, `token_keys.json`.
    TokenKeys,
    /// The server's certificate and key, `server.pem`.
    Server,
    /// The administrator's certificate and key, `admin.pem`.
    Admin,
}

impl Asset {
    /// Every asset, in the order in which they are made.
    pub const ALL: [Self; 6] =
        [Self::AuthorityKey, Self::AuthorityCertificate, Self::MasterKeys, Self::TokenKeys, Self::Server, Self::Admin];

    /// Name of the file in the directory.
    pub const fn file(self) -> &'static str {
        match self {
            Self::AuthorityKey => "ca.key",
            Self::AuthorityCertificate => "ca.crt",
            Self::MasterKeys => "master_keys.json",
            Self::TokenKeys => "token_keys.json",
            Self::Server => "server.pem",
            Self::Admin => "admin.pem",
        }
    }

    /// What is lost when it is made anew while data depend on it; `None` when it can be derived.
    pub const fn lost_with_it(self) -> Option<&'static str> {
        match self {
            Self::AuthorityKey => Some(
                "every certificate and kubeconfig issued so far stops being trusted; fetch new ones with `nanocloud config` \
                 and reinstall services that use TLS",
            ),
            Self::MasterKeys => {
                Some("every secret stored so far can never be read again; delete and recreate the secrets and bundles")
            }
            Self::TokenKeys => {
                Some("every bearer token issued so far is refused; ask for new ones with `nanocloud token`")
            }
            Self::AuthorityCertificate | Self::Server | Self::Admin => None,
        }
    }

    /// Whether a replacement loses more than credentials that can be asked for again.
    const fn is_irreplaceable(self) -> bool {
        matches!(self, Self::AuthorityKey | Self::MasterKeys)
    }
}

impl fmt::Display for Asset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AuthorityKey => "the certificate authority's key",
            Self::AuthorityCertificate => "the certificate authority's certificate",
            Self::MasterKeys => "the cluster master key",
            Self::TokenKeys => "the key that signs bearer tokens",
            Self::Server => "the server's certificate",
            Self::Admin => "the administrator's certificate",
        })
    }
}

/// How an asset was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Good,
    Missing,
    /// It is there and cannot be used, for this reason.
    Corrupt(String),
    /// It is good and must be renewed, for this reason.
    Stale(&'static str),
}

/// What the caller allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Make what is missing; touch nothing that is broken.
    Init,
    /// Also replace what is broken.
    Repair {
        /// Replace even what data depend on.
        accept_loss: bool,
    },
}

/// What to do about one asset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Keep,
    Create,
    Renew(&'static str),
    /// Set the broken file aside, then create.
    Replace {
        reason: String,
    },
}

/// Why nothing is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Broken, and the caller did not ask for repair.
    Corrupt(String),
    /// Data depend on it.
    Irreplaceable(&'static str),
}

/// Decides about one asset. `data_exists`: something was sealed or issued under it before.
pub(super) fn decide(asset: Asset, found: &Condition, mode: Mode, data_exists: bool) -> Result<Step, Refusal> {
    let accept_loss = mode == (Mode::Repair { accept_loss: true });
    let loss = asset.lost_with_it().filter(|_| asset.is_irreplaceable() && data_exists && !accept_loss);
    match (found, mode) {
        (Condition::Good, _) => Ok(Step::Keep),
        (Condition::Stale(reason), _) => Ok(Step::Renew(reason)),
        (Condition::Corrupt(reason), Mode::Init) => Err(Refusal::Corrupt(reason.clone())),
        (Condition::Missing | Condition::Corrupt(_), _) if loss.is_some() => {
            Err(Refusal::Irreplaceable(loss.unwrap_or_default()))
        }
        (Condition::Missing, _) => Ok(Step::Create),
        (Condition::Corrupt(reason), Mode::Repair { .. }) => Ok(Step::Replace { reason: reason.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPAIR: Mode = Mode::Repair { accept_loss: false };
    const ACCEPT: Mode = Mode::Repair { accept_loss: true };

    #[test]
    fn what_is_good_is_kept_in_every_mode() {
        for asset in Asset::ALL {
            for mode in [Mode::Init, REPAIR, ACCEPT] {
                for data_exists in [true, false] {
                    assert_eq!(decide(asset, &Condition::Good, mode, data_exists), Ok(Step::Keep));
                }
            }
        }
    }

    #[test]
    fn what_data_depend_on_is_replaced_only_when_the_loss_is_accepted() {
        let corrupt = Condition::Corrupt("cut".into());
        for asset in [Asset::AuthorityKey, Asset::MasterKeys] {
            for found in [&Condition::Missing, &corrupt] {
                let loss = asset.lost_with_it().unwrap();
                assert_eq!(decide(asset, found, REPAIR, true), Err(Refusal::Irreplaceable(loss)));
                assert!(decide(asset, found, ACCEPT, true).is_ok());
                assert!(decide(asset, found, REPAIR, false).is_ok());
            }
            assert!(matches!(decide(asset, &Condition::Missing, Mode::Init, true), Err(Refusal::Irreplaceable(_))));
        }
    }

    #[test]
    fn init_makes_what_is_missing_and_touches_nothing_broken() {
        for asset in Asset::ALL {
            assert_eq!(decide(asset, &Condition::Missing, Mode::Init, false), Ok(Step::Create));
            let corrupt = Condition::Corrupt("cut".into());
            assert_eq!(decide(asset, &corrupt, Mode::Init, false), Err(Refusal::Corrupt("cut".into())));
            assert_eq!(decide(asset, &corrupt, REPAIR, false), Ok(Step::Replace { reason: "cut".into() }));
        }
        assert_eq!(decide(Asset::Server, &Condition::Missing, Mode::Init, true), Ok(Step::Create));
    }
}
