//! Measures nanocloud's keyspace beside Debian's etcd: the same client program, the same disk, in turns.
//!
//! `bench_keyspace --server SERVE --dir DIR [--rounds N] [--seconds N] [--keys N] [--clients N,...] [--only PART,...]` where
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
    server: PathBuf,
    dir: PathBuf,
    plan: Plan,
}

impl Arguments {
    fn parse() -> Result<Self, Failure> {
        let (mut server, mut dir, mut plan) = (None, None, Plan::default());
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
            match word.as_str() {
                "--server" => server = Some(PathBuf::from(value)),
                "--dir" => dir = Some(PathBuf::from(value)),
                "--rounds" => plan.rounds = value.parse()?,
                "--seconds" => plan.seconds = value.parse()?,
                "--keys" => plan.keys = value.parse()?,
                "--clients" => plan.clients = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
                "--only" => plan.only = value.split(',').map(str::to_owned).collect(),
                _ => return Err(format!("unknown option {word}").into()),
            }
        }
        let (server, dir) = (server.ok_or("name the server with --server")?, dir.ok_or("name a folder with --dir")?);
        Ok(Arguments { server, dir, plan })
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let Arguments { server, dir, plan } = Arguments::parse()?;
    std::fs::create_dir_all(&dir)?;
    let mut table = Table::default();
    if plan.wants("machine") {
        table.note(&format!("fdatasync of 256 bytes: {:.0} /s", machine::syncs_per_second(&dir)?));
        table.note(&format!("loopback round trips: {:.0} /s", machine::round_trips_per_second()?));
    }
    let server = Kind::EtcdServer(server);
    if plan.wants_of_one() {
        let mut pair = pair(&server, &dir, 1).await?;
        parts::all(&plan, &mut pair, &mut table).await?;
        end(pair)?;
    }
    if plan.wants("three") {
        let trio = pair(&server, &dir, 3).await?;
        parts::replicated(&plan, &trio, &mut table).await?;
        end(trio)?;
    }
    println!("{table}");
    Ok(())
}

async fn pair(server: &Kind, dir: &Path, members: usize) -> Result<[Server; 2], Failure> {
    Ok([Server::start(server.clone(), dir, members).await?, Server::start(Kind::Etcd, dir, members).await?])
}

fn end(pair: [Server; 2]) -> Result<(), Failure> {
    pair.into_iter().try_for_each(Server::end)
}
