//! Exit codes: one per kind of trouble, so that scripts need not read messages.

use std::fmt::Write as _;

/// How a command ends. The numbers are part of the interface and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// The server refused or failed the request, or what was waited for failed.
    Failed,
    /// Nothing can be done: no server, or an error of this program.
    Fatal,
    /// The command line, the environment or the configuration is wrong (`EX_USAGE` of sysexits.h).
    Usage,
    /// An address the server shall listen on is taken.
    PortTaken,
    /// No space or no writing in the state root.
    Storage,
    /// The kernel lacks a feature.
    Kernel,
    /// The clock, or a certificate: TLS cannot work.
    Trust,
    /// Rights are missing: not root, or credentials refused.
    Permission,
    /// The time given with `--timeout` is over; the server goes on.
    TimedOut,
    /// Interrupted by Ctrl-C (128 + SIGINT); the server goes on.
    Interrupted,
    /// The code of the command that `exec` ran.
    Command(u8),
}

/// Code, name and meaning of each, in the order of the documentation.
const TABLE: [(Exit, &str); 11] = [
    (Exit::Done, "done"),
    (Exit::Failed, "the request failed, or what was waited for failed"),
    (Exit::Fatal, "fatal: the server cannot be reached, or an internal error"),
    (Exit::Usage, "wrong use: flags, environment or configuration file"),
    (Exit::PortTaken, "an address to listen on is taken"),
    (Exit::Kernel, "the kernel lacks a feature (overlayfs, bridge, veth, nf_tables)"),
    (Exit::Storage, "the state root is full or cannot be written"),
    (Exit::Trust, "clock outside of the certificates' validity, or TLS failed"),
    (Exit::Permission, "rights are missing: not root, or credentials refused"),
    (Exit::TimedOut, "--timeout is over; the server goes on"),
    (Exit::Interrupted, "interrupted; the server goes on"),
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
        text.push_str("  `exec` ends with the code of the command it ran.");
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
