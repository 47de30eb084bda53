//! Builds OCI images from Dockyard recipes and Debian's packages, reproducibly, without running any
//! of their scripts and without a chroot.
//!
//! ```text
//!  recipe.toml + files ─┐                                   ┌─ blobs/sha256/… (layers, shared by hard links)
//!  apt: which packages ─┼─► tree (merged /usr, filtered) ──►┼─ config, manifest
//!  dpkg-deb: contents ──┘      one sorted gzip layer        └─ index.json: tags <version>, latest
//! ```
//!
//! Each recipe makes one layer upon those of its base. What maintainer scripts would have done is
//! written in the recipe: accounts, directories, links, joined files.
//!
//! Invariants
//! * Equal inputs (builder, recipe, packages, base) give an equal digest: entries are sorted, times are
//!   limited to the newest package's (or `SOURCE_DATE_EPOCH`), owners are numbers, compression is fixed.
//! * An image is published in one step (`index.json` is replaced last); a failed build leaves the old one.
//! * No set-id bit, device or pipe gets into an image; nothing is placed outside of its root.
//! * apt checks signatures; a package whose hash differs from the list is fetched again or refused.
//!
//! Limits: [`MAX_BASES`]; a recipe's file has at most 8 MiB. One build at a time per catalog (file lock).

mod additions;
mod apt;
mod build;
mod deb;
mod error;
mod folder;
mod hash;
mod image_config;
mod layer;
mod layout;
mod memory;
mod progress;
mod tree;

use std::path::PathBuf;

pub use error::Error;
pub use folder::RecipeFolder;
pub use progress::{Phase, Progress};

/// Deepest chain of bases.
pub const MAX_BASES: usize = 4;

/// Where a build reads and writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildConfig {
    /// Folder of the recipes, where bases are looked for by name.
    pub recipes: PathBuf,
    /// The local catalog; an image goes to `<catalog>/<name>/`, an OCI image layout.
    pub catalog: PathBuf,
    /// Kept between builds: fetched packages, apt's indexes. On the same file system as the catalog
    /// or not; may be shared by catalogs as long as they do not build at the same time.
    pub cache: PathBuf,
    /// The distribution's tools.
    pub apt: AptConfig,
    /// Upper limit of all times, in seconds since 1970 (<https://reproducible-builds.org/specs/source-date-epoch/>).
    pub source_date_epoch: Option<i64>,
}

/// The distribution's tools and state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AptConfig {
    /// `apt-get`.
    pub apt_get: String,
    /// `apt-cache`.
    pub apt_cache: String,
    /// `dpkg-deb`.
    pub dpkg_deb: String,
    /// Package lists; updated when empty or outdated.
    pub lists: PathBuf,
    /// More settings for apt, `Name=value` each, e.g. `Dir::Etc::sourcelist=/path` for other package sources.
    pub options: Vec<String>,
}

impl Default for AptConfig {
    fn default() -> Self {
        Self {
            apt_get: "apt-get".to_owned(),
            apt_cache: "apt-cache".to_owned(),
            dpkg_deb: "dpkg-deb".to_owned(),
            lists: PathBuf::from("/var/lib/apt/lists"),
            options: Vec::new(),
        }
    }
}

/// An image that is in the catalog now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Path in the catalog.
    pub name: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Digest of its manifest.
    pub digest: String,
    /// True if it was there already, made from the same inputs.
    pub cached: bool,
    /// Number of packages in all its layers.
    pub packages: usize,
    /// Size of all its layers, compressed.
    pub size_bytes: u64,
    /// Its OCI image layout.
    pub layout: PathBuf,
}

/// Builds the image of a recipe and those of its bases, or finds them in the catalog.
///
/// Blocks for seconds; call it where blocking is allowed.
///
/// # Errors
/// [`Error`] says what to do. The catalog then holds what it held before.
pub fn build(
    folder: &RecipeFolder,
    config: &BuildConfig,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Built, Error> {
    build::build(folder, config, progress)
}
