//! Exit codes: one for each kind of failure, so that scripts do not have to parse messages.

use std::fmt::Write as _;

/// How a command ends. The numbers are part of the interface and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Success.
    Done,
    /// The server rejected or failed the request, or the operation that was waited for failed.
    Failed,
    /// The server cannot be reached, or an internal error.
    Fatal,
    /// The command line, the environment or the configuration is wrong (`EX_USAGE` of sysexits.h).
    Usage,
    /// A listen address of the server is in use.
    PortTaken,
    /// The state root is full or cannot be written.
    Storage,
    /// The kernel lacks a feature.
    Kernel,
    /// TLS failed because of a certificate or the clock.
    Trust,
    /// Permission denied: not root, or the credentials were rejected.
    Permission,
    /// `--timeout` expired; the server continues.
    TimedOut,
    /// Interrupted by Ctrl-C (128 + SIGINT); the server continues.
    Interrupted,
    /// The code of the command that `exec` ran.
    Command(u8),
}

/// Code, name and meaning of each, in the order of the documentation.
const TABLE: [(Exit, &str); 11] = [
    (Exit::Done, "success"),
    (Exit::Failed, "the request failed, or the operation that was waited for"),
    (Exit::Fatal, "fatal: the server cannot be reached, or an internal error"),
    (Exit::Usage, "usage error: flags, environment or configuration file"),
    (Exit::PortTaken, "a listen address is in use"),
    (Exit::Kernel, "the kernel lacks a feature (overlayfs, bridge, veth, nf_tables)"),
    (Exit::Storage, "the state root is full or cannot be written"),
    (Exit::Trust, "TLS failed, or the clock is outside the validity of the certificates"),
    (Exit::Permission, "permission denied: not root, or credentials rejected"),
    (Exit::TimedOut, "--timeout expired; the server continues"),
    (Exit::Interrupted, "interrupted; the server continues"),
];

impl Exit {
    /// The number the process ends with.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Fatal => 2,
            Self::Usage => 64,
            Self::PortTaken => 69,
            Self::Storage => 73,
            Self::Kernel => 71,
            Self::Trust => 76,
            Self::Permission => 77,
            Self::TimedOut => 124,
            Self::Interrupted => 130,
            Self::Command(code) => code,
        }
    }

    /// The table of exit codes, for `--help`.
    pub fn help() -> String {
        let mut text = String::from("Exit codes:\n");
        for (exit, meaning) in TABLE {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {:>3}  {meaning}", exit.code());
        }
        text.push_str("  `exec` exits with the code of the command it ran.");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_documented() {
        let mut codes: Vec<u8> = TABLE.iter().map(|(exit, _)| exit.code()).collect();
        codes.sort_unstable();
        let count = codes.len();
        codes.dedup();
        assert_eq!(codes.len(), count);
        let page = include_str!("../../../docs/cli.md");
        for (exit, meaning) in TABLE {
            assert!(page.contains(&format!("| {} | {meaning} |", exit.code())), "docs/cli.md lacks {}", exit.code());
        }
    }
}
