//! Joining a running container's own stdin and output.

use std::fmt;

use tokio::net::UnixStream;

use super::exec::{ExecOutput, ExecStdin};

/// A live view of a container's output from now on, and its stdin when it was started with one.
///
/// Dropping it detaches; the container does not notice. A viewer that reads too slowly is cut off
/// by the shim rather than slowing the container.
pub struct Attachment {
    /// Input, when the container has one.
    pub stdin: Option<ExecStdin>,
    /// Output (with a terminal: everything).
    pub stdout: ExecOutput,
    /// Error output; `None` with a terminal.
    pub stderr: Option<ExecOutput>,
    pub(crate) conversation: Conversation,
}

/// What keeps an attachment: dropping it detaches.
#[derive(Debug)]
pub struct Conversation(
    #[expect(dead_code, reason = "held for its descriptor, which the shim watches")] pub(crate) UnixStream,
);

impl Attachment {
    /// Input, output, error output, and what keeps them.
    pub fn into_parts(self) -> (Option<ExecStdin>, ExecOutput, Option<ExecOutput>, Conversation) {
        (self.stdin, self.stdout, self.stderr, self.conversation)
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attachment")
    }
}
