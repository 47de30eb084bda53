//! Real containers on this host. They need root, cgroups, overlayfs and a static busybox, and fail
//! where something is missing.

mod adoption;
mod confinement;
mod escapes;
mod exec;
mod guest;
mod host;
mod images;
mod isolation;
mod lifecycle;
mod registry;
