//! Bytes on disks and between members that must never change.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// One kind of value: the bytes it is stored as, and whether they are read back as the same value.
pub fn record<T: Serialize + DeserializeOwned + Debug>(lines: &mut String, name: &str, values: &[T]) {
    for value in values {
        let bytes = postcard::to_stdvec(value).unwrap_or_default();
        let read: Result<T, _> = postcard::from_bytes(&bytes);
        assert_eq!(format!("{:?}", read.as_ref().ok()), format!("{:?}", Some(value)), "{name} is not read back");
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        lines.push_str(&format!("{name} {hex}\n"));
    }
}

/// Compares what is encoded now with what was recorded when the format was made.
///
/// A line that differs is a format that older directories and other members do not understand. Give the new form a
/// format number of its own and go on reading the old one; only then add lines here. New variants go to the end of their
/// enum, and their lines may be added.
pub fn assert_recorded(recorded: &str, now: &str) {
    let mut differing = recorded.lines().zip(now.lines()).filter(|(before, now)| before != now);
    if let Some((before, now)) = differing.next() {
        panic!("a stored format changed\nrecorded {before}\nnow      {now}");
    }
    assert_eq!(recorded.lines().count(), now.lines().count(), "lines were added or taken; all of them:\n{now}");
}
