//! `nanocloud start`, `stop`, `restart` and `uninstall`.

use api::kinds::{Bundle, bundle::KEEP_VOLUMES};
use client::{Api, DeleteParams, ListParams, WatchEvent};
use futures::StreamExt;
use http::Method;
use serde_json::json;

use crate::{
    args::{Service, Uninstall},
    context::Context,
    error::{Error, Result},
    exit::Exit,
};

/// Starts, stops or restarts a service.
pub async fn act(context: &Context<'_>, args: &Service, action: &'static str) -> Result<Exit> {
    let api: Api<Bundle> = context.api(&args.namespace);
    let request = api.call_request(Method::POST, &args.service, &format!("actions/{action}"), &json!({}))?;
    if context.send_http(request).await?.is_some() {
        let done = match action {
            "start" => "is started",
            "stop" => "is stopped; its volumes stay",
            _ => "is restarted",
        };
        println!("{} {done}; see `nanocloud status {0}`", args.service);
    }
    Ok(Exit::Done)
}

/// Removes a service and waits until nothing of it is left.
pub async fn uninstall(context: &Context<'_>, args: &Uninstall) -> Result<Exit> {
    let api: Api<Bundle> = context.api(&args.namespace);
    let params = DeleteParams { propagation_policy: Some(client::Propagation::Foreground), ..DeleteParams::default() };
    if context.print_curl(&api.delete_request(&args.service, &params)?) {
        return Ok(Exit::Done);
    }
    let Some(bundle) = api.get_opt(&args.service).await? else {
        println!("{} is not installed", args.service);
        return Ok(Exit::Done);
    };
    if args.keep_volumes {
        let keep = json!({"metadata": {"annotations": {KEEP_VOLUMES: "true"}}});
        api.patch_merge(&args.service, &keep).await?;
    }
    api.delete_opt(&args.service, &params.uid(bundle.metadata.uid.clone().unwrap_or_default())).await?;
    if args.no_wait {
        println!("{} is being removed", args.service);
        return Ok(Exit::Done);
    }
    match tokio::time::timeout(args.timeout, until_gone(&api, &bundle)).await {
        Ok(gone) => gone?,
        Err(_) => {
            return Err(Error::Outcome {
                what: format!("{} is not gone after {}", args.service, humantime::format_duration(args.timeout)),
                remedy: format!("the server goes on with it; see `nanocloud status {}`", args.service),
                exit: Exit::TimedOut,
            });
        }
    }
    println!("{} is uninstalled{}", args.service, if args.keep_volumes { "; its volumes are kept" } else { "" });
    Ok(Exit::Done)
}

/// Waits until that bundle, and not only its service, is gone: then its name is free.
pub(super) async fn until_gone(api: &Api<Bundle>, bundle: &Bundle) -> Result<()> {
    let name = bundle.metadata.name.clone().unwrap_or_default();
    let params = ListParams::default().fields(format!("metadata.name={name}"));
    loop {
        let list = api.list(&params).await?;
        if !list.items.iter().any(|found| found.metadata.uid == bundle.metadata.uid) {
            return Ok(());
        }
        let mut events = api.watch(&params, &list.resource_version).await?;
        while let Some(Ok(event)) = events.next().await {
            if matches!(event, WatchEvent::Deleted(_)) {
                return Ok(());
            }
        }
    }
}
