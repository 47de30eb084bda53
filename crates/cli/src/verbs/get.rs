//! `nanocloud get`: objects of any kind.

use api::{Kind, Kinds};
use client::{DynamicApi, ListParams, WatchEvent, Watchable};
use futures::StreamExt;
use serde_json::Value;

use crate::{
    args::{Get, Output},
    context::{Context, unless_rehearsed},
    error::{Error, Result},
    exit::Exit,
    note, out, output,
};

/// Similarity above which a kind is suggested for a mistyped one.
const ALIKE_PERCENT: u8 = 80;
/// The category that stands for several kinds.
const ALL: &str = "all";

/// Shows objects.
pub async fn run(context: &Context<'_>, args: &Get) -> Result<Exit> {
    let (kind, name) = match args.kind.split_once('/') {
        Some((kind, name)) => (kind, Some(name.to_owned())),
        None => (args.kind.as_str(), args.name.clone()),
    };
    let is_known = |kinds: &Kinds| kind == ALL || kind.split(',').all(|word| kinds.find(word).is_some());
    let kinds = context.kinds(is_known).await;
    match several(&kinds, kind)? {
        Some(_) if args.watch => {
            return Err(Error::usage("--watch", "objects of one kind can be watched", "name one kind"));
        }
        Some(kinds) if name.is_none() => return all(context, args, &kinds).await,
        Some(_) => return Err(Error::usage("NAME", "a name is of one kind", "write KIND NAME or KIND/NAME")),
        None => {}
    }
    let kind = find(&kinds, kind)?;
    let namespaces = args.all_namespaces && kind.is_namespaced();
    let namespace = (!args.all_namespaces).then(|| context.namespace(&args.namespace));
    let api = DynamicApi::new(context.client.clone(), kind, namespace.as_deref());
    if let Some(name) = &name {
        let found = api
            .get_opt(name)
            .await?
            .ok_or_else(|| client::Error::from(api::Status::not_found(&kind.resource(), name)))?;
        out!("{}", output::objects(kind, &[found], args.output, namespaces, true)?)?;
        return Ok(Exit::Done);
    }
    let params = params(args);
    let (items, revision) = api.list_all(&params).await?;
    if items.is_empty() && !args.watch && matches!(args.output, Output::Table | Output::Wide) {
        let place =
            namespace.filter(|_| kind.is_namespaced()).map(|name| format!(" in namespace {name}")).unwrap_or_default();
        note!("no {} found{place}", kind.plural());
        return Ok(Exit::Done);
    }
    out!("{}", output::objects(kind, &items, args.output, namespaces, false)?)?;
    if args.watch {
        let mut printed = output::table(kind, &items, args.output == Output::Wide, namespaces);
        let line = |item: &Value| match args.output {
            Output::Table | Output::Wide => {
                Ok(printed.further(output::row(kind, item, args.output == Output::Wide, namespaces)))
            }
            form => output::objects(kind, std::slice::from_ref(item), form, namespaces, true),
        };
        return watch(&api, &params, &revision, line).await;
    }
    Ok(Exit::Done)
}

/// The kinds of `all`, or of a comma-separated list.
fn several<'a>(kinds: &'a Kinds, words: &str) -> Result<Option<Vec<&'a Kind>>> {
    if words == ALL {
        let has = |kind: &&Kind| kind.categories().iter().any(|name| name == ALL);
        return Ok(Some(kinds.iter().filter(has).collect()));
    }
    words.contains(',').then(|| words.split(',').map(|word| find(kinds, word)).collect()).transpose()
}

/// The kind with this name or short name.
pub fn find<'a>(kinds: &'a Kinds, name: &str) -> Result<&'a Kind> {
    kinds.find(name).ok_or_else(|| {
        let known = || kinds.iter().map(|kind| kind.plural());
        let likeness = |kind: &&str| (strsim::jaro_winkler(name, kind) * 100.0) as u8;
        let remedy = match known().max_by_key(likeness).filter(|kind| likeness(kind) >= ALIKE_PERCENT) {
            Some(kind) => format!("did you mean {kind}?"),
            None => format!("use one of {}", known().collect::<Vec<_>>().join(", ")),
        };
        Error::usage("KIND", format!("there is no kind {name:?}"), remedy)
    })
}

fn params(args: &Get) -> ListParams {
    ListParams { labels: args.selector.clone(), fields: args.field_selector.clone(), ..ListParams::default() }
}

async fn all(context: &Context<'_>, args: &Get, kinds: &[&Kind]) -> Result<Exit> {
    let namespace = (!args.all_namespaces).then(|| context.namespace(&args.namespace));
    let mut first = true;
    for kind in kinds {
        let api = DynamicApi::new(context.client.clone(), kind, namespace.as_deref());
        let listed = unless_rehearsed(api.list_all(&params(args)).await)?;
        let Some((items, _)) = listed.filter(|(items, _)| !items.is_empty()) else { continue };
        let gap = if first { "" } else { "\n" };
        first = false;
        let text = output::objects(kind, &items, args.output, args.all_namespaces, false)?;
        out!("{gap}{}:\n{text}", kind.plural())?;
    }
    if first && !context.global.curl {
        note!("nothing found");
    }
    Ok(Exit::Done)
}

async fn watch(
    api: &DynamicApi,
    params: &ListParams,
    from: &str,
    mut line: impl FnMut(&Value) -> Result<String>,
) -> Result<Exit> {
    let mut revision = from.to_owned();
    loop {
        let mut events = api.watch_objects(params, &revision).await?;
        while let Some(event) = events.next().await {
            match event? {
                WatchEvent::Bookmark(at) => revision = at,
                WatchEvent::Added(item) | WatchEvent::Modified(item) | WatchEvent::Deleted(item) => {
                    revision = DynamicApi::revision(&item).unwrap_or(revision);
                    out!("{}", line(&item)?)?;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_kind_is_corrected() {
        let remedy = |word: &str| find(&Kinds::builtin(), word).unwrap_err().remedy();
        for (word, meant) in [("podz", "pods"), ("servces", "services"), ("stateful-sets", "statefulsets")] {
            assert_eq!(remedy(word), format!("did you mean {meant}?"));
        }
        assert!(remedy("xyz").contains("use one of") && remedy("xyz").contains("bundles"));
    }

    #[test]
    fn kinds_are_listed_with_commas() {
        let kinds = Kinds::builtin();
        let names = |words| {
            several(&kinds, words).unwrap().map(|kinds| kinds.iter().map(|kind| kind.plural()).collect::<Vec<_>>())
        };
        assert_eq!(names("po,svc"), Some(vec!["pods", "services"]));
        assert_eq!(names("pods"), None);
        assert!(names("all").unwrap().contains(&"bundles"));
        assert!(several(&kinds, "pods,").is_err());
    }
}
