//! The order of a merged list.

use std::collections::HashMap;

/// Orders items after a patch: those the patch orders as it says, those only the server has where they were.
///
/// Items come with what identifies them; `wanted` is the patch's order, `before` that of the stored list.
///
/// Source: `normalizeElementOrder` of `k8s.io/apimachinery/pkg/util/strategicpatch`.
pub(super) fn arrange<T>(items: Vec<(String, T)>, wanted: &[String], before: &[String]) -> Vec<T> {
    let (wanted, before) = (places(wanted), places(before));
    let (mut ordered, kept): (Vec<_>, Vec<_>) = items.into_iter().partition(|(id, _)| wanted.contains_key(id.as_str()));
    ordered.sort_by_key(|(id, _)| wanted.get(id.as_str()).copied());
    let (mut ordered, mut kept) = (ordered.into_iter().peekable(), kept.into_iter().peekable());
    let mut out = Vec::new();
    loop {
        let take_kept = match (ordered.peek(), kept.peek()) {
            (None, None) => return out,
            (None, Some(_)) => true,
            (Some(_), None) => false,
            // Only a stored item can stand before a server's one; new ones follow their neighbours of the patch.
            (Some((next, _)), Some((server, _))) => match (before.get(next.as_str()), before.get(server.as_str())) {
                (Some(next), Some(server)) => server < next,
                _ => false,
            },
        };
        let next = if take_kept { kept.next() } else { ordered.next() };
        out.extend(next.map(|(_, item)| item));
    }
}

/// The first place of each.
fn places(list: &[String]) -> HashMap<&str, usize> {
    let mut places = HashMap::with_capacity(list.len());
    for (place, id) in list.iter().enumerate() {
        places.entry(id.as_str()).or_insert(place);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patch_orders_its_items_and_the_others_stay() {
        let run = |items: &str, wanted: &str, before: &str| -> String {
            let ids = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
            arrange(items.chars().map(|c| (c.to_string(), c)).collect(), &ids(wanted), &ids(before))
                .into_iter()
                .collect()
        };
        assert_eq!(run("abc", "cba", "abc"), "cba");
        assert_eq!(run("sabt", "ba", "sabt"), "sbat");
        assert_eq!(run("xan", "na", "xa"), "nxa");
        assert_eq!(run("ab", "", "ab"), "ab");
        assert_eq!(run("abx", "x", "ab"), "xab");
        assert_eq!(run("abxy", "ya", "abx"), "yabx");
    }
}
