//! The directory of a recipe: the recipe and the files it names.

use std::{
    io::ErrorKind::NotFound,
    path::{Path, PathBuf},
};

use dockyard::{MAX_RECIPE_BYTES, RECIPE_FILE, Recipe};

use crate::Error;

/// Largest file of a recipe, in bytes; these are scripts and configuration files.
const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;

/// A recipe with everything that belongs to it.
#[derive(Debug, Clone)]
pub struct RecipeFolder {
    /// The recipe.
    pub recipe: Recipe,
    /// Its text.
    pub(crate) text: String,
    /// Contents of [`Recipe::files`], in their order.
    pub(crate) contents: Vec<Vec<u8>>,
}

impl RecipeFolder {
    /// Reads `<root>/<name>/recipe.toml` and the files it names.
    ///
    /// # Errors
    /// [`Error::NoRecipe`], [`Error::ReadRecipe`], [`Error::Recipe`], [`Error::RecipeFolder`].
    pub fn load(root: &Path, name: &str) -> Result<Self, Error> {
        let folder = root.join(name);
        let path = folder.join(RECIPE_FILE);
        let text = read(&path, MAX_RECIPE_BYTES as u64).map_err(|error| match error {
            Error::ReadRecipe { path, source } if source.kind() == NotFound => Error::NoRecipe { path },
            other => other,
        })?;
        let text = String::from_utf8(text).map_err(|error| Error::ReadRecipe {
            path: path.clone(),
            source: std::io::Error::new(std::io::ErrorKind::InvalidData, error),
        })?;
        let recipe =
            Recipe::parse(&text).map_err(|source| Error::Recipe { path: path.clone(), source: Box::new(source) })?;
        if recipe.name != name {
            return Err(Error::RecipeFolder { name: recipe.name, path: folder });
        }
        let mut contents = Vec::with_capacity(recipe.files.len());
        for file in &recipe.files {
            contents.push(read(&folder.join(&file.from), MAX_FILE_BYTES)?);
        }
        Ok(Self { recipe, text, contents })
    }

    /// The names of all recipes below a directory, sorted.
    ///
    /// # Errors
    /// [`Error::ReadRecipe`] when a folder cannot be listed.
    pub fn names(root: &Path) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        for entry in walkdir::WalkDir::new(root).max_depth(4).sort_by_file_name() {
            let entry = entry.map_err(|error| Error::ReadRecipe {
                path: error.path().unwrap_or(root).to_owned(),
                source: error.into(),
            })?;
            if entry.file_name() != RECIPE_FILE {
                continue;
            }
            let folder = entry.path().parent().and_then(|folder| folder.strip_prefix(root).ok());
            names.extend(folder.and_then(Path::to_str).map(str::to_owned));
        }
        Ok(names)
    }
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    use std::io::Read;
    let attempt = || {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            let message = format!("it is larger than {limit} bytes");
            return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, message));
        }
        Ok(bytes)
    };
    attempt().map_err(|source| Error::ReadRecipe { path: PathBuf::from(path), source })
}
