//! Bearer tokens: JWT (RFC 7519) signed with Ed25519 (RFC 8037), and nothing else.
//!
//! One algorithm, fixed here and not by the token's header, so there is no algorithm to confuse.
//! Several keys may verify while one signs: a key that retires goes on verifying until its time is over.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde::{Deserialize, Serialize};

use crate::{
    authority::check_lifetime,
    encoding::{base64url, from_base64url},
    error::Error,
    random,
    scope::Scopes,
    subject::Subject,
};

/// Longest token that is looked at, in bytes.
pub const MAX_TOKEN_LEN: usize = 8 * 1024;
/// Longest lifetime of a bearer token.
pub const MAX_TTL: Duration = Duration::from_secs(30 * 24 * 3600);
/// Lifetime of a bearer token when nobody asks for another.
pub const DEFAULT_TTL: Duration = Duration::from_secs(3600);
/// Who is meant by tokens for the API server.
pub const API_AUDIENCE: &str = "nanocloud.io";
/// How far the clocks of issuer and verifier may be apart.
pub const LEEWAY: Duration = Duration::from_secs(30);
/// Most keys that verify at one time.
pub const MAX_KEYS: usize = 8;

/// What a bearer token shall say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenGrant {
    /// The user it speaks for.
    pub user: String,
    /// The user's groups.
    pub groups: Vec<String>,
    /// What it is limited to; `None` for what the user may do.
    pub scopes: Option<Scopes>,
    /// Who it is meant for, such as [`API_AUDIENCE`].
    pub audience: String,
    /// Lifetime, at most [`MAX_TTL`].
    pub ttl: Duration,
}

/// What a token of a service account says of it: the claim `kubernetes.io`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountClaim {
    /// Namespace of the account, and of what the token is bound to.
    pub namespace: String,
    /// The account.
    pub serviceaccount: ObjectClaim,
    /// The pod that the token is bound to: it is valid as long as the pod is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<ObjectClaim>,
    /// The secret that the token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<ObjectClaim>,
}

/// One object, which no other of its name is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectClaim {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// A token that verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedToken {
    /// Whom it speaks for.
    pub subject: Subject,
    /// The service account and what else must be there for the token to be valid; the caller has to look.
    pub account: Option<AccountClaim>,
    /// For whom it is meant, of those that were asked for.
    pub audiences: Vec<String>,
    /// Its unique id.
    pub id: String,
    /// When it expires.
    pub expires: Timestamp,
}

/// Why a bearer token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no JWT of ours.
    #[error("the bearer token is malformed")]
    Malformed,
    /// No key of ours signed it; a retired key takes its tokens along.
    #[error("the bearer token is signed with a key that is not valid here; ask for a new token")]
    UnknownKey,
    /// The signature is wrong.
    #[error("the bearer token's signature is wrong")]
    Signature,
    /// Its time is over.
    #[error("the bearer token has expired; ask for a new token")]
    Expired,
    /// Its time has not begun.
    #[error("the bearer token is not valid yet; check the clocks of both machines")]
    NotYetValid,
    /// It is meant for somebody else.
    #[error("the bearer token is meant for another audience")]
    Audience,
    /// It names a scope this version does not know.
    #[error("the bearer token names a scope that is not known here")]
    Scope,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: i64,
    nbf: i64,
    iat: i64,
    jti: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(rename = "kubernetes.io", default, skip_serializing_if = "Option::is_none")]
    account: Option<AccountClaim>,
}

/// For whom a token is meant (RFC 7519 section 4.1.3).
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn contains(&self, wanted: &str) -> bool {
        match self {
            Self::One(one) => one == wanted,
            Self::Several(all) => all.iter().any(|one| one == wanted),
        }
    }
}

const ALGORITHM: &str = "EdDSA";

/// A key that signs or only verifies any more.
#[derive(Clone)]
pub struct TokenKey {
    /// Key id, in the header of each token it signs.
    pub id: String,
    /// When it was made.
    pub created: Timestamp,
    /// Until when it verifies; `None` for the key that signs.
    pub retires: Option<Timestamp>,
    pub(crate) pkcs8: SecretSlice<u8>,
}

/// The keys that sign and verify bearer tokens, the signing one first.
#[derive(Clone)]
pub struct TokenKeys(pub(crate) Vec<TokenKey>);

impl TokenKeys {
    /// One new key.
    pub fn generate(now: Timestamp) -> Result<Self, Error> {
        Ok(Self(vec![new_key(now)?]))
    }
}

fn new_key(now: Timestamp) -> Result<TokenKey, Error> {
    let document = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).map_err(|_| Error::TokenKey)?;
    let id = format!("tk-{}", hex::encode(random::bytes::<6>()?));
    Ok(TokenKey { id, created: now, retires: None, pkcs8: document.as_ref().to_vec().into() })
}

struct Verifier {
    id: String,
    retires: Option<Timestamp>,
    public: UnparsedPublicKey<Vec<u8>>,
}

/// Issues and verifies bearer tokens.
pub struct Tokens {
    issuer: String,
    signer: Ed25519KeyPair,
    verifiers: Vec<Verifier>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("issuer", &self.issuer).field("keys", &self.verifiers.len()).finish()
    }
}

impl Tokens {
    /// Tokens of this issuer under these keys.
    pub fn new(issuer: impl Into<String>, keys: &TokenKeys) -> Result<Self, Error> {
        let mut pairs = Vec::with_capacity(keys.0.len());
        for key in &keys.0 {
            let pair = Ed25519KeyPair::from_pkcs8(key.pkcs8.expose_secret()).map_err(|_| Error::TokenKey)?;
            pairs.push((key, pair));
        }
        let verifiers = pairs
            .iter()
            .map(|(key, pair)| Verifier {
                id: key.id.clone(),
                retires: key.retires,
                public: UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref().to_vec()),
            })
            .collect();
        let (_, signer) = pairs.into_iter().next().ok_or(Error::TokenKey)?;
        Ok(Self { issuer: issuer.into(), signer, verifiers })
    }

    /// Signs a token.
    pub fn issue(&self, grant: &TokenGrant, now: Timestamp) -> Result<SecretString, Error> {
        check_lifetime(grant.ttl, MAX_TTL)?;
        if grant.user.is_empty() {
            return Err(Error::InvalidSubject { subject: String::new(), reason: "name the user the token speaks for" });
        }
        let claims = Claims {
            groups: grant.groups.clone(),
            scope: grant.scopes.as_ref().map(Scopes::to_string),
            ..self.claims(grant.user.clone(), Audience::One(grant.audience.clone()), grant.ttl, now)?
        };
        self.sign(&claims)
    }

    /// Signs a token of a service account for these audiences.
    pub fn issue_for_account(
        &self,
        account: &AccountClaim,
        audiences: Vec<String>,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<SecretString, Error> {
        check_lifetime(ttl, MAX_TTL)?;
        let subject = Subject::service_account(&account.namespace, &account.serviceaccount.name);
        let claims = Claims {
            account: Some(account.clone()),
            ..self.claims(subject.user, Audience::Several(audiences), ttl, now)?
        };
        self.sign(&claims)
    }

    fn claims(&self, user: String, audience: Audience, ttl: Duration, now: Timestamp) -> Result<Claims, Error> {
        let issued = now.as_second();
        Ok(Claims {
            iss: self.issuer.clone(),
            sub: user,
            aud: audience,
            exp: issued.saturating_add_unsigned(ttl.as_secs()),
            nbf: issued,
            iat: issued,
            jti: hex::encode(random::bytes::<16>()?),
            groups: Vec::new(),
            scope: None,
            account: None,
        })
    }

    fn sign(&self, claims: &Claims) -> Result<SecretString, Error> {
        let header = Header { alg: ALGORITHM.into(), typ: "JWT".into(), kid: self.verifiers[0].id.clone() };
        let part =
            |json: Result<Vec<u8>, _>| json.map(|json| base64url(&json)).map_err(|source| Error::Claims { source });
        let mut token = format!("{}.{}", part(serde_json::to_vec(&header))?, part(serde_json::to_vec(claims))?);
        let signature = self.signer.sign(token.as_bytes());
        token.push('.');
        token.push_str(&base64url(signature.as_ref()));
        Ok(token.into())
    }

    /// Verifies a token meant for `audience`: the signature first, then what it says.
    pub fn verify(&self, token: &str, audience: &str, now: Timestamp) -> Result<VerifiedToken, TokenError> {
        self.verify_for_any(token, &[audience], now)
    }

    /// Verifies a token meant for one of the audiences at least.
    pub fn verify_for_any(&self, token: &str, audiences: &[&str], now: Timestamp) -> Result<VerifiedToken, TokenError> {
        let claims = self.open(token, now)?;
        let seconds = now.as_second();
        let leeway = i64::try_from(LEEWAY.as_secs()).unwrap_or(0);
        let expires = Timestamp::from_second(claims.exp).map_err(|_| TokenError::Malformed)?;
        if claims.exp <= seconds.saturating_sub(leeway) {
            return Err(TokenError::Expired);
        }
        if claims.nbf > seconds.saturating_add(leeway) {
            return Err(TokenError::NotYetValid);
        }
        let meant = audiences.iter().filter(|audience| claims.aud.contains(audience));
        let audiences: Vec<_> = meant.map(|audience| (*audience).to_owned()).collect();
        if audiences.is_empty() || claims.iss != self.issuer {
            return Err(TokenError::Audience);
        }
        if claims.sub.is_empty() {
            return Err(TokenError::Malformed);
        }
        let mut subject = match &claims.account {
            Some(account) => Subject::service_account(&account.namespace, &account.serviceaccount.name),
            None => Subject::authenticated(claims.sub.clone(), claims.groups),
        };
        if subject.user != claims.sub {
            return Err(TokenError::Malformed);
        }
        subject.scopes = claims.scope.as_deref().map(Scopes::parse).transpose().map_err(|_| TokenError::Scope)?;
        Ok(VerifiedToken { subject, account: claims.account, audiences, id: claims.jti, expires })
    }

    fn open(&self, token: &str, now: Timestamp) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN_LEN {
            return Err(TokenError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let json = |part: &str| from_base64url(part).ok_or(TokenError::Malformed);
        let header: Header = serde_json::from_slice(&json(header)?).map_err(|_| TokenError::Malformed)?;
        if header.alg != ALGORITHM {
            return Err(TokenError::Malformed);
        }
        let verifier = self
            .verifiers
            .iter()
            .find(|verifier| verifier.id == header.kid && verifier.retires.is_none_or(|retires| now < retires))
            .ok_or(TokenError::UnknownKey)?;
        verifier.public.verify(signed.as_bytes(), &json(signature)?).map_err(|_| TokenError::Signature)?;
        serde_json::from_slice(&json(claims)?).map_err(|_| TokenError::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::Scope;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn grant() -> TokenGrant {
        TokenGrant {
            user: "jo".into(),
            groups: vec!["ops".into()],
            scopes: Some([Scope::PodsRead].into_iter().collect()),
            audience: API_AUDIENCE.into(),
            ttl: Duration::from_secs(60),
        }
    }

    fn tokens() -> (TokenKeys, Tokens) {
        let keys = TokenKeys::generate(at(0)).unwrap();
        let tokens = Tokens::new("cluster", &keys).unwrap();
        (keys, tokens)
    }

    #[test]
    fn a_token_says_what_was_granted() {
        let (_, tokens) = tokens();
        let token = tokens.issue(&grant(), at(1000)).unwrap();
        let verified = tokens.verify(token.expose_secret(), API_AUDIENCE, at(1059)).unwrap();
        assert_eq!(verified.subject.user, "jo");
        assert!(verified.subject.in_group("ops") && verified.subject.in_group("system:authenticated"));
        assert_eq!(verified.subject.scopes.unwrap().to_string(), "pods.read");
        assert_eq!(verified.expires, at(1060));
    }

    #[test]
    fn time_audience_and_issuer_are_checked() {
        let (keys, tokens) = tokens();
        let token = tokens.issue(&grant(), at(1000)).unwrap();
        let verify = |audience, now| tokens.verify(token.expose_secret(), audience, at(now)).map(drop);
        assert_eq!(verify(API_AUDIENCE, 1089), Ok(()));
        assert_eq!(verify(API_AUDIENCE, 1090), Err(TokenError::Expired));
        assert_eq!(verify(API_AUDIENCE, 969), Err(TokenError::NotYetValid));
        assert_eq!(verify("registry", 1001), Err(TokenError::Audience));
        let elsewhere = Tokens::new("other", &keys).unwrap();
        assert_eq!(
            elsewhere.verify(token.expose_secret(), API_AUDIENCE, at(1001)).map(drop),
            Err(TokenError::Audience)
        );
    }

    #[test]
    fn a_token_of_a_service_account_says_what_it_is_bound_to() {
        let (_, tokens) = tokens();
        let object = |name: &str| ObjectClaim { name: name.into(), uid: format!("u-{name}") };
        let account = AccountClaim {
            namespace: "shop".into(),
            serviceaccount: object("web"),
            pod: Some(object("web-0")),
            secret: None,
        };
        let audiences = vec!["vault".to_owned(), API_AUDIENCE.to_owned()];
        let token = tokens.issue_for_account(&account, audiences, Duration::from_secs(600), at(1000)).unwrap();
        let verified = tokens.verify_for_any(token.expose_secret(), &["vault", "other"], at(1001)).unwrap();
        assert_eq!((verified.account, verified.audiences), (Some(account), vec!["vault".to_owned()]));
        assert_eq!(verified.subject.user, "system:serviceaccount:shop:web");
        assert_eq!(
            verified.subject.groups,
            ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"]
        );
        assert!(tokens.verify(token.expose_secret(), API_AUDIENCE, at(1001)).is_ok());
        assert!(tokens.verify(token.expose_secret(), "other", at(1001)).is_err());
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let (_, tokens) = tokens();
        let token = tokens.issue(&grant(), at(1000)).unwrap();
        let text = token.expose_secret();
        for index in 0..text.len() {
            let mut changed = text.as_bytes().to_vec();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(tokens.verify(&changed, API_AUDIENCE, at(1001)).is_err(), "byte {index}");
        }
    }

    #[test]
    fn the_header_cannot_choose_the_algorithm() {
        let (keys, tokens) = tokens();
        let token = tokens.issue(&grant(), at(1000)).unwrap();
        let claims = token.expose_secret().split('.').nth(1).unwrap().to_owned();
        for algorithm in ["none", "HS256", "eddsa"] {
            let header = format!(r#"{{"alg":"{algorithm}","typ":"JWT","kid":"{}"}}"#, keys.0[0].id);
            let forged = format!("{}.{claims}.", base64url(header.as_bytes()));
            assert_eq!(
                tokens.verify(&forged, API_AUDIENCE, at(1001)).map(drop),
                Err(TokenError::Malformed),
                "{algorithm}"
            );
        }
    }

    #[test]
    fn a_key_that_retires_verifies_until_then_and_signs_nothing() {
        let (keys, old) = tokens();
        let token = old.issue(&grant(), at(1000)).unwrap();
        let retiring = TokenKey { retires: Some(at(1030)), ..keys.0[0].clone() };
        let new = TokenKeys::generate(at(1010)).unwrap().0.remove(0);
        let tokens = Tokens::new("cluster", &TokenKeys(vec![new, retiring])).unwrap();
        let verify = |now| tokens.verify(token.expose_secret(), API_AUDIENCE, at(now)).map(drop);
        assert_eq!(verify(1029), Ok(()));
        assert_eq!(verify(1030), Err(TokenError::UnknownKey));
        let fresh = tokens.issue(&grant(), at(1030)).unwrap();
        assert!(tokens.verify(fresh.expose_secret(), API_AUDIENCE, at(1031)).is_ok());
        assert_eq!(old.verify(fresh.expose_secret(), API_AUDIENCE, at(1031)).map(drop), Err(TokenError::UnknownKey));
    }

    #[test]
    fn a_token_without_scope_claim_is_not_limited_but_an_empty_one_is() {
        let (_, tokens) = tokens();
        let scopes_of = |scopes| {
            let token = tokens.issue(&TokenGrant { scopes, ..grant() }, at(0)).unwrap();
            tokens.verify(token.expose_secret(), API_AUDIENCE, at(0)).unwrap().subject.scopes
        };
        assert_eq!(scopes_of(None), None);
        assert_eq!(scopes_of(Some(Scopes::default())), Some(Scopes::default()));
    }
}
