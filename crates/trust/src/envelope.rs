//! Envelope encryption: each value under a data key of its own, that key under the master key.
//!
//! ```text
//!  version │ key id length, key id │ nonce │ wrapped data key │ nonce │ ciphertext │ digest
//!     1    │     1     1..=64      │  12   │       48         │  12   │ n + 16     │  32      bytes
//! ```
//!
//! AES-256-GCM both times. Wrapping and digest keys are derived from the master key by HKDF-SHA-256
//! and never used for anything else. The digest is an HMAC-SHA-256 over the context and everything
//! before it: it commits to the key and tells tampering from a lost key. The context (kind,
//! namespace, name, key) is authenticated in all three, so a sealed value is good in its place only.

use std::fmt;

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{Aead, Payload},
};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{error::Error, random};

/// Longest value that is sealed, in bytes: what one object may hold.
pub const MAX_PLAINTEXT_LEN: usize = 2 * 1024 * 1024;
/// Most master keys a key file may hold.
pub const MAX_KEYS: usize = 32;
const VERSION: u8 = 1;
const KEY_LEN: usize = 32;
const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;
const WRAPPED_LEN: usize = KEY_LEN + TAG_LEN;
const DIGEST_LEN: usize = 32;
const MAX_KEY_ID_LEN: usize = 64;

/// Why a sealed value cannot be made or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The bytes are not laid out as a sealed value.
    #[error("the sealed value is malformed or cut off")]
    Malformed,
    /// A later version wrote it.
    #[error(
        "the sealed value has format {version}, this version reads format {VERSION}; use the version that wrote it"
    )]
    UnsupportedVersion {
        /// What it says.
        version: u8,
    },
    /// The master key that sealed it is not here.
    #[error(
        "the value is sealed with master key {key_id:?}, which is not here; put it back from a backup of secure_assets"
    )]
    UnknownKey {
        /// Id of the missing key.
        key_id: String,
    },
    /// Bytes were changed, or the value was moved here from another place.
    #[error("the sealed value was changed or belongs to another object; restore the object from a backup")]
    Tampered,
    /// The value is longer than [`MAX_PLAINTEXT_LEN`].
    #[error("a value of {len} bytes cannot be sealed; at most {MAX_PLAINTEXT_LEN} bytes are allowed")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// The kernel gave no randomness, so nothing may be sealed.
    #[error("the kernel gives no random bytes")]
    Random,
}

/// Where a sealed value belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealContext<'a> {
    /// Resource, such as `secrets`.
    pub resource: &'a str,
    /// Namespace of the object, or empty.
    pub namespace: &'a str,
    /// Name of the object.
    pub name: &'a str,
    /// Which value of the object, such as a key of a Secret's data, or empty for the whole.
    pub key: &'a str,
}

impl SealContext<'_> {
    /// An unambiguous spelling: every part with its length.
    fn to_bytes(self) -> Vec<u8> {
        let mut out = Vec::new();
        for part in [self.resource, self.namespace, self.name, self.key] {
            out.extend_from_slice(&(part.len() as u64).to_be_bytes());
            out.extend_from_slice(part.as_bytes());
        }
        out
    }
}

/// A master key of 32 bytes.
#[derive(Clone)]
pub struct MasterKey {
    /// Key id, written into everything it seals.
    pub id: String,
    /// When it was made.
    pub created: Timestamp,
    pub(crate) key: SecretSlice<u8>,
}

/// The master keys: the first seals, all open.
#[derive(Clone)]
pub struct MasterKeys(pub(crate) Vec<MasterKey>);

impl MasterKeys {
    /// One new key.
    pub fn generate(now: Timestamp) -> Result<Self, Error> {
        Ok(Self(vec![new_key(now)?]))
    }
}

fn new_key(now: Timestamp) -> Result<MasterKey, Error> {
    let key = Zeroizing::new(random::bytes::<KEY_LEN>()?);
    let id = format!("mk-{}", hex::encode(random::bytes::<6>()?));
    Ok(MasterKey { id, created: now, key: key.to_vec().into() })
}

struct DerivedKeys {
    id: String,
    wrap: Aes256Gcm,
    digest: Zeroizing<[u8; KEY_LEN]>,
}

/// Seals and opens values under a set of master keys.
pub struct Envelope {
    keys: Vec<DerivedKeys>,
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope").field("keys", &self.keys.iter().map(|key| &key.id).collect::<Vec<_>>()).finish()
    }
}

/// The parts of a sealed value, none of them secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed<'a> {
    /// Id of the master key.
    pub key_id: &'a str,
    /// Nonce and encrypted data key.
    pub wrapped_key: &'a [u8],
    /// Nonce and encrypted value.
    pub ciphertext: &'a [u8],
    /// HMAC over the context and everything before it.
    pub digest: &'a [u8],
    signed: &'a [u8],
}

impl<'a> Sealed<'a> {
    /// Splits a sealed value into its parts without opening it.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        let malformed = || EnvelopeError::Malformed;
        let (version, rest) = bytes.split_first().ok_or_else(malformed)?;
        if *version != VERSION {
            return Err(EnvelopeError::UnsupportedVersion { version: *version });
        }
        let (id_len, rest) = rest.split_first().ok_or_else(malformed)?;
        let (key_id, rest) = rest.split_at_checked(usize::from(*id_len)).ok_or_else(malformed)?;
        let (wrapped_key, rest) = rest.split_at_checked(NONCE_LEN + WRAPPED_LEN).ok_or_else(malformed)?;
        let value_len = rest.len().checked_sub(DIGEST_LEN).ok_or_else(malformed)?;
        let (ciphertext, digest) = rest.split_at(value_len);
        let key_id = std::str::from_utf8(key_id).map_err(|_| malformed())?;
        let id_fits = (1..=MAX_KEY_ID_LEN).contains(&key_id.len()) && !key_id.chars().any(char::is_control);
        if !id_fits || ciphertext.len() < NONCE_LEN + TAG_LEN {
            return Err(malformed());
        }
        Ok(Self { key_id, wrapped_key, ciphertext, digest, signed: &bytes[..bytes.len() - DIGEST_LEN] })
    }
}

impl Envelope {
    /// An envelope under these master keys.
    pub fn new(keys: &MasterKeys) -> Self {
        Self { keys: keys.0.iter().map(DerivedKeys::of).collect() }
    }

    /// Seals a value into its place.
    pub fn seal(&self, plaintext: &[u8], context: SealContext<'_>) -> Result<Vec<u8>, EnvelopeError> {
        if plaintext.len() > MAX_PLAINTEXT_LEN {
            return Err(EnvelopeError::TooLong { len: plaintext.len() });
        }
        let key = self.keys.first().ok_or_else(|| EnvelopeError::UnknownKey { key_id: String::new() })?;
        let context = context.to_bytes();
        let data_key = Zeroizing::new(random::bytes::<KEY_LEN>().map_err(|_| EnvelopeError::Random)?);
        let mut out =
            Vec::with_capacity(2 + key.id.len() + 2 * NONCE_LEN + WRAPPED_LEN + plaintext.len() + TAG_LEN + DIGEST_LEN);
        out.extend_from_slice(&[VERSION, u8::try_from(key.id.len()).map_err(|_| EnvelopeError::Malformed)?]);
        out.extend_from_slice(key.id.as_bytes());
        encrypt(&key.wrap, &data_key[..], &context, &mut out)?;
        encrypt(&cipher(&data_key), plaintext, &context, &mut out)?;
        let digest = key.mac(&context, &out).finalize().into_bytes();
        out.extend_from_slice(&digest);
        Ok(out)
    }

    /// Opens a value sealed for this place.
    pub fn open(&self, sealed: &[u8], context: SealContext<'_>) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        let sealed = Sealed::parse(sealed)?;
        let key = self
            .keys
            .iter()
            .find(|key| key.id == sealed.key_id)
            .ok_or_else(|| EnvelopeError::UnknownKey { key_id: sealed.key_id.to_owned() })?;
        let context = context.to_bytes();
        key.mac(&context, sealed.signed).verify_slice(sealed.digest).map_err(|_| EnvelopeError::Tampered)?;
        let data_key = decrypt(&key.wrap, sealed.wrapped_key, &context)?;
        let data_key = Zeroizing::new(<[u8; KEY_LEN]>::try_from(&data_key[..]).map_err(|_| EnvelopeError::Malformed)?);
        decrypt(&cipher(&data_key), sealed.ciphertext, &context)
    }
}

impl DerivedKeys {
    fn of(master: &MasterKey) -> Self {
        let derive = |purpose: &[u8]| {
            let mut key = Zeroizing::new([0_u8; KEY_LEN]);
            Hkdf::<Sha256>::new(Some(b"nanocloud.io/envelope/v1"), master.key.expose_secret())
                .expand(purpose, &mut key[..])
                .expect("32 bytes are within HKDF-SHA-256's 8160");
            key
        };
        Self { id: master.id.clone(), wrap: cipher(&derive(b"wrap")), digest: derive(b"digest") }
    }

    fn mac(&self, context: &[u8], signed: &[u8]) -> Hmac<Sha256> {
        let mut mac =
            <Hmac<Sha256> as KeyInit>::new_from_slice(&self.digest[..]).expect("HMAC takes keys of any length");
        mac.update(context);
        mac.update(signed);
        mac
    }
}

fn cipher(key: &[u8; KEY_LEN]) -> Aes256Gcm {
    Aes256Gcm::new(key.into())
}

/// Appends a fresh nonce and the encrypted value.
fn encrypt(cipher: &Aes256Gcm, plaintext: &[u8], context: &[u8], out: &mut Vec<u8>) -> Result<(), EnvelopeError> {
    let nonce = random::bytes::<NONCE_LEN>().map_err(|_| EnvelopeError::Random)?;
    let encrypted = cipher
        .encrypt(&nonce.into(), Payload { msg: plaintext, aad: context })
        .map_err(|_| EnvelopeError::TooLong { len: plaintext.len() })?;
    out.extend_from_slice(&nonce);
    out.extend_from_slice(&encrypted);
    Ok(())
}

fn decrypt(cipher: &Aes256Gcm, sealed: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
    let (nonce, encrypted) = sealed.split_at_checked(NONCE_LEN).ok_or(EnvelopeError::Malformed)?;
    let nonce = <[u8; NONCE_LEN]>::try_from(nonce).map_err(|_| EnvelopeError::Malformed)?;
    cipher
        .decrypt(&nonce.into(), Payload { msg: encrypted, aad: context })
        .map(Zeroizing::new)
        .map_err(|_| EnvelopeError::Tampered)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HERE: SealContext<'static> =
        SealContext { resource: "secrets", namespace: "default", name: "db", key: "password" };

    fn keys() -> MasterKeys {
        MasterKeys::generate(Timestamp::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn a_flipped_bit_anywhere_is_refused() {
        let envelope = Envelope::new(&keys());
        let sealed = envelope.seal(b"hunter2", HERE).unwrap();
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert!(envelope.open(&changed, HERE).is_err(), "byte {index}");
            assert!(envelope.open(&sealed[..index], HERE).is_err(), "cut at {index}");
        }
        let last = sealed.len() - DIGEST_LEN - 1;
        let mut changed = sealed;
        changed[last] ^= 1;
        assert_eq!(envelope.open(&changed, HERE), Err(EnvelopeError::Tampered));
    }

    #[test]
    fn a_value_is_good_in_its_place_only() {
        let envelope = Envelope::new(&keys());
        let sealed = envelope.seal(b"hunter2", HERE).unwrap();
        for elsewhere in [
            SealContext { namespace: "other", ..HERE },
            SealContext { name: "web", ..HERE },
            SealContext { key: "user", ..HERE },
            SealContext { resource: "tokens", ..HERE },
            // The same letters, cut elsewhere.
            SealContext { name: "dbpass", key: "word", ..HERE },
        ] {
            assert_eq!(envelope.open(&sealed, elsewhere), Err(EnvelopeError::Tampered), "{elsewhere:?}");
        }
    }

    #[test]
    fn the_first_key_seals_and_every_key_opens() {
        let (old, new) = (keys(), keys());
        let sealed = Envelope::new(&old).seal(b"hunter2", HERE).unwrap();
        let both = Envelope::new(&MasterKeys([new.0.clone(), old.0.clone()].concat()));
        assert_eq!(both.open(&sealed, HERE).unwrap().as_slice(), b"hunter2");
        let resealed = both.seal(b"hunter2", HERE).unwrap();
        assert_eq!(Sealed::parse(&resealed).unwrap().key_id, new.0[0].id);
        assert_eq!(
            Envelope::new(&old).open(&resealed, HERE),
            Err(EnvelopeError::UnknownKey { key_id: new.0[0].id.clone() })
        );
    }

    #[test]
    fn two_sealings_of_one_value_have_nothing_in_common() {
        let envelope = Envelope::new(&keys());
        let (one, two) = (envelope.seal(b"same", HERE).unwrap(), envelope.seal(b"same", HERE).unwrap());
        let (one, two) = (Sealed::parse(&one).unwrap(), Sealed::parse(&two).unwrap());
        assert_ne!(one.wrapped_key, two.wrapped_key);
        assert_ne!(one.ciphertext, two.ciphertext);
        assert_ne!(one.digest, two.digest);
    }

    #[test]
    fn values_above_the_limit_are_refused() {
        let value = vec![0; MAX_PLAINTEXT_LEN + 1];
        assert_eq!(
            Envelope::new(&keys()).seal(&value, HERE),
            Err(EnvelopeError::TooLong { len: MAX_PLAINTEXT_LEN + 1 })
        );
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_opened(value in prop::collection::vec(any::<u8>(), 0..512)) {
            let envelope = Envelope::new(&keys());
            let sealed = envelope.seal(&value, HERE).unwrap();
            prop_assert_eq!(envelope.open(&sealed, HERE).unwrap().to_vec(), value);
        }

        #[test]
        fn garbage_is_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            prop_assert!(Envelope::new(&keys()).open(&bytes, HERE).is_err());
        }
    }
}
