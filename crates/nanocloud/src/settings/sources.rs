//! Where settings come from, merged into one value by name, with the place of each for errors.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use toml::Value;

use super::reference::{self, Known};

/// File that is read when it exists and no other is named.
const DEFAULT_FILE: &str = "/etc/nanocloud/config.toml";
/// How alike a name must be to be proposed (0 to 1).
const ALIKE: f64 = 0.8;

/// What flags, environment and file say, the stronger first.
pub struct Sources {
    known: BTreeMap<String, Known>,
    values: BTreeMap<String, (Value, Origin)>,
}

/// Where a value was given.
enum Origin {
    Flag,
    Variable,
    File(PathBuf),
}

impl Sources {
    /// Flags and environment; the file they name, or the default one when it exists, is read.
    pub fn open(
        global: &cli::args::Global,
        server: &cli::args::Server,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let mut sources = Self { known: reference::known(), values: BTreeMap::new() };
        let named = global.config.clone().or_else(|| variable("NANOCLOUD_CONFIG").map(PathBuf::from));
        match named {
            Some(path) => sources.take_file(&path)?,
            None if Path::new(DEFAULT_FILE).exists() => sources.take_file(Path::new(DEFAULT_FILE))?,
            None => (),
        }
        for name in sources.known.keys() {
            if let Some(text) = variable(&variable_of(name)) {
                sources.values.insert(name.clone(), (Value::String(text), Origin::Variable));
            }
        }
        let mut flags = toml::Table::try_from(server).map_err(|source| SettingsError::Flags { source })?;
        let state_root = global.state_root.as_ref().map(|path| path.display().to_string().into());
        flags.extend(state_root.map(|path| ("state_root".to_owned(), path)));
        sources.values.extend(flags.into_iter().map(|(name, value)| (name, (value, Origin::Flag))));
        for (name, (value, _)) in &mut sources.values {
            sources.known.get(name).inspect(|known| known.convert(value));
        }
        Ok(sources)
    }

    fn take_file(&mut self, path: &Path) -> Result<(), SettingsError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
        let syntax = |message| SettingsError::Syntax { path: path.to_owned(), message };
        let table: toml::Table = toml::from_str(&text).map_err(|error| syntax(error.to_string()))?;
        if let Some(name) = table.keys().find(|name| !self.known.contains_key(*name)) {
            return Err(syntax(self.unknown(name)));
        }
        let values = table.into_iter().map(|(name, value)| (name, (value, Origin::File(path.to_owned()))));
        self.values.extend(values);
        Ok(())
    }

    fn unknown(&self, name: &str) -> String {
        let alike = self.known.keys().map(|known| (strsim::jaro_winkler(name, known), known));
        match alike.max_by(|(one, _), (other, _)| one.total_cmp(other)) {
            Some((likeness, known)) if likeness >= ALIKE => {
                format!("there is no setting {name:?}; did you mean {known:?}?")
            }
            _ => {
                let names: Vec<&str> = self.known.keys().map(String::as_str).collect();
                format!("there is no setting {name:?}; there are {}", names.join(", "))
            }
        }
    }

    /// The settings that are the fields of `T`; those that were not given have its defaults.
    pub fn section<T: DeserializeOwned>(&self) -> Result<T, SettingsError> {
        let table = self.values.iter().map(|(name, (value, _))| (name.clone(), value.clone())).collect();
        serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
            let name = error.path().to_string();
            let form = self.known.get(&name).and_then(Known::form);
            let problem = error.inner().message();
            self.refuse(&name, form.map_or_else(|| problem.into(), |form| format!("{problem}; write it like {form}")))
        })
    }

    /// An error that names a setting, its value and where it was given.
    pub fn refuse(&self, name: &str, problem: String) -> SettingsError {
        let (value, origin) = match self.values.get(name) {
            Some((value, Origin::Flag)) => (value.to_string(), format!("--{}", name.replace('_', "-"))),
            Some((value, Origin::Variable)) => (value.to_string(), variable_of(name)),
            Some((value, Origin::File(path))) => (value.to_string(), path.display().to_string()),
            None => (self.known.get(name).map(Known::default).unwrap_or_default(), "by default".to_owned()),
        };
        SettingsError::Value { name: name.to_owned(), value, origin, problem }
    }
}

/// The environment variable of a setting.
fn variable_of(name: &str) -> String {
    format!("NANOCLOUD_{}", name.to_ascii_uppercase())
}

/// The token to join a cluster with, from a flag, a file or the environment; not a setting, so that nothing prints it.
pub fn join_token(
    server: &cli::args::Server,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<String>, SettingsError> {
    let file = server.join_file.clone().or_else(|| variable("NANOCLOUD_JOIN_FILE").map(PathBuf::from));
    match (&server.join, file) {
        (Some(token), _) => Ok(Some(token.clone())),
        (None, Some(path)) => {
            std::fs::read_to_string(&path).map(Some).map_err(|source| SettingsError::Read { path, source })
        }
        (None, None) => Ok(variable("NANOCLOUD_JOIN")),
    }
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("the configuration file {} is not valid: {message}", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// The flags cannot be taken as settings.
    #[error("the flags of the server cannot be read")]
    Flags {
        /// Why.
        source: toml::ser::Error,
    },
    /// A value is not usable.
    #[error("{name} = {value} ({origin}) is not usable: {problem}")]
    Value {
        /// Name of the setting.
        name: String,
        /// Its value.
        value: String,
        /// The flag, variable or file that says so.
        origin: String,
        /// Why, and what would be right.
        problem: String,
    },
}
