//! Single-use tokens: minted once, shown once, exchanged once.
//!
//! The text is `id.secret`, 12 and 26 letters of `a-z2-7` (130 secret bits). Only a digest of it is
//! stored. The id begins with the second in which the token expires, so that this can be told when its
//! record is gone. Whoever keeps the records marks one consumed in the same transaction in which it checks
//! [`verify`]'s outcome.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{authority::check_lifetime, error::Error, random};

/// Longest time between minting and exchange.
pub const MAX_TTL: Duration = Duration::from_secs(24 * 3600);
/// Time between minting and exchange when nobody asks for another.
pub const DEFAULT_TTL: Duration = Duration::from_secs(3600);
/// Letters of an id: the second of its expiry, and random ones.
const ID_LEN: usize = SECOND_LEN + 6;
/// Letters that count seconds since [`EPOCH`]; they last for 34 years.
const SECOND_LEN: usize = 6;
/// 2026-01-01T00:00:00Z, in seconds.
const EPOCH: i64 = 1_767_225_600;
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const SECRET_LEN: usize = 26;
const DOMAIN: &[u8] = b"nanocloud.io/single-use-token/v1\0";

/// A token as its bearer holds it.
#[derive(Clone)]
pub struct SingleUseToken {
    id: String,
    secret: SecretString,
}

impl fmt::Debug for SingleUseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SingleUseToken({})", self.id)
    }
}

/// What is stored of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// Digest of id and secret, 64 hexadecimal digits.
    pub digest: String,
    /// When it was minted.
    pub minted: Timestamp,
    /// Until when it may be exchanged.
    pub expires: Option<Timestamp>,
    /// When it was exchanged.
    pub consumed: Option<Timestamp>,
}

/// What came of presenting a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenOutcome {
    /// It is good: mark it consumed.
    Accepted,
    /// It was exchanged before.
    Replayed,
    /// Its time is over.
    Expired,
    /// Its record has no expiry, so it is not honoured.
    MissingExpiry,
    /// Its record allows a longer time than the budget, so it is not honoured.
    TtlAboveBudget,
    /// There is no such token, or the secret is wrong.
    Unknown,
}

impl TokenOutcome {
    /// Stable reason for status, event and metric.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::Replayed => "Replayed",
            Self::Expired => "Expired",
            Self::MissingExpiry => "MissingExpiry",
            Self::TtlAboveBudget => "TtlAboveBudget",
            Self::Unknown => "Unknown",
        }
    }

    /// What to tell the bearer.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Accepted => "the token is accepted",
            Self::Replayed => "the token was used before; ask for a new one with `nanocloud token`",
            Self::Expired => "the token has expired; ask for a new one with `nanocloud token`",
            Self::MissingExpiry => "the token has no expiry and is not honoured; ask for a new one",
            Self::TtlAboveBudget => "the token lives longer than allowed and is not honoured; ask for a new one",
            Self::Unknown => "the token is not known; check that it was copied whole",
        }
    }
}

impl SingleUseToken {
    /// Makes a token that may be exchanged within `ttl`, at most [`MAX_TTL`], and its record.
    pub fn mint(ttl: Duration, now: Timestamp) -> Result<(Self, TokenRecord), Error> {
        check_lifetime(ttl, MAX_TTL)?;
        let expires = now.checked_add(ttl).ok();
        let id = second(expires.unwrap_or(now)) + &random::base32_text(ID_LEN - SECOND_LEN)?;
        let token = Self { id, secret: random::base32_text(SECRET_LEN)?.into() };
        let record = TokenRecord { digest: token.digest(), minted: now, expires, consumed: None };
        Ok((token, record))
    }

    /// Reads `id.secret`; `None` when it has not that form.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.trim().split_once('.')?;
        let is_part = |part: &str, len: usize| {
            part.len() == len && part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'))
        };
        let well_formed = is_part(id, ID_LEN) && is_part(secret, SECRET_LEN);
        well_formed.then(|| Self { id: id.to_owned(), secret: secret.to_owned().into() })
    }

    /// The public part, by which the record is found.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Until when it can have been valid, to the second. Nothing that is kept secret says so: whoever made the id up
    /// made this up, too.
    fn said_to_expire(&self) -> i64 {
        let value =
            |byte| LETTERS.iter().position(|letter| *letter == byte).and_then(|place| i64::try_from(place).ok());
        let letters = self.id.bytes().take(SECOND_LEN);
        EPOCH + letters.fold(0, |seconds, byte| seconds * 32 + value(byte).unwrap_or(0))
    }

    /// The whole token, to be shown to its bearer once.
    pub fn reveal(&self) -> SecretString {
        format!("{}.{}", self.id, self.secret.expose_secret()).into()
    }

    /// Digest of id and secret, hexadecimal. The secret has 130 random bits, so no slow hash is needed.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(DOMAIN);
        hash.update(self.id.as_bytes());
        hash.update(b"\0");
        hash.update(self.secret.expose_secret().as_bytes());
        hex::encode(hash.finalize())
    }
}

/// The last whole second that is not after `at`, in letters.
fn second(at: Timestamp) -> String {
    let seconds = (at.as_second() - EPOCH).max(0);
    let letter = |place: usize| {
        let value = (seconds >> (5 * (SECOND_LEN - 1 - place))) & 31;
        char::from(LETTERS[usize::try_from(value).unwrap_or(0)])
    };
    (0..SECOND_LEN).map(letter).collect()
}

/// Judges a presented token against the record found by its id. Pure: consuming is the caller's.
///
/// Who does not know the secret learns nothing but [`TokenOutcome::Unknown`], and what its id says anyway: a token whose
/// record is gone and whose time is over has [expired](TokenOutcome::Expired).
pub fn verify(token: &SingleUseToken, record: Option<&TokenRecord>, budget: Duration, now: Timestamp) -> TokenOutcome {
    let Some(record) = record else {
        let is_over = now.as_second() >= token.said_to_expire();
        return if is_over { TokenOutcome::Expired } else { TokenOutcome::Unknown };
    };
    if !bool::from(record.digest.as_bytes().ct_eq(token.digest().as_bytes())) {
        return TokenOutcome::Unknown;
    }
    if record.consumed.is_some() {
        return TokenOutcome::Replayed;
    }
    let Some(expires) = record.expires else { return TokenOutcome::MissingExpiry };
    if record.minted.checked_add(budget).is_ok_and(|latest| expires > latest) {
        return TokenOutcome::TtlAboveBudget;
    }
    if now >= expires { TokenOutcome::Expired } else { TokenOutcome::Accepted }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn every_outcome_is_told_apart() {
        let (token, fresh) = SingleUseToken::mint(Duration::from_secs(60), at(1000)).unwrap();
        let (other, _) = SingleUseToken::mint(Duration::from_secs(60), at(1000)).unwrap();
        let outcome = |change: &dyn Fn(&mut TokenRecord), now| {
            let mut record = fresh.clone();
            change(&mut record);
            verify(&token, Some(&record), Duration::from_secs(600), at(now))
        };
        assert_eq!(outcome(&|_| {}, 1059), TokenOutcome::Accepted);
        assert_eq!(outcome(&|_| {}, 1060), TokenOutcome::Expired);
        assert_eq!(outcome(&|record| record.consumed = Some(at(1001)), 1059), TokenOutcome::Replayed);
        assert_eq!(outcome(&|record| record.consumed = Some(at(1001)), 9999), TokenOutcome::Replayed);
        assert_eq!(outcome(&|record| record.expires = None, 1001), TokenOutcome::MissingExpiry);
        assert_eq!(outcome(&|record| record.expires = Some(at(1601)), 1001), TokenOutcome::TtlAboveBudget);
        assert_eq!(outcome(&|record| record.expires = Some(at(1600)), 1001), TokenOutcome::Accepted);
        assert_eq!(verify(&other, Some(&fresh), MAX_TTL, at(1001)), TokenOutcome::Unknown);
        assert_eq!(verify(&token, None, MAX_TTL, at(1001)), TokenOutcome::Unknown);
    }

    #[test]
    fn a_token_tells_that_it_expired_when_its_record_is_gone() {
        let now = EPOCH + 1_000_000_007;
        for ttl in [1, 59, 60, 3600, MAX_TTL.as_secs()] {
            let (token, _) = SingleUseToken::mint(Duration::from_secs(ttl), at(now)).unwrap();
            let seconds = i64::try_from(ttl).unwrap();
            let outcome = |after: i64| verify(&token, None, MAX_TTL, at(now + after));
            assert_eq!(outcome(0), TokenOutcome::Unknown);
            assert_eq!(outcome(seconds - 1), TokenOutcome::Unknown, "{ttl}");
            assert_eq!(outcome(seconds), TokenOutcome::Expired, "{ttl}: at once");
            assert_eq!(outcome(seconds + 60), TokenOutcome::Expired, "{ttl}");
        }
    }

    #[test]
    fn a_wrong_secret_does_not_learn_that_the_token_was_used() {
        let (token, mut record) = SingleUseToken::mint(DEFAULT_TTL, at(0)).unwrap();
        record.consumed = Some(at(1));
        let guess = SingleUseToken::parse(&format!("{}.{}", token.id(), "a".repeat(SECRET_LEN))).unwrap();
        assert_eq!(verify(&guess, Some(&record), MAX_TTL, at(2)), TokenOutcome::Unknown);
    }

    #[test]
    fn the_text_is_read_back_and_other_texts_are_not() {
        let (token, record) = SingleUseToken::mint(DEFAULT_TTL, at(0)).unwrap();
        let text = token.reveal();
        let read = SingleUseToken::parse(text.expose_secret()).unwrap();
        assert_eq!(read.digest(), record.digest);
        assert!(!format!("{token:?}").contains(token.secret.expose_secret()));
        for bad in [
            "",
            ".",
            "abc.def",
            "abcdefghijkl",
            &text.expose_secret().to_uppercase(),
            &format!("{}x", text.expose_secret()),
        ] {
            assert!(SingleUseToken::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_lifetime_outside_the_budget_is_not_minted() {
        for ttl in [Duration::ZERO, MAX_TTL + Duration::from_secs(1)] {
            assert!(matches!(SingleUseToken::mint(ttl, at(0)), Err(Error::Lifetime { .. })));
        }
    }
}
