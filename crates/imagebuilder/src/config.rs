//! Configuration and result of a build.

use std::path::PathBuf;

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
