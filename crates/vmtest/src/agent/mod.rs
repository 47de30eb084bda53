//! Commands in a guest, over a virtio serial port: no network, no login, no service of the guest is needed.
//!
//! The agent is a program of this crate ([`serve`]); [`Agent`] is the other end. The same program is the first process of
//! the initial memory file system ([`init`]).

pub mod frame;
pub mod init;
pub mod serve;

mod client;

pub use client::{Agent, Output};

/// Name of the serial port.
pub const PORT: &str = "vmtest.agent";
