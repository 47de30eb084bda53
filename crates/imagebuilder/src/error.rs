//! What can go wrong while building an image, and what to do about it.

use std::io;
use std::path::PathBuf;

use dockyard::RecipeError;

/// A build that failed. Nothing half-made is left in the catalog.
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
    /// There is no recipe where one is looked for.
    #[error("there is no recipe {path}: name a folder that holds a {file}", file = dockyard::RECIPE_FILE)]
    NoRecipe {
        /// The file that was looked for.
        path: PathBuf,
    },
    /// The base of a recipe has none.
    #[error(
        "{recipe:?} is built upon {base:?}, and there is no {path}: put the folder of that recipe there (of the recipes \
         that come with nanocloud, copy dockyard/{base}), or correct `base`"
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
    /// The folder of a recipe does not agree with its name.
    #[error("the recipe {name:?} is expected in a folder of that name, not in {path}")]
    RecipeFolder {
        /// `name` of the recipe.
        name: String,
        /// Where it was found.
        path: PathBuf,
    },
    /// A chain of bases comes back to itself or is too deep.
    #[error("the bases of the recipe {0:?} are nested deeper than {max}, or in a circle", max = crate::MAX_BASES)]
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
    /// A tool could not be started or its output not be read.
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
        /// What it was to do.
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
    /// A package's contents are not what a package's contents are.
    #[error("the package {package} holds {path}, {problem}")]
    BadPackage {
        /// File name of the package.
        package: String,
        /// Path in it.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Two packages bring different things at one path.
    #[error("{path} comes from both {first} and {second}, and differs; exclude or omit one of them in the recipe")]
    Conflict {
        /// The path in the image.
        path: PathBuf,
        /// Who brought it first.
        first: String,
        /// Who brought it as well.
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
    #[error("cannot read {path} of the catalog; remove the image's folder to build it anew")]
    ReadCatalog {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A document of the catalog is not what it should be.
    #[error("{path} is not a valid OCI document; remove the image's folder to build it anew")]
    BadCatalog {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The processor has no name in OCI and Debian that this builder knows.
    #[error("images cannot be built for the processor {0:?}")]
    Architecture(&'static str),
    /// The time of the newest file cannot be written as a date.
    #[error("{0} seconds after 1970 is no date an image can have been made at")]
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
