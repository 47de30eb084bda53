//! Builds OCI images from Dockyard recipes and Debian's packages, reproducibly, without running any
//! of their scripts and without a chroot.
//!
//! ```text
//!  recipe.toml + files ─┐                                   ┌─ blobs/sha256/… (layers, shared by hard links)
//!  apt: which packages ─┼─► tree (merged /usr, filtered) ──►┼─ config, manifest
//!  dpkg-deb: contents ──┘      one sorted gzip layer        └─ index.json: tags <version>, latest
//! ```
//!
//! Each recipe makes one layer on top of those of its base. What maintainer scripts would do is written in the recipe:
//! accounts, directories, links, joined files.
//!
//! Invariants
//! * Equal inputs (builder, recipe, packages, base) give an equal digest: entries are sorted, times are
//!   limited to the newest package's (or `SOURCE_DATE_EPOCH`), owners are numbers, compression is fixed.
//! * An image is published atomically (`index.json` is replaced last); a failed build leaves the old one.
//! * No set-id bit, device or pipe gets into an image; nothing is placed outside of its root.
//! * apt checks signatures; a package whose hash differs from the list is fetched again or rejected.
//!
//! Limits: [`MAX_BASES`]; a recipe's file has at most 8 MiB. One build at a time per catalog (file lock).

mod additions;
mod apt;
mod apt_answers;
mod build;
mod config;
mod deb;
mod error;
mod folder;
mod hash;
mod image_config;
mod layer;
mod layout;
mod package;
mod progress;
mod tool;
mod tree;

pub use build::build;
pub use config::{AptConfig, BuildConfig, Built, MAX_BASES};
pub use error::Error;
pub use folder::RecipeFolder;
pub use progress::{Phase, Progress};
