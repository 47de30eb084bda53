//! Takes secret values out of captured output before anybody sees it.

use base64::Engine as _;

/// Shortest value that is looked for: a shorter one would be found everywhere.
const MIN_LENGTH: usize = 4;
/// What stands in the place of a value.
const MASK: &str = "[redacted]";
/// Most lines kept, the last ones.
const MAX_LINES: usize = 10;
/// Most bytes kept.
const MAX_BYTES: usize = 1024;

/// Knows the values that must not be shown.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Forms of the values, longest first.
    forms: Vec<String>,
    /// A value is too short to be looked for: nothing is shown.
    mute: bool,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor").finish_non_exhaustive()
    }
}

impl Redactor {
    /// Hides these values, and the forms in which programs repeat them: each line of its own, percent-encoded, in
    /// base64, and escaped as in JSON or SQL.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut redactor = Self::default();
        for secret in secrets.into_iter().filter(|s| !s.is_empty()) {
            redactor.mute |= secret.len() < MIN_LENGTH;
            let engine = base64::engine::general_purpose::STANDARD;
            let escaped = secret.escape_default().to_string();
            let mut forms = vec![secret.to_owned(), engine.encode(secret), escaped, secret.replace('\'', "''")];
            forms
                .push(super::encode(&[(String::new(), secret.to_owned())].into()).trim_matches(['=', '\n']).to_owned());
            forms.extend(secret.lines().map(|line| line.trim().to_owned()));
            redactor.forms.extend(forms.into_iter().filter(|form| form.len() >= MIN_LENGTH));
        }
        redactor.forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        redactor.forms.dedup();
        redactor
    }

    /// The end of the output, without secrets. `cut` says that the output was longer than what was captured: then its
    /// end may hold the first half of a value, which is left out.
    #[must_use]
    pub fn tail(&self, output: &[u8], cut: bool) -> String {
        if self.mute {
            return "(output withheld: a secret parameter is too short to be taken out of it)".to_owned();
        }
        let mut text = String::from_utf8_lossy(output).into_owned();
        for form in &self.forms {
            text = text.replace(form, MASK);
        }
        if cut {
            let longest = self.forms.first().map_or(0, String::len);
            text.truncate(text.floor_char_boundary(text.len().saturating_sub(longest)));
        }
        let lines: Vec<&str> = text.trim_end().lines().collect();
        let last = lines.get(lines.len().saturating_sub(MAX_LINES)..).unwrap_or_default().join("\n");
        last[last.ceil_char_boundary(last.len().saturating_sub(MAX_BYTES))..].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_hidden_in_every_form() {
        let redactor = Redactor::new(["p%ss'word\nline two", "longer-secret"]);
        let base64 = base64::engine::general_purpose::STANDARD.encode("longer-secret");
        let output = format!(
            "a p%ss'word\nline two b\nIDENTIFIED BY 'p%25ss'word%0Aline two'\n{base64} longer-secret!\nx line two y"
        );
        let shown = redactor.tail(output.as_bytes(), false);
        for hidden in ["ss'word", "line two", "longer", base64.as_str()] {
            assert!(!shown.contains(hidden), "{hidden} in {shown}");
        }
        assert!(shown.starts_with("a [redacted]"));
    }

    #[test]
    fn short_values_silence_everything_and_only_the_end_is_kept() {
        assert!(Redactor::new(["abc"]).tail(b"x", false).starts_with("(output withheld"));
        let long: String = (0..50).map(|n| format!("line {n}\n")).collect();
        let shown = Redactor::new([]).tail(long.as_bytes(), false);
        assert_eq!((shown.lines().count(), shown.lines().next()), (MAX_LINES, Some("line 40")));
    }

    proptest! {
        /// Wherever the capture was cut and whatever surrounds it, at most a stump of the value is left.
        #[test]
        fn no_value_survives(secret in "[a-zA-Z0-9]{8,24}", before in "[ -~]{0,40}", after in "[ -~]{0,40}", kept in 0_usize..24) {
            let redactor = Redactor::new([secret.as_str()]);
            let whole = format!("{before}{secret}{after}");
            prop_assert!(!redactor.tail(whole.as_bytes(), false).contains(&secret));
            let cut = format!("{before}{}", &secret[..kept.min(secret.len())]);
            let shown = redactor.tail(cut.as_bytes(), true);
            prop_assert!(before.contains(&shown) || shown.contains(MASK), "{}", shown);
        }
    }
}
