//! `nanocloud get`: objects of any kind.

use api::{Kind, kinds};
use client::{DynamicApi, ListParams, WatchEvent, Watchable};
use futures::StreamExt;
use serde_json::Value;

use crate::{
    args::{Get, Output},
    context::Context,
    error::{Error, Result},
    exit::Exit,
    output,
};

/// Shows objects.
pub async fn run(context: &Context<'_>, args: &Get) -> Result<Exit> {
    let (kind, name) = match args.kind.split_once('/') {
        Some((kind, name)) => (kind, Some(name.to_owned())),
        None => (args.kind.as_str(), args.name.clone()),
    };
    if kind == "all" {
        return all(context, args).await;
    }
    let kind = find(kind)?;
    let namespaces = args.all_namespaces && kind.is_namespaced();
    let namespace = (!args.all_namespaces).then(|| context.namespace(&args.namespace));
    let api = DynamicApi::new(context.client.clone(), kind, namespace.as_deref());
    if let Some(name) = &name {
        if context.print_curl(&api.get_request(name)?) {
            return Ok(Exit::Done);
        }
        let found = api
            .get_opt(name)
            .await?
            .ok_or_else(|| client::Error::from(api::Status::not_found(&kind.resource(), name)))?;
        print!("{}", output::objects(kind, &[found], args.output, namespaces, true)?);
        return Ok(Exit::Done);
    }
    let params = params(args);
    if context.print_curl(&api.list_request(&params)?) {
        return Ok(Exit::Done);
    }
    let (items, revision) = api.list_all(&params).await?;
    if items.is_empty() && !args.watch && matches!(args.output, Output::Table | Output::Wide) {
        let place =
            namespace.filter(|_| kind.is_namespaced()).map(|name| format!(" in namespace {name}")).unwrap_or_default();
        eprintln!("no {} found{place}", kind.plural());
        return Ok(Exit::Done);
    }
    print!("{}", output::objects(kind, &items, args.output, namespaces, false)?);
    if args.watch {
        return watch(&api, &params, &revision, args.output, namespaces).await;
    }
    Ok(Exit::Done)
}

/// The kind a person means.
pub fn find(name: &str) -> Result<&'static Kind> {
    kinds::find(name).ok_or_else(|| {
        let known: Vec<_> = kinds::all().iter().map(|kind| kind.plural()).collect();
        Error::usage("KIND", format!("there is no kind {name:?}"), format!("use one of {}", known.join(", ")))
    })
}

fn params(args: &Get) -> ListParams {
    ListParams { labels: args.selector.clone(), fields: args.field_selector.clone(), ..ListParams::default() }
}

async fn all(context: &Context<'_>, args: &Get) -> Result<Exit> {
    let namespace = (!args.all_namespaces).then(|| context.namespace(&args.namespace));
    let mut first = true;
    for kind in kinds::all().iter().filter(|kind| kind.categories().iter().any(|name| name == "all")) {
        let api = DynamicApi::new(context.client.clone(), kind, namespace.as_deref());
        let (items, _) = api.list_all(&params(args)).await?;
        if items.is_empty() {
            continue;
        }
        let gap = if first { "" } else { "\n" };
        first = false;
        print!("{gap}{}:\n{}", kind.plural(), output::objects(kind, &items, args.output, args.all_namespaces, false)?);
    }
    if first {
        eprintln!("nothing found");
    }
    Ok(Exit::Done)
}

async fn watch(api: &DynamicApi, params: &ListParams, from: &str, form: Output, namespaces: bool) -> Result<Exit> {
    let mut revision = from.to_owned();
    loop {
        let mut events = api.watch_objects(params, &revision).await?;
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                _ = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted),
            };
            match event {
                None => break,
                Some(Ok(WatchEvent::Bookmark(at))) => revision = at,
                Some(Ok(WatchEvent::Added(item) | WatchEvent::Modified(item) | WatchEvent::Deleted(item))) => {
                    revision = DynamicApi::revision(&item).unwrap_or(revision);
                    print!("{}", line(api.kind(), &item, form, namespaces)?);
                }
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }
}

fn line(kind: &Kind, item: &Value, form: Output, namespaces: bool) -> Result<String> {
    match form {
        Output::Table | Output::Wide => {
            Ok(output::row(kind, item, form == Output::Wide, namespaces).join("   ") + "\n")
        }
        _ => output::objects(kind, std::slice::from_ref(item), form, namespaces, true),
    }
}
