//! Indexes of an indexed job, and their text in its status, such as `0,2-4`.

use std::collections::BTreeSet;

use api::{
    kinds::{Pod, job},
    names::label::COMPLETION_INDEX,
};

/// The indexes in the text of a status; what lies beyond the completions does not count.
pub(super) fn parse(text: Option<&str>, completions: i32) -> BTreeSet<i32> {
    let mut all = job::indexes(text.unwrap_or_default(), i32::MAX).unwrap_or_default();
    all.retain(|index| *index < completions);
    all
}

/// The text of indexes; none when there are none.
pub(super) fn text(indexes: &BTreeSet<i32>) -> Option<String> {
    let mut parts = Vec::new();
    let mut all = indexes.iter().copied().peekable();
    while let Some(first) = all.next() {
        let mut last = first;
        while let Some(next) = all.next_if(|next| *next == last + 1) {
            last = next;
        }
        parts.push(match last - first {
            0 => first.to_string(),
            // Two neighbours are written one by one, as Kubernetes does.
            1 => format!("{first},{last}"),
            _ => format!("{first}-{last}"),
        });
    }
    (!parts.is_empty()).then(|| parts.join(","))
}

/// The index of a pod.
pub(super) fn of_pod(pod: &Pod) -> Option<i32> {
    let text = pod.metadata.annotations.as_ref()?.get(COMPLETION_INDEX)?;
    text.parse().ok().filter(|index| *index >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_indexes_agree() {
        for (indexes, wanted) in
            [(&[][..], None), (&[3], Some("3")), (&[1, 2], Some("1,2")), (&[0, 2, 3, 4, 7], Some("0,2-4,7"))]
        {
            let indexes: BTreeSet<i32> = indexes.iter().copied().collect();
            assert_eq!(text(&indexes).as_deref(), wanted);
            assert_eq!(parse(wanted, 100), indexes);
        }
        assert_eq!(parse(Some("0-9"), 3).len(), 3, "completions became fewer");
        assert_eq!(parse(Some("nonsense"), 3).len(), 0);
    }
}
