//! Tables for people, after Kubernetes' `meta.k8s.io/v1 Table`.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// The head of a column (`TableColumnDefinition`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ColumnDefinition {
    /// Title.
    pub name: Cow<'static, str>,
    /// OpenAPI type: `string`, `integer` or `date`.
    #[serde(rename = "type")]
    pub r#type: Cow<'static, str>,
    /// OpenAPI format; `name` marks the column that identifies the row.
    pub format: Cow<'static, str>,
    /// What the column shows.
    pub description: Cow<'static, str>,
    /// 0 is always shown, 1 only in wide tables.
    pub priority: i32,
}

impl ColumnDefinition {
    pub(crate) fn name() -> Self {
        Self { format: "name".into(), ..Self::text("Name", "Name of the object") }
    }

    pub(crate) fn age() -> Self {
        Self::text("Age", "Time since the object was created")
    }

    fn text(name: &'static str, description: &'static str) -> Self {
        let (kind, format) = ("string".into(), "".into());
        Self { name: name.into(), r#type: kind, format, description: description.into(), priority: 0 }
    }
}

/// A column of a kind: its head and how to read its cell.
#[derive(Debug)]
pub struct Column<R> {
    /// Head.
    pub definition: ColumnDefinition,
    /// The cell of an object at a time.
    pub cell: fn(&R, Timestamp) -> Value,
}

impl<R> Column<R> {
    /// A text column that every table shows.
    pub fn text(name: &'static str, description: &'static str, cell: fn(&R, Timestamp) -> Value) -> Self {
        Self { definition: ColumnDefinition::text(name, description), cell }
    }

    /// Shows this column only in wide tables.
    #[must_use]
    pub fn wide(mut self) -> Self {
        self.definition.priority = 1;
        self
    }

    /// Marks the cells as integers.
    #[must_use]
    pub fn integer(mut self) -> Self {
        self.definition.r#type = "integer".into();
        self
    }
}

/// How long ago `then` was, as kubectl prints it: the one or two largest units that matter.
pub fn human_age(now: Timestamp, then: Timestamp) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let seconds = (now.as_second() - then.as_second()).max(0);
    let pair = |big: i64, big_unit: &str, small: i64, small_unit: &str| match (seconds % big) / small {
        0 => format!("{}{big_unit}", seconds / big),
        rest => format!("{}{big_unit}{rest}{small_unit}", seconds / big),
    };
    match seconds {
        s if s < 2 * MINUTE => format!("{s}s"),
        s if s < 10 * MINUTE => pair(MINUTE, "m", 1, "s"),
        s if s < 3 * HOUR => format!("{}m", s / MINUTE),
        s if s < 8 * HOUR => pair(HOUR, "h", MINUTE, "m"),
        s if s < 2 * DAY => format!("{}h", s / HOUR),
        s if s < 8 * DAY => pair(DAY, "d", HOUR, "h"),
        s if s < 2 * YEAR => format!("{}d", s / DAY),
        s if s < 8 * YEAR => pair(YEAR, "y", DAY, "d"),
        s => format!("{}y", s / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_like_kubectl() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let cases = [
            (0, "0s"),
            (119, "119s"),
            (125, "2m5s"),
            (180, "3m"),
            (660, "11m"),
            (10_800, "3h"),
            (11_100, "3h5m"),
            (90_000, "25h"),
            (180_000, "2d2h"),
        ];
        for (seconds, wanted) in cases {
            assert_eq!(human_age(at(1_000_000 + seconds), at(1_000_000)), wanted);
        }
        assert_eq!(human_age(at(0), at(5)), "0s", "a clock that steps back shows no negative age");
    }
}
