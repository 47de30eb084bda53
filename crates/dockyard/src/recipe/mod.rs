//! `recipe.toml`: how an image of the Dockyard is made.

mod format;
mod validate;

pub use format::{
    DebianSettings, DirectoryEntry, FileEntry, JoinEntry, MAX_RECIPE_BYTES, Mode, Owner, Packages, RECIPE_FILE, Recipe,
    RecipeError, SymlinkEntry, User,
};

impl Recipe {
    /// Reads and validates the text of a `recipe.toml`.
    ///
    /// # Errors
    /// [`RecipeError`] names the line or the key.
    pub fn parse(text: &str) -> Result<Self, RecipeError> {
        if text.len() > MAX_RECIPE_BYTES {
            return Err(RecipeError::TooLong);
        }
        let recipe: Self = toml::from_str(text).map_err(RecipeError::Syntax)?;
        validate::validate(&recipe)?;
        recipe.surface()?;
        Ok(recipe)
    }
}
