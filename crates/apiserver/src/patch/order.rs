//! The order of a merged list (`$setElementOrder`).

/// Orders items after a patch: those the patch orders as it says, those only the server has where they were.
///
/// `ids` identify the items, `wanted` is the patch's order, `before` the stored list's.
pub(super) fn arrange<T, I: PartialEq>(items: Vec<(I, T)>, wanted: &[I], before: &[I]) -> Vec<T> {
    let place = |list: &[I], id: &I| list.iter().position(|other| other == id);
    let (mut ordered, kept): (Vec<_>, Vec<_>) = items.into_iter().partition(|(id, _)| place(wanted, id).is_some());
    ordered.sort_by_key(|(id, _)| place(wanted, id));
    let (mut ordered, mut kept) = (ordered.into_iter().peekable(), kept.into_iter().peekable());
    let mut out = Vec::new();
    loop {
        let take_kept = match (ordered.peek(), kept.peek()) {
            (None, None) => return out,
            (None, Some(_)) => true,
            (Some(_), None) => false,
            // Only a stored item can stand before a server's one; new ones follow their neighbours of the patch.
            (Some((next, _)), Some((server, _))) => match (place(before, next), place(before, server)) {
                (Some(next), Some(server)) => server < next,
                _ => false,
            },
        };
        let next = if take_kept { kept.next() } else { ordered.next() };
        out.extend(next.map(|(_, item)| item));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patch_orders_its_items_and_the_others_stay() {
        let run = |items: &str, wanted: &str, before: &str| -> String {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            arrange(items.chars().map(|c| (c, c)).collect(), &chars(wanted), &chars(before)).into_iter().collect()
        };
        assert_eq!(run("abc", "cba", "abc"), "cba");
        assert_eq!(run("sabt", "ba", "sabt"), "sbat");
        assert_eq!(run("xan", "na", "xa"), "nxa");
        assert_eq!(run("ab", "", "ab"), "ab");
    }
}
