//! The JSON of the two key files, version 1.

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{
    encoding::{base64, from_base64},
    envelope::{self, MasterKey, MasterKeys},
    error::Error,
    jwt::{self, TokenKey, TokenKeys, Tokens},
};

const VERSION: u32 = 1;
const MASTER_KEY_LEN: usize = 32;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KeyFile {
    version: u32,
    /// The key in use first.
    keys: Vec<KeyEntry>,
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KeyEntry {
    id: String,
    #[zeroize(skip)]
    created: Timestamp,
    #[zeroize(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retires: Option<Timestamp>,
    key: String,
}

fn write(keys: Vec<KeyEntry>) -> Result<SecretString, Error> {
    let text = serde_json::to_string_pretty(&KeyFile { version: VERSION, keys });
    text.map(Into::into).map_err(|source| Error::Claims { source })
}

fn read(text: &SecretString, max: usize) -> Result<Vec<KeyEntry>, String> {
    // The parser's message may quote its input, which holds keys: only the place is passed on.
    let file: KeyFile = serde_json::from_str(text.expose_secret())
        .map_err(|error| format!("it is no key file (line {}, column {})", error.line(), error.column()))?;
    if file.version != VERSION {
        return Err(format!("it has format {}, this version reads format {VERSION}", file.version));
    }
    if file.keys.is_empty() || file.keys.len() > max {
        return Err(format!("it holds {} keys, 1 to {max} are expected", file.keys.len()));
    }
    Ok(file.keys)
}

pub(super) fn write_master_keys(keys: &MasterKeys) -> Result<SecretString, Error> {
    let entry = |key: &MasterKey| KeyEntry {
        id: key.id.clone(),
        created: key.created,
        retires: None,
        key: base64(key.key.expose_secret()),
    };
    write(keys.0.iter().map(entry).collect())
}

pub(super) fn read_master_keys(text: &SecretString) -> Result<MasterKeys, String> {
    let key = |entry: &KeyEntry| {
        let bytes = from_base64(&entry.key).map(Zeroizing::new).filter(|bytes| bytes.len() == MASTER_KEY_LEN);
        let bytes = bytes.ok_or_else(|| format!("key {:?} is not {MASTER_KEY_LEN} bytes of base64", entry.id))?;
        if entry.id.is_empty() || entry.id.len() > 64 {
            return Err("a key id is not 1 to 64 bytes long".to_owned());
        }
        Ok(MasterKey { id: entry.id.clone(), created: entry.created, key: bytes.to_vec().into() })
    };
    read(text, envelope::MAX_KEYS)?.iter().map(key).collect::<Result<_, _>>().map(MasterKeys)
}

pub(super) fn write_token_keys(keys: &TokenKeys) -> Result<SecretString, Error> {
    let entry = |key: &TokenKey| KeyEntry {
        id: key.id.clone(),
        created: key.created,
        retires: key.retires,
        key: base64(key.pkcs8.expose_secret()),
    };
    write(keys.0.iter().map(entry).collect())
}

pub(super) fn read_token_keys(text: &SecretString) -> Result<TokenKeys, String> {
    let key = |entry: &KeyEntry| {
        let bytes = from_base64(&entry.key).map(Zeroizing::new);
        let bytes = bytes.ok_or_else(|| format!("key {:?} is not base64", entry.id))?;
        let (id, created, retires) = (entry.id.clone(), entry.created, entry.retires);
        Ok::<_, String>(TokenKey { id, created, retires, pkcs8: bytes.to_vec().into() })
    };
    let keys = read(text, jwt::MAX_KEYS)?.iter().map(key).collect::<Result<_, _>>().map(TokenKeys)?;
    Tokens::new("check", &keys).map_err(|_| "a key is no Ed25519 key in PKCS #8".to_owned())?;
    Ok(keys)
}
