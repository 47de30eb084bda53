//! Builds images from a package source that the tests make themselves: apt, dpkg-deb, skopeo and umoci
//! are real, nothing comes from the network.

#![expect(clippy::disallowed_methods, reason = "tests start programs and tasks, and end them")]

mod builds;
mod foreign;
mod refusals;
mod source;
