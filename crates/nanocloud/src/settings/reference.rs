//! What can be set: names, types, defaults and descriptions, read from the types of the settings.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use serde_json::Value as Json;
use toml::Value;

use super::fields::Settings;

/// A setting.
pub(super) struct Known(Json);

/// All settings by name.
pub(super) fn known() -> BTreeMap<String, Known> {
    let schema = SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<Settings>();
    let properties = schema.get("properties").and_then(Json::as_object).into_iter().flatten();
    properties.map(|(name, schema)| (name.clone(), Known(schema.clone()))).collect()
}

impl Known {
    /// Gives a value the type of the setting: variables and flags are text, and a file may quote a number.
    pub(super) fn convert(&self, value: &mut Value) {
        let converted = match &*value {
            Value::String(text) if self.is("boolean") => text.parse().ok().map(Value::Boolean),
            Value::String(text) if self.is("integer") => text.parse().ok().map(Value::Integer),
            Value::String(_) => None,
            other => self.is("string").then(|| Value::String(other.to_string())),
        };
        if let Some(converted) = converted {
            *value = converted;
        }
    }

    /// Whether the setting is of this type of JSON; one that may be left out is also of type null.
    fn is(&self, wanted: &str) -> bool {
        match &self.0["type"] {
            Json::Array(types) => types.iter().any(|one| one == wanted),
            one => one == wanted,
        }
    }

    /// What it is unless it is given, as the file would say it; empty without a default.
    pub(super) fn default(&self) -> String {
        match &self.0["default"] {
            Json::Null => String::new(),
            value => value.to_string(),
        }
    }

    /// A value as it could be: an example, or else the default.
    pub(super) fn form(&self) -> Option<String> {
        let example = self.0["examples"].get(0).map(Json::to_string);
        example.or_else(|| Some(self.default())).filter(|form| !form.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/settings.md");

    fn page() -> String {
        let mut page = String::from(
            "# Settings of the server\n\n\
            A flag wins over its variable, the variable over the file, the file over the default. The file is\n\
            `/etc/nanocloud/config.toml`, or what `--config` or `NANOCLOUD_CONFIG` names. The variable of a setting is its\n\
            name in capitals after `NANOCLOUD_`; `nanocloud server --help` shows which are flags. `nanocloud config check`\n\
            prints what results. `make settings` writes this page.\n\n\
            | Setting | Default | What it is |\n\
            | --- | --- | --- |\n",
        );
        for (name, known) in known() {
            let default = match known.default() {
                default if ["", "\"\""].contains(&default.as_str()) => "–".to_owned(),
                default => format!("`{default}`"),
            };
            let description = known.0["description"].as_str().unwrap_or_default().replace('\n', " ");
            let example = known.0["examples"].get(0).map(|example| format!(" Such as `{example}`."));
            page += &format!("| `{name}` | {default} | {description}{} |\n", example.unwrap_or_default());
        }
        page
    }

    #[test]
    fn the_page_in_docs_says_what_can_be_set() {
        let found = std::fs::read_to_string(PAGE).unwrap();
        assert!(found == page(), "docs/settings.md is not what can be set; `make settings` renews it");
    }

    #[test]
    #[ignore = "writes docs/settings.md; `make settings` runs it"]
    fn renew_the_page_in_docs() {
        std::fs::write(PAGE, page()).unwrap();
    }

    #[test]
    fn every_flag_is_a_setting_and_its_help_knows_variable_and_default() {
        let command = cli::args::Cli::command();
        let server = command.find_subcommand("server").unwrap();
        let known = known();
        let no_settings = ["join", "join_file", "help"];
        for flag in server.get_arguments().filter(|flag| !no_settings.contains(&flag.get_id().as_str())) {
            let name = flag.get_id().as_str();
            let help = flag.get_help().unwrap().to_string();
            assert!(help.contains(&format!("[env: NANOCLOUD_{}]", name.to_ascii_uppercase())), "{help}");
            let default = known[name].0["default"].to_string();
            let default = default.trim_matches('"');
            let said = help.split_once("[default: ").and_then(|(_, rest)| rest.strip_suffix(']'));
            if !["", "null"].contains(&default) {
                assert_eq!(said, Some(default), "{help}");
            }
        }
    }
}
