//! Measures nanocloud's keyspace beside Debian's etcd: the same client program, the same disk, in turns.
//!
//! `bench_keyspace --face SERVE --dir DIR [--rounds N] [--seconds N] [--keys N] [--clients N,...] [--only PART,...]` where
//! SERVE is the program of the example `serve`. Prints a table in Markdown. `make bench-keyspace` runs it.

mod client;
mod machine;
mod parts;
mod servers;
mod table;

use std::path::{Path, PathBuf};

use parts::Plan;
use servers::{Kind, Server};
use table::Table;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What the command line says.
struct Arguments {
    face: PathBuf,
    dir: PathBuf,
    plan: Plan,
}

impl Arguments {
    fn parse() -> Result<Self, Failure> {
        let (mut face, mut dir, mut plan) = (None, None, Plan::default());
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
            match word.as_str() {
                "--face" => face = Some(PathBuf::from(value)),
                "--dir" => dir = Some(PathBuf::from(value)),
                "--rounds" => plan.rounds = value.parse()?,
                "--seconds" => plan.seconds = value.parse()?,
                "--keys" => plan.keys = value.parse()?,
                "--clients" => plan.clients = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
                "--only" => plan.only = value.split(',').map(str::to_owned).collect(),
                _ => return Err(format!("unknown option {word}").into()),
            }
        }
        let (face, dir) = (face.ok_or("name the server with --face")?, dir.ok_or("name a folder with --dir")?);
        Ok(Arguments { face, dir, plan })
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let Arguments { face, dir, plan } = Arguments::parse()?;
    std::fs::create_dir_all(&dir)?;
    let mut table = Table::default();
    if plan.wants("machine") {
        table.note(&format!("fdatasync of 256 bytes: {:.0} /s", machine::syncs_per_second(&dir)?));
        table.note(&format!("loopback round trips: {:.0} /s", machine::round_trips_per_second()?));
    }
    let face = Kind::EtcdServer(face);
    if plan.wants_of_one() {
        let mut pair = pair(&face, &dir, 1).await?;
        parts::all(&plan, &mut pair, &mut table).await?;
        end(pair)?;
    }
    if plan.wants("three") {
        let trio = pair(&face, &dir, 3).await?;
        parts::replicated(&plan, &trio, &mut table).await?;
        end(trio)?;
    }
    println!("{table}");
    Ok(())
}

async fn pair(face: &Kind, dir: &Path, members: usize) -> Result<[Server; 2], Failure> {
    Ok([Server::start(face.clone(), dir, members).await?, Server::start(Kind::Etcd, dir, members).await?])
}

fn end(pair: [Server; 2]) -> Result<(), Failure> {
    pair.into_iter().try_for_each(Server::end)
}
