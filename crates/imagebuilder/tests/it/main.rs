//! Builds images from a package source that the tests make themselves: apt, dpkg-deb, skopeo and umoci
//! are real, nothing comes from the network.

mod builds;
mod foreign;
mod refusals;
mod source;
