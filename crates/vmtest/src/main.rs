//! `vmtest`: guests for scripts.

use std::{
    env, io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use serde_json::json;
use vmtest::{Debian, Error, Lab, Result, VARIABLE, detect, disk_from_folder, serve};

const USAGE: &str = "usage:
  vmtest accelerator CACHE                 prints kvm or tcg
  vmtest image CACHE FOLDER tiny           makes a guest of kernel and agent, prints it as JSON
  vmtest image CACHE FOLDER systemd [PACKAGE...]
  vmtest disk FOLDER FILE MIB              makes a disk of a folder
  vmtest serve CACHE NAME ARTIFACTS        guests for a script, JSON lines on standard input and output";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vmtest: {error}");
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                eprintln!("  {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["accelerator", cache] => {
            println!("{}", choose(&debian(cache)?)?);
            Ok(())
        }
        ["image", cache, folder, "tiny"] => print(&debian(cache)?.tiny(&absolute(folder)?)?),
        ["image", cache, folder, "systemd", ..] => print(&debian(cache)?.systemd(&absolute(folder)?, &arguments[4..])?),
        ["disk", folder, file, mib] => {
            let mib = mib.parse().map_err(|_| Error::Request(format!("{mib} is no size in MiB")))?;
            disk_from_folder(Path::new(folder), Path::new(file), mib)
        }
        ["serve", cache, name, artifacts] => {
            let accelerator = choose(&debian(cache)?)?;
            let lab = Arc::new(Lab::new(name, &absolute(artifacts)?, accelerator)?);
            serve::serve(lab, io::stdin().lock(), io::stdout())
        }
        _ => Err(Error::Request(USAGE.into())),
    }
}

fn choose(debian: &Debian) -> Result<vmtest::Accelerator> {
    #[expect(clippy::disallowed_methods, reason = "a program reads its own environment")]
    detect(env::var(VARIABLE).ok().as_deref(), debian)
}

fn print(image: &vmtest::Image) -> Result<()> {
    println!("{}", json!(image));
    Ok(())
}

/// Images are made with the agent beside this program.
fn debian(cache: &str) -> Result<Debian> {
    let own = env::current_exe().map_err(|source| Error::Spawn { program: "vmtest".into(), source })?;
    Ok(Debian::new(&absolute(cache)?, &own.with_file_name("vmtest-agent")))
}

fn absolute(path: &str) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|source| Error::File { action: "resolve", path: path.into(), source })
}
