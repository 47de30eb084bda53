//! `nanocloud image`: images of the local catalog, built from recipes.

use std::path::{Path, PathBuf};

use anyhow::Context;
use cli::outln;
use imagebuilder::{AptConfig, BuildConfig, Phase, Progress, RecipeFolder, build};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::settings::Settings;

/// Width of the name before a progress bar.
const NAME_WIDTH: usize = 20;

/// Builds images, each after its base, with a progress bar for each.
pub fn run(settings: &Settings, action: &cli::args::ImageAction) -> anyhow::Result<()> {
    match action {
        cli::args::ImageAction::Build { recipes, cache, catalog } => {
            let catalog = catalog.clone().unwrap_or_else(|| settings.catalog());
            let cache = cache.clone().unwrap_or_else(|| settings.state_root.join("cache/images"));
            recipes.iter().try_for_each(|recipe| build_one(recipe, &catalog, &cache))
        }
        cli::args::ImageAction::List => list(&settings.catalog()),
    }
}

fn build_one(recipe: &Path, catalog: &Path, cache: &Path) -> anyhow::Result<()> {
    let (recipes, name) = locate(recipe)?;
    let folder = RecipeFolder::load(&recipes, &name)?;
    let config = BuildConfig {
        recipes,
        catalog: catalog.to_owned(),
        cache: cache.to_owned(),
        apt: AptConfig::default(),
        source_date_epoch: None,
    };
    let mut bars = Bars::default();
    let built = build(&folder, &config, &mut |progress| bars.show(&progress))?;
    bars.finish();
    let size = HumanBytes(built.size_bytes);
    outln!("{:NAME_WIDTH$} {}  {} packages, {size}", built.name, built.digest, built.packages)?;
    Ok(())
}

/// The directory of all recipes, and the name within it, which can contain slashes.
fn locate(recipe: &Path) -> anyhow::Result<(PathBuf, String)> {
    let path = std::fs::canonicalize(recipe).map_err(|error| cli::Error::unreadable("RECIPES", recipe, &error))?;
    for root in path.ancestors().skip(1) {
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        if RecipeFolder::load(root, &name).is_ok() {
            return Ok((root.to_owned(), name));
        }
    }
    // The name of no recipe matches its path: loading it from its parent directory gives the best error.
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok((path.parent().unwrap_or(&path).to_owned(), name))
}

/// The progress bar of the current image and phase.
#[derive(Default)]
struct Bars {
    current: Option<(String, Phase, ProgressBar)>,
}

impl Bars {
    fn show(&mut self, progress: &Progress<'_>) {
        let same =
            |(image, phase, _): &(String, Phase, ProgressBar)| image == progress.image && *phase == progress.phase;
        if !self.current.as_ref().is_some_and(same) {
            self.finish();
            self.current = Some((progress.image.to_owned(), progress.phase, bar(progress)));
        }
        if let Some((_, _, bar)) = &self.current {
            bar.set_length(progress.total);
            bar.set_position(progress.done);
        }
    }

    fn finish(&mut self) {
        if let Some((_, _, bar)) = self.current.take() {
            bar.finish_and_clear();
        }
    }
}

fn bar(progress: &Progress<'_>) -> ProgressBar {
    let (verb, unit) = match progress.phase {
        Phase::Resolve => ("finding packages", "{pos}/{len}"),
        Phase::Download => ("downloading", "{bytes}/{total_bytes} {bytes_per_sec}"),
        Phase::Unpack => ("unpacking", "{pos}/{len} packages"),
        Phase::Write => ("writing", "{bytes}/{total_bytes}"),
        Phase::Done => ("done", ""),
    };
    let template = format!("{{prefix:{NAME_WIDTH}}} {{msg:18}} {{bar:30}} {unit}");
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(progress.total).with_style(style).with_prefix(progress.image.to_owned());
    bar.set_message(verb);
    bar
}

fn list(catalog: &Path) -> anyhow::Result<()> {
    let mut found = Vec::new();
    collect(catalog, catalog, &mut found)?;
    found.sort();
    if found.is_empty() {
        cli::note!("no images in {}; build one with `nanocloud image build DIR`", catalog.display());
        return Ok(());
    }
    outln!("{:NAME_WIDTH$} DIGEST", "NAME")?;
    found.iter().try_for_each(|(name, digest)| outln!("{name:NAME_WIDTH$} {digest}"))?;
    Ok(())
}

/// Image layouts below a directory: their names and the digests of their first manifests.
fn collect(root: &Path, folder: &Path, found: &mut Vec<(String, String)>) -> anyhow::Result<()> {
    if let Ok(text) = std::fs::read_to_string(folder.join("index.json")) {
        let index: serde_json::Value = serde_json::from_str(&text).with_context(|| folder.display().to_string())?;
        let digest = index["manifests"][0]["digest"].as_str().unwrap_or_default().to_owned();
        found.push((folder.strip_prefix(root).unwrap_or(folder).display().to_string(), digest));
        return Ok(());
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    let folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.iter().try_for_each(|folder| collect(root, folder, found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_listed_by_their_path() {
        let catalog = tempfile::tempdir().unwrap();
        for name in ["redis", "diagnostics/loopback"] {
            let folder = catalog.path().join(name);
            std::fs::create_dir_all(folder.join("blobs")).unwrap();
            std::fs::write(folder.join("index.json"), r#"{"manifests":[{"digest":"sha256:1"}]}"#).unwrap();
        }
        let mut found = Vec::new();
        collect(catalog.path(), catalog.path(), &mut found).unwrap();
        found.sort();
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["diagnostics/loopback", "redis"]);
    }
}
