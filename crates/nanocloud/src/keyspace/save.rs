//! Saving a snapshot: it is written to a temporary file, checked, and renamed.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use bytes::Bytes;
use cli::args::Global;
use http_body_util::BodyExt;
use keyspace::snapshot::{self, Summary};

use crate::sources::Machine;

/// A file to be written.
pub struct Target {
    path: PathBuf,
    partial: PathBuf,
}

/// Removes an unfinished file.
struct Unfinished<'t>(&'t Path);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        // After the rename there is nothing left to remove.
        let _ = fs::remove_file(self.0);
    }
}

impl Target {
    /// A new file, or an existing one that may be replaced.
    pub fn new(path: &Path, replace: bool) -> anyhow::Result<Self> {
        if !replace && path.exists() {
            bail!("{} already exists: choose another file, or overwrite it with --force", path.display());
        }
        let name = path.file_name().with_context(|| format!("{} is not a file name", path.display()))?;
        let mut partial = name.to_owned();
        partial.push(format!(".{}.partial", std::process::id()));
        Ok(Self { path: path.to_owned(), partial: path.with_file_name(partial) })
    }

    /// Saves the snapshot that the running server streams.
    pub async fn fetch(&self, global: &Global) -> anyhow::Result<Summary> {
        let client = cli::connect(global, &Machine { global: global.clone() })?;
        let request = cli::request::Request::get(cli::SNAPSHOT_PATH).http()?;
        let mut body = client.stream(request).await.map_err(cli::Error::from)?.into_body();
        let _unfinished = Unfinished(&self.partial);
        let mut out = self.create()?;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                anyhow::anyhow!(error).context("the connection ended before the snapshot was complete")
            })?;
            if let Ok(piece) = frame.into_data() {
                self.write(&mut out, &piece)?;
            }
        }
        self.publish(out)
    }

    /// Saves the keyspace of a stopped server.
    pub async fn copy_directory(&self, dir: PathBuf) -> anyhow::Result<Summary> {
        let _unfinished = Unfinished(&self.partial);
        let mut out = self.create()?;
        let mut failed: Option<anyhow::Error> = None;
        let mut sink = |piece| {
            self.write(&mut out, &piece).map_err(|error| {
                let source = std::sync::Arc::new(std::io::Error::other(format!("{error:#}")));
                failed = Some(error);
                keyspace::EngineError::Io { operation: "write the snapshot", source }
            })
        };
        let saved = replica::save(&dir, &mut sink).await;
        // The write error is more specific than the error of the save that it caused.
        match failed {
            Some(error) => return Err(error),
            None => saved?,
        }
        self.publish(out)
    }

    fn create(&self) -> anyhow::Result<BufWriter<File>> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&self.partial);
        Ok(BufWriter::new(file.with_context(|| self.failed())?))
    }

    fn write(&self, out: &mut BufWriter<File>, piece: &Bytes) -> anyhow::Result<()> {
        out.write_all(piece).with_context(|| self.failed())
    }

    /// Checks the digest of the written file, syncs it and renames it.
    fn publish(&self, out: BufWriter<File>) -> anyhow::Result<Summary> {
        let file = out.into_inner().map_err(std::io::IntoInnerError::into_error).with_context(|| self.failed())?;
        file.sync_all().with_context(|| self.failed())?;
        let written = File::open(&self.partial).with_context(|| self.failed())?;
        let summary = snapshot::status(written).context("the snapshot is incomplete and was not kept")?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::rename(&self.partial, &self.path)
            .and_then(|()| File::open(folder)?.sync_all())
            .with_context(|| self.failed())?;
        Ok(summary)
    }

    fn failed(&self) -> String {
        format!("cannot write {}", self.path.display())
    }
}
