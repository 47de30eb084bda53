//! `nanocloud logs`.

use api::{ObjectKey, kinds::Pod};
use client::{Api, LogParams};
use futures::StreamExt;

use crate::{
    args::{Logs, Namespace},
    context::Context,
    error::{Error, Result},
    exit::Exit,
    print::bytes,
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
    let pod = pod_of(context, &args.namespace, &args.name).await?;
    let mut lines = api.logs(&pod, &params).await?;
    while let Some(line) = lines.next().await {
        bytes(&[&line?[..], b"\n"].concat())?;
    }
    Ok(Exit::Done)
}

/// The pod for a name: the first pod of the service, or the pod itself. With `--curl` the server is not asked, and a
/// name that ends with a number is taken for a pod's.
pub async fn pod_of(context: &Context<'_>, namespace: &Namespace, name: &str) -> Result<String> {
    if context.global.curl {
        let numbered = name.rsplit_once('-').is_some_and(|(_, number)| number.parse::<u32>().is_ok());
        return Ok(if numbered { name.to_owned() } else { format!("{name}-0") });
    }
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
