//! `nanocloud logs`.

use std::io::Write;

use api::{ObjectKey, kinds::Pod};
use client::{Api, LogParams};
use futures::StreamExt;

use crate::{
    args::{Logs, Namespace},
    context::Context,
    error::{Error, Result},
    exit::Exit,
};

/// Prints a container's log.
pub async fn run(context: &Context<'_>, args: &Logs) -> Result<Exit> {
    let params = LogParams {
        container: args.container.clone(),
        follow: args.follow,
        tail_lines: args.tail,
        since_seconds: args.since.map(|since| since.as_secs()),
        timestamps: args.timestamps,
        previous: args.previous,
    };
    let api: Api<Pod> = context.api(&args.namespace);
    if context.print_curl(&api.logs_request(&format!("{}-0", args.name), &params)?) {
        return Ok(Exit::Done);
    }
    let pod = pod_of(context, &args.namespace, &args.name).await?;
    let mut lines = api.logs(&pod, &params).await?;
    let mut out = std::io::stdout().lock();
    loop {
        let line = tokio::select! {
            line = lines.next() => line,
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted),
        };
        let Some(line) = line else { return Ok(Exit::Done) };
        let written = out.write_all(&line?).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
        match written {
            // `nanocloud logs x | head` ends the reader first; that is no error.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(Exit::Done),
            other => other.map_err(|error| Error::io("write to standard output", error))?,
        }
    }
}

/// The pod a name means: the pod itself, or the first pod of the service.
pub async fn pod_of(context: &Context<'_>, namespace: &Namespace, name: &str) -> Result<String> {
    let api: Api<Pod> = context.api(namespace);
    for candidate in [format!("{name}-0"), name.to_owned()] {
        if let Some(pod) = api.get_opt(&candidate).await? {
            return Ok(ObjectKey::of(&pod).name);
        }
    }
    Err(Error::Outcome {
        what: format!("there is no service or pod {name:?} in namespace {}", context.namespace(namespace)),
        remedy: "see `nanocloud status -A` and `nanocloud get pods -A`".into(),
        exit: Exit::Failed,
    })
}
