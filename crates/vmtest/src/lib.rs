//! Virtual machines for tests: boots guests, joins them by a network that can fail, and runs commands in them.
//!
//! ```text
//!   script ── JSON lines ──► serve ──► Lab ──┬─► Guest ── QMP, console ──► QEMU ── virtio serial ── agent ── command
//!                                            ├─► Guest ── ...               │ datagrams
//!                                            └─► Switch ◄───────────────────┘
//! ```
//!
//! - [`Image`]: what boots. [`Debian`] makes two: a tiny one (kernel, agent, busybox; seconds) and one with systemd. A
//!   NixOS guest is a JSON file that names kernel, initial memory file system and disk.
//! - [`Guest`]: power on, commands, pause, cable, reboot, power cut. Its disks are files that a test may read.
//! - [`Switch`]: cut, delay and loss for each pair of guests. The management network is another card, and leads to
//!   the forwarded ports of this host only.
//! - [`serve`]: all of it for a script, line by line.
//!
//! # Invariants
//! - No emulator outlives this process: dropping a guest kills it, and the kernel does when we are killed.
//! - Nothing of the host's network is touched: sockets in a folder of our own, and loopback ports.
//! - Every wait has a limit, stretched by [`Accelerator::scale`]; a kernel that panics is noticed at once.
//! - A guest whose clock runs at another speed is refused ([`Guest::check_clock`]).
//!
//! # Limits
//! x86-64 only. A power cut loses what the guest's kernel had not written; it does not tear writes that reached the
//! emulator. Knows nothing of what is tested in the guests.

#![expect(clippy::disallowed_methods, reason = "QEMU, what makes images and what runs in a guest are programs")]
#![forbid(unsafe_code)]

mod accelerator;
pub mod agent;
mod console;
mod emulator;
mod error;
mod guest;
mod image;
mod lab;
pub mod limits;
mod machine;
mod program;
mod qmp;
pub mod serve;
mod switch;

pub use accelerator::{Accelerator, Signs, VARIABLE};
pub use error::{Error, Result};
pub use guest::Guest;
pub use image::{Debian, Extra, Image, disk_from_folder};
pub use lab::Lab;
pub use machine::{Attached, Disk, Spec};
pub use switch::{Rule, Switch};

use tempfile::TempDir;

/// Finds out how guests run here, by booting one where hardware virtualisation seems possible.
///
/// # Errors
/// When the variable's value is unknown, or the guest's parts cannot be made.
pub fn detect(wanted: Option<&str>, debian: &Debian) -> Result<Accelerator> {
    let signs = Signs::read();
    let boots = || TempDir::new().is_ok_and(|folder| probe(debian, folder.path()).is_ok());
    Accelerator::choose(wanted, signs, boots)
}

fn probe(debian: &Debian, folder: &std::path::Path) -> Result<()> {
    let image = debian.tiny(folder)?;
    let lab = Lab::new("accelerator", folder, Accelerator::Kvm)?;
    let spec = Spec {
        name: "probe".into(),
        image,
        memory_mib: 128,
        cpus: 1,
        disks: Vec::new(),
        address: None,
        forwards: Vec::new(),
    };
    lab.add(spec)?.boot_within(limits::ACCELERATOR_PROBE).map(drop)
}
