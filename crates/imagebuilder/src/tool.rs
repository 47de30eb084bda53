//! Running the distribution's tools.

use std::process::Child;

use crate::Error;

/// Longest excerpt of a tool's error output, in bytes.
const MAX_SAID: usize = 2000;

/// Reads a child's error output beside its standard output, so that neither pipe fills up.
pub(crate) fn collect_stderr(child: &mut Child) -> Option<std::thread::JoinHandle<String>> {
    let mut pipe = child.stderr.take()?;
    Some(std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // A read error is ignored: the exit status decides.
        let _unread = std::io::Read::read_to_end(&mut pipe, &mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }))
}

pub(crate) fn start_error(tool: &str, package: &'static str, source: std::io::Error) -> Error {
    if source.kind() == std::io::ErrorKind::NotFound {
        return Error::ToolMissing { tool: tool.to_owned(), package };
    }
    Error::Tool { tool: tool.to_owned(), source }
}

/// The end of a tool's error output, at a character boundary.
pub(crate) fn tail(said: &str) -> &str {
    let mut start = said.len().saturating_sub(MAX_SAID);
    while !said.is_char_boundary(start) {
        start += 1;
    }
    &said[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_keeps_characters_whole() {
        let text = "ä".repeat(MAX_SAID);
        assert!(tail(&text).len() <= MAX_SAID);
        assert_eq!(tail("short"), "short");
    }
}
