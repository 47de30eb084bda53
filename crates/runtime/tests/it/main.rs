//! Real containers on this host. They need root, cgroups, overlayfs and a static busybox, and fail
//! where something is missing.

#![expect(clippy::disallowed_methods, reason = "tests start programs and tasks, and end them")]

mod adoption;
mod confinement;
mod escapes;
mod exec;
mod guest;
mod host;
mod images;
mod isolation;
mod lifecycle;
