//! Builds images: `build_image <recipes> <catalog> <cache> [name…]`, all of them without a name.

use std::path::PathBuf;
use std::process::ExitCode;

use imagebuilder::{AptConfig, BuildConfig, Error, Phase, RecipeFolder};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (Some(recipes), Some(catalog), Some(cache)) = (args.next(), args.next(), args.next()) else {
        eprintln!("usage: build_image <recipes> <catalog> <cache> [name…]");
        return ExitCode::from(64);
    };
    let config = BuildConfig {
        recipes: PathBuf::from(recipes),
        catalog: PathBuf::from(catalog),
        cache: PathBuf::from(cache),
        apt: AptConfig::default(),
        source_date_epoch: None,
    };
    match run(&config, args.collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut source: Option<&dyn std::error::Error> = Some(&error);
            while let Some(error) = source {
                eprintln!("{error}");
                source = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run(config: &BuildConfig, mut names: Vec<String>) -> Result<(), Error> {
    if names.is_empty() {
        names = RecipeFolder::names(&config.recipes)?;
    }
    for name in names {
        let folder = RecipeFolder::load(&config.recipes, &name)?;
        let mut last = Phase::Done;
        let built = imagebuilder::build(&folder, config, &mut |progress| {
            if progress.phase != last {
                eprintln!("{}: {:?}", progress.image, progress.phase);
                last = progress.phase;
            }
        })?;
        let from = if built.cached { "found" } else { "built" };
        println!("{} {from} {} ({} packages, {} bytes)", built.name, built.digest, built.packages, built.size_bytes);
    }
    Ok(())
}
