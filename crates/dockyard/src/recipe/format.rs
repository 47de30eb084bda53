//! The form of a `recipe.toml`.

use indexmap::IndexMap;
use serde::Deserialize;

use crate::document::LabelDocument;
use crate::label_error::LabelError;
use crate::surface::Surface;

/// Name of the file in a recipe's folder.
pub const RECIPE_FILE: &str = "recipe.toml";
/// Largest recipe, in bytes.
pub const MAX_RECIPE_BYTES: usize = 256 * 1024;

/// A recipe, validated. See `docs/recipes.md`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Path of the image in the catalog, e.g. `mariadb` or `diagnostics/loopback`.
    pub name: String,
    /// Version of the software; a tag of the image beside `latest`.
    pub version: String,
    /// Name of the recipe whose layers lie below this one's; `None` for the lowest.
    pub base: Option<String>,
    /// Packages by builder.
    #[serde(default)]
    pub packages: Packages,
    /// What only the builder from Debian's packages needs to know.
    #[serde(default)]
    pub debian: DebianSettings,
    /// What only the builder from nixpkgs needs to know.
    #[serde(default)]
    pub nix: NixSettings,
    /// The user the service runs as; without one the image is run as `nobody`.
    pub user: Option<User>,
    /// Files from the recipe's folder.
    #[serde(default, rename = "file")]
    pub files: Vec<FileEntry>,
    /// Directories to make.
    #[serde(default, rename = "directory")]
    pub directories: Vec<DirectoryEntry>,
    /// Symbolic links to make.
    #[serde(default, rename = "symlink")]
    pub symlinks: Vec<SymlinkEntry>,
    /// Files joined from files of the packages.
    #[serde(default, rename = "join")]
    pub joins: Vec<JoinEntry>,
    /// Environment that does not depend on options.
    #[serde(default)]
    pub env: IndexMap<String, String>,
    /// First part of the command line.
    #[serde(default)]
    pub entrypoint: Vec<String>,
    /// Second part of the command line, replaced by a pod's `args`.
    #[serde(default)]
    pub cmd: Vec<String>,
    /// Absolute directory to start in.
    #[serde(default = "root_path")]
    pub working_dir: String,
    /// Signal that asks the service to end, e.g. `SIGTERM`.
    #[serde(default = "sigterm")]
    pub stop_signal: String,
    /// The option label; `None` for images that are no service.
    pub label: Option<LabelDocument>,
}

fn root_path() -> String {
    "/".to_owned()
}

fn sigterm() -> String {
    "SIGTERM".to_owned()
}

/// Packages by the builder that installs them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packages {
    /// Names of Debian binary packages.
    #[serde(default)]
    pub debian: Vec<String>,
    /// Attribute paths in nixpkgs.
    #[serde(default)]
    pub nix: Vec<String>,
}

/// What only the builder from Debian's packages needs to know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DebianSettings {
    /// Dependencies to leave out, together with what only they need: tools of maintainer scripts, mostly.
    #[serde(default)]
    pub omit: Vec<String>,
    /// Absolute paths to leave out, with everything below them.
    #[serde(default)]
    pub exclude: Vec<String>,
}

/// What only the builder from nixpkgs needs to know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NixSettings {
    /// Links from where Debian's packages have a path to where nixpkgs' have it:
    /// `"/usr/share/mysql" = "mariadb:share/mysql"` is `<package>:<path in it>`.
    #[serde(default)]
    pub links: IndexMap<String, String>,
}

/// The user a service runs as. It gets a line in `/etc/passwd` and a group of the same name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Login name.
    pub name: String,
    /// Numeric id, 1 to 65533.
    pub uid: u32,
    /// Numeric group id, 1 to 65533.
    pub gid: u32,
    /// Home directory.
    pub home: String,
}

/// Who owns an entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// uid 0: the service cannot change it.
    #[default]
    Root,
    /// The recipe's [`User`].
    User,
}

/// A file copied from the recipe's folder.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Path in the recipe's folder.
    pub from: String,
    /// Absolute path in the image.
    pub to: String,
    /// Permission bits in octal.
    #[serde(default = "mode_file")]
    pub mode: Mode,
    /// Owner.
    #[serde(default)]
    pub owner: Owner,
}

/// A directory.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectoryEntry {
    /// Absolute path in the image.
    pub path: String,
    /// Permission bits in octal.
    #[serde(default = "mode_directory")]
    pub mode: Mode,
    /// Owner.
    #[serde(default)]
    pub owner: Owner,
}

/// A symbolic link.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SymlinkEntry {
    /// Absolute path in the image.
    pub path: String,
    /// What it points at.
    pub target: String,
}

/// A file made by joining, in the order of their names, files that the packages bring.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinEntry {
    /// Absolute path in the image.
    pub to: String,
    /// Directory of the parts; those below it count too.
    pub from: String,
    /// End of the parts' names, e.g. `.crt`.
    pub suffix: String,
}

/// Permission bits, written in octal as a string: `"0755"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Mode(pub u32);

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let octal = (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        match u32::from_str_radix(&text, 8) {
            // Set-id bits have no effect under no_new_privs, and no place in an image.
            Ok(bits) if octal && bits & 0o6000 == 0 => Ok(Self(bits)),
            _ => Err(format!("{text:?} is no mode: three or four octal digits without set-id bits, such as \"0755\"")),
        }
    }
}

fn mode_file() -> Mode {
    Mode(0o644)
}

fn mode_directory() -> Mode {
    Mode(0o755)
}

/// Why a recipe was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecipeError {
    /// More than [`MAX_RECIPE_BYTES`] bytes.
    #[error("the recipe is longer than {MAX_RECIPE_BYTES} bytes")]
    TooLong,
    /// Not TOML, or not of a recipe's form. The source shows the line.
    #[error("the recipe cannot be read")]
    Syntax(#[source] toml::de::Error),
    /// A value does not make sense.
    #[error("{key}: {message}")]
    Invalid {
        /// Path of the key, e.g. `file[2].to`.
        key: String,
        /// What is wrong with it.
        message: String,
    },
    /// The option label is wrong. The source says where.
    #[error("the option label of the recipe is wrong")]
    Label(#[source] LabelError),
}

impl Recipe {
    /// The checked option surface; the empty one when the recipe has no label.
    ///
    /// # Errors
    /// [`RecipeError::Label`]; never after [`Recipe::parse`].
    pub fn surface(&self) -> Result<Surface, RecipeError> {
        match &self.label {
            Some(document) => Surface::from_document(document.clone()).map_err(RecipeError::Label),
            None => Ok(Surface::default()),
        }
    }

    /// `uid:gid` that the image is run as; `nobody` without a [`User`].
    #[must_use]
    pub fn run_as(&self) -> (u32, u32) {
        self.user.as_ref().map_or((65534, 65534), |user| (user.uid, user.gid))
    }
}
