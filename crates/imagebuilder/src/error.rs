//! Why a build fails, and what to do about it.

use std::io;
use std::path::PathBuf;

use dockyard::RecipeError;

/// Why a build failed. The catalog is left unchanged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A recipe folder or a file named in it could not be read.
    #[error("cannot read {path}")]
    ReadRecipe {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no recipe at the given path.
    #[error("there is no recipe {path}: name a directory that contains a {file}", file = dockyard::RECIPE_FILE)]
    NoRecipe {
        /// The file that was looked for.
        path: PathBuf,
    },
    /// The base of a recipe does not exist.
    #[error(
        "{recipe:?} is based on {base:?}, and there is no {path}: put the directory of that recipe there (for the recipes \
         of nanocloud, copy dockyard/{base}), or correct `base`"
    )]
    NoBase {
        /// The recipe.
        recipe: String,
        /// What it names as its base.
        base: String,
        /// The file that was looked for.
        path: PathBuf,
    },
    /// The recipe is wrong.
    #[error("{path} is not a valid recipe")]
    Recipe {
        /// The recipe.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<RecipeError>,
    },
    /// The directory of a recipe does not have its name.
    #[error("the recipe {name:?} must be in a directory of that name, not in {path}")]
    RecipeFolder {
        /// `name` of the recipe.
        name: String,
        /// Where it was found.
        path: PathBuf,
    },
    /// A chain of bases is circular or too deep.
    #[error("the bases of the recipe {0:?} are nested deeper than {max}, or circular", max = crate::MAX_BASES)]
    Bases(String),
    /// A tool of the distribution is missing.
    #[error(
        "{tool} is not on this machine: this builder makes images from Debian's packages. Install it \
         (apt-get install {package}), or on NixOS use the Nix builder (nix run .#single-node-quickstart)"
    )]
    ToolMissing {
        /// The program.
        tool: String,
        /// The Debian package that brings it.
        package: &'static str,
    },
    /// A tool could not be started, or its output could not be read.
    #[error("cannot run {tool}")]
    Tool {
        /// The program.
        tool: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A tool ended with an error.
    #[error("{tool} failed while {doing}: {said}")]
    ToolFailed {
        /// The program.
        tool: String,
        /// What it was doing.
        doing: String,
        /// The end of what it said.
        said: String,
    },
    /// The machine's package lists name files that the mirror does not have any more.
    #[error("the package lists are out of date: run apt-get update ({said})")]
    OutdatedLists {
        /// The end of what apt said.
        said: String,
    },
    /// No package list at all, even after an update.
    #[error("apt knows no packages in {0}: check /etc/apt/sources.list and the network, then run apt-get update")]
    NoPackageLists(PathBuf),
    /// A package that a recipe names is not known.
    #[error(
        "the package {package:?} of the recipe {recipe:?} is unknown to apt: check its name and the package sources"
    )]
    PackageNotFound {
        /// The recipe.
        recipe: String,
        /// The package.
        package: String,
    },
    /// A package contains something that is not allowed.
    #[error("the package {package} holds {path}, {problem}")]
    BadPackage {
        /// File name of the package.
        package: String,
        /// Path in it.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Two packages install different files at one path.
    #[error("{path} comes from both {first} and {second}, and differs; exclude or omit one of them in the recipe")]
    Conflict {
        /// The path in the image.
        path: PathBuf,
        /// The first package.
        first: String,
        /// The second package.
        second: String,
    },
    /// A `[[join]]` found nothing to join.
    #[error("nothing below {from} ends in {suffix}, so {to} would be empty")]
    EmptyJoin {
        /// The file to make.
        to: String,
        /// Where the parts were looked for.
        from: String,
        /// End of their names.
        suffix: String,
    },
    /// A package could not be read.
    #[error("cannot read the package {package}")]
    ReadPackage {
        /// File name of the package.
        package: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of the cache or the catalog could not be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of the catalog could not be read.
    #[error("cannot read {path} of the catalog; remove the directory of the image and build it again")]
    ReadCatalog {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A document of the catalog is invalid.
    #[error("{path} is not a valid OCI document; remove the directory of the image and build it again")]
    BadCatalog {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The architecture is not supported.
    #[error("images cannot be built for the processor {0:?}")]
    Architecture(&'static str),
    /// The time of the newest file cannot be written as a date.
    #[error("{0} seconds after 1970 is not a valid date for an image")]
    Epoch(i64),
}

impl Error {
    pub(crate) fn write(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| Self::Write { path, source }
    }

    pub(crate) fn read_catalog(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| Self::ReadCatalog { path, source }
    }
}
