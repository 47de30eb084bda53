//! From a recipe to an image in the catalog.

use std::fs::{self, File};
use std::path::Path;

use dockyard::LABEL_VERSION;
use serde_json::{Map, Value, json};

use crate::additions::Additions;
use crate::apt::{Apt, Installed};
use crate::deb::{self, Filter, Spool};
use crate::folder::RecipeFolder;
use crate::hash::{FieldHasher, digest};
use crate::image_config;
use crate::layer::{self, Layer};
use crate::layout::{Descriptor, Layout, Stored};
use crate::package::{Candidate, Package};
use crate::progress::{Phase, Progress, Reporter};
use crate::tree::{Below, Tree};
use crate::{BuildConfig, Built, Error, MAX_BASES};

/// Must change whenever the builder makes another image from the same inputs.
const FORMAT: &str = "nanocloud-imagebuilder/1";
/// Annotation with the packages of all layers, as JSON.
pub(crate) const PACKAGES: &str = "io.nanocloud.packages";

/// A base, or the image itself, once it is in the catalog.
struct Image {
    layout: Layout,
    stored: Stored,
    packages: Vec<Package>,
    omitted: Vec<String>,
    cached: bool,
}

/// Builds the image of a recipe and those of its bases, or finds them in the catalog.
///
/// Blocks for seconds.
///
/// # Errors
/// [`Error`]. The catalog is then unchanged.
pub fn build(folder: &RecipeFolder, config: &BuildConfig, sink: &mut dyn FnMut(Progress<'_>)) -> Result<Built, Error> {
    fs::create_dir_all(&config.catalog).map_err(Error::write(&config.catalog))?;
    // One build at a time per catalog: its images share blobs and the archive folder.
    let lock_path = config.catalog.join(".build.lock");
    let lock = File::create(&lock_path).map_err(Error::write(&lock_path))?;
    lock.lock().map_err(Error::write(&lock_path))?;
    let image = image(folder, config, sink, 0)?;
    Ok(Built {
        name: folder.recipe.name.clone(),
        tags: tags(folder).map(str::to_owned).to_vec(),
        digest: image.stored.manifest.digest.clone(),
        cached: image.cached,
        packages: image.packages.len(),
        size_bytes: image.stored.layers.iter().map(|layer| layer.size).sum(),
        layout: image.layout.root().to_owned(),
    })
}

fn tags(folder: &RecipeFolder) -> [&str; 2] {
    [folder.recipe.version.as_str(), "latest"]
}

fn image(
    folder: &RecipeFolder,
    config: &BuildConfig,
    sink: &mut dyn FnMut(Progress<'_>),
    depth: usize,
) -> Result<Image, Error> {
    let recipe = &folder.recipe;
    if depth > MAX_BASES {
        return Err(Error::Bases(recipe.name.clone()));
    }
    let base = match &recipe.base {
        Some(base) => {
            let folder = RecipeFolder::load(&config.recipes, base).map_err(|error| match error {
                Error::NoRecipe { path } => Error::NoBase { recipe: recipe.name.clone(), base: base.clone(), path },
                other => other,
            })?;
            Some(image(&folder, config, sink, depth + 1)?)
        }
        None => None,
    };
    let mut reporter = Reporter::new(&recipe.name, sink);
    reporter.report(Phase::Resolve, 0, 0);
    fs::create_dir_all(&config.cache).map_err(Error::write(&config.cache))?;
    let work = tempfile::tempdir_in(&config.cache).map_err(Error::write(&config.cache))?;
    let omitted = omitted(folder, base.as_ref());
    let image = Making {
        folder,
        config,
        base: base.as_ref(),
        apt: Apt::new(&config.apt, architecture()?, &config.cache, work.path(), &recipe.name)?,
        work: work.path(),
        omitted: &omitted,
    };
    let (layout, stored, candidates, cached) = image.make(&mut reporter)?;
    reporter.report(Phase::Done, 1, 1);
    let packages = image.all_packages(&candidates);
    Ok(Image { layout, stored, packages, omitted, cached })
}

/// The packages that the base and the recipe omit, except those that the recipe installs.
fn omitted(folder: &RecipeFolder, base: Option<&Image>) -> Vec<String> {
    let recipe = &folder.recipe;
    let mut omitted = base.map(|base| base.omitted.clone()).unwrap_or_default();
    omitted.extend(recipe.debian.omit.iter().cloned());
    omitted.retain(|name| !recipe.packages.debian.contains(name));
    omitted.sort();
    omitted.dedup();
    omitted
}

/// An image that is being built.
struct Making<'a> {
    folder: &'a RecipeFolder,
    config: &'a BuildConfig,
    base: Option<&'a Image>,
    apt: Apt<'a>,
    work: &'a Path,
    omitted: &'a [String],
}

impl Making<'_> {
    fn make(&self, reporter: &mut Reporter<'_>) -> Result<(Layout, Stored, Vec<Candidate>, bool), Error> {
        let wanted = &self.folder.recipe.packages.debian;
        let tags = tags(self.folder);
        let layout = Layout::at(self.config.catalog.join(&self.folder.recipe.name));
        let mut candidates = self.resolve()?;
        if let Some(stored) = layout.find(&self.inputs(&candidates), &tags)? {
            return Ok((layout, stored, candidates, true));
        }
        match self.apt.download(wanted, &candidates, reporter) {
            Err(Error::OutdatedLists { .. }) => {
                self.apt.update()?;
                candidates = self.resolve()?;
                self.apt.download(wanted, &candidates, reporter)?;
            }
            other => other?,
        }
        let inputs = self.inputs(&candidates);
        self.write(&layout, &candidates, &inputs, reporter)?;
        let stored = layout.find(&inputs, &tags)?.ok_or_else(|| Error::ReadCatalog {
            path: layout.root().to_owned(),
            source: std::io::Error::other("the image is gone right after it was written"),
        })?;
        Ok((layout, stored, candidates, false))
    }

    fn resolve(&self) -> Result<Vec<Candidate>, Error> {
        let base = self.base.map_or(&[][..], |base| &base.packages);
        let installed = Installed { base, omitted: self.omitted };
        self.apt.resolve(&self.folder.recipe.packages.debian, &installed)
    }

    fn all_packages(&self, candidates: &[Candidate]) -> Vec<Package> {
        let mut packages = self.base.map(|base| base.packages.clone()).unwrap_or_default();
        packages.extend(candidates.iter().map(|candidate| candidate.package.clone()));
        packages.sort();
        packages
    }

    /// A digest of all inputs of the image.
    fn inputs(&self, candidates: &[Candidate]) -> String {
        let mut hasher = FieldHasher::new(FORMAT);
        hasher.field(&LABEL_VERSION.to_be_bytes());
        hasher.field(self.folder.text.as_bytes());
        for (file, contents) in self.folder.recipe.files.iter().zip(&self.folder.contents) {
            hasher.field(file.to.as_bytes());
            hasher.field(digest(contents).as_bytes());
        }
        let epoch = self.config.source_date_epoch.map(|epoch| epoch.to_string()).unwrap_or_default();
        hasher.field(epoch.as_bytes());
        hasher.field(self.base.map_or("", |base| &base.stored.manifest.digest).as_bytes());
        for candidate in candidates {
            let Package { name, version, arch, sha256 } = &candidate.package;
            for part in [name, version, arch, sha256] {
                hasher.field(part.as_bytes());
            }
        }
        hasher.finish()
    }

    fn write(
        &self,
        layout: &Layout,
        candidates: &[Candidate],
        inputs: &str,
        reporter: &mut Reporter<'_>,
    ) -> Result<(), Error> {
        let (tree, spool, epoch) = self.tree(candidates, reporter)?;
        let mut spool = spool.into_file().map_err(Error::write(self.work))?;
        let blobs = layout.prepare()?;
        let mut out = tempfile::NamedTempFile::new_in(&blobs).map_err(Error::write(&blobs))?;
        let written = layer::write(&tree, &mut spool, out.as_file_mut(), |done, total| {
            reporter.report(Phase::Write, done, total);
        });
        let Layer { digest, diff_id, size } = written.map_err(Error::write(out.path()))?;
        layout.adopt(out, &digest)?;
        let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
        if let Some(base) = self.base {
            for layer in &base.stored.layers {
                layout.share(&base.layout, layer)?;
            }
            layers.clone_from(&base.stored.layers);
            diff_ids.clone_from(&base.stored.diff_ids);
        }
        layers.push(Descriptor { digest, size });
        diff_ids.push(diff_id);
        let created = jiff::Timestamp::from_second(epoch).map_err(|_| Error::Epoch(epoch))?.to_string();
        let parts = image_config::Parts { architecture: architecture()?, created: &created, diff_ids: &diff_ids };
        let document = image_config::document(&self.folder.recipe, &parts).map_err(|source| Error::Recipe {
            path: self.config.recipes.join(&self.folder.recipe.name),
            source: Box::new(source),
        })?;
        let annotations = annotations(self.folder, &created, &self.all_packages(candidates));
        layout.publish(&document, &layers, &annotations, inputs, &tags(self.folder))?;
        Ok(())
    }

    /// The layer's tree and the image's time.
    fn tree(&self, candidates: &[Candidate], reporter: &mut Reporter<'_>) -> Result<(Tree, Spool, i64), Error> {
        let mut spool = Spool::new(self.work)?;
        let mut tree = Tree::on(self.below()?);
        let filter = Filter::new(&self.folder.recipe.debian.exclude);
        let total = candidates.len() as u64;
        for (done, candidate) in (0u64..).zip(candidates) {
            reporter.report(Phase::Unpack, done, total);
            deb::unpack(&self.config.apt, &self.apt.archive(candidate), &filter, &mut tree, &mut spool)?;
        }
        reporter.report(Phase::Unpack, total, total);
        let epoch = self.epoch(tree.newest());
        Additions { folder: self.folder, tree: &mut tree, spool: &mut spool, is_base: self.base.is_none() }.apply()?;
        tree.clamp(epoch);
        Ok((tree, spool, epoch))
    }

    /// `SOURCE_DATE_EPOCH`, or the newest time in the packages of this image and its base.
    fn epoch(&self, newest: Option<i64>) -> i64 {
        let of_base = self.base.and_then(|base| base.stored.created.parse::<jiff::Timestamp>().ok());
        let of_base = of_base.map(jiff::Timestamp::as_second);
        self.config.source_date_epoch.or(newest.max(of_base)).unwrap_or(0)
    }

    fn below(&self) -> Result<Below, Error> {
        let mut below = Below::default();
        for layer in
            self.base.iter().flat_map(|base| base.stored.layers.iter().map(|layer| base.layout.blob(&layer.digest)))
        {
            let file = File::open(&layer).map_err(Error::read_catalog(&layer))?;
            layer::scan(&file, &mut below).map_err(Error::read_catalog(&layer))?;
        }
        Ok(below)
    }
}

fn annotations(folder: &RecipeFolder, created: &str, packages: &[Package]) -> Map<String, Value> {
    let mut annotations = Map::new();
    annotations.insert("org.opencontainers.image.title".to_owned(), json!(folder.recipe.name));
    annotations.insert("org.opencontainers.image.version".to_owned(), json!(folder.recipe.version));
    annotations.insert("org.opencontainers.image.created".to_owned(), json!(created));
    annotations.insert(PACKAGES.to_owned(), json!(json!(packages).to_string()));
    annotations
}

/// The name of the architecture, which is the same in OCI and in Debian for these.
fn architecture() -> Result<&'static str, Error> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        "riscv64" => Ok("riscv64"),
        other => Err(Error::Architecture(other)),
    }
}
