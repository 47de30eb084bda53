//! Conditions on events beside labels and fields. Pure.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::params::Query;
use crate::{
    api_error::{ApiError, Result},
    object,
};

/// Extra parameters of events: `since`, `level`, `reason`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EventFilter {
    since: Option<Timestamp>,
    level: Option<String>,
    reasons: Option<Vec<String>>,
}

impl EventFilter {
    pub(crate) fn parse(query: &Query, now: Timestamp) -> Result<Self> {
        let since = query.get("since").map(|text| instant(text, now)).transpose()?;
        let level = match query.get("level") {
            None => None,
            Some(level @ ("Normal" | "Warning")) => Some(level.to_owned()),
            Some(other) => return Err(ApiError::bad_request(format!("level={other:?} must be Normal or Warning"))),
        };
        let reasons = query.get("reason").map(|list| list.split(',').map(|reason| reason.trim().to_owned()).collect());
        Ok(Self { since, level, reasons })
    }

    /// Whether an event is selected.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        let text = |pointer| object::text(object, pointer);
        let seen = || {
            ["/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"]
                .into_iter()
                .find_map(|pointer| text(pointer).parse::<Timestamp>().ok())
        };
        self.since.is_none_or(|since| seen().is_none_or(|at| at >= since))
            && self.level.as_ref().is_none_or(|level| text("/type") == level)
            && self.reasons.as_ref().is_none_or(|reasons| reasons.iter().any(|reason| text("/reason") == reason))
    }
}

/// A time, or a duration before now: `5m`, `1h30m`, `2026-01-01T00:00:00Z`.
fn instant(text: &str, now: Timestamp) -> Result<Timestamp> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let ago = text.parse::<SignedDuration>().ok().filter(|ago| !ago.is_negative());
    ago.and_then(|ago| now.checked_sub(ago).ok()).ok_or_else(|| {
        ApiError::bad_request(format!("since={text:?} must be a duration such as 5m, or a time such as {now:.0}"))
    })
}
