//! Settings of a node: flags, then environment, then the file, then defaults.
//!
//! ```text
//!  flags ───────┐
//!  NANOCLOUD_* ─┼─► sources (one value by name) ──► fields (of this crate, net, replica, kubelet) ──► checked
//!  config.toml ─┘         names and types: reference, read from the fields
//! ```
//!
//! A setting is one field, in `fields` or in the configuration of the crate that it belongs to. Its name in the file,
//! its variable, its default and its row in docs/settings.md follow from there. The few that are flags, too, are fields
//! of [`cli::args::Server`].

mod fields;
mod reference;
mod sources;
#[cfg(test)]
mod tests;

pub use fields::{EtcdTls, KeyspacePlace, Settings};
pub use sources::{SettingsError, Sources, join_token};

impl Settings {
    /// Resolves every setting.
    pub fn resolve(sources: &Sources) -> Result<Self, SettingsError> {
        let mut settings = Self {
            network: sources.section()?,
            replica: sources.section()?,
            binding: sources.section()?,
            image_marks: sources.section()?,
            ..sources.section()?
        };
        if settings.node_name.is_empty() {
            settings.node_name = host_name();
        }
        if settings.csi_root.as_os_str().is_empty() {
            settings.csi_root = settings.state_root.join("storage/csi");
        }
        settings.check().map_err(|(name, problem)| sources.refuse(name, problem))?;
        Ok(settings)
    }
}

fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let name = name.unwrap_or_default().to_ascii_lowercase();
    if api::meta::is_host_name(&name) { name } else { "node".into() }
}
