//! `nanocloud events`.

use api::{
    Kind,
    kinds::{Event, event::last_seen},
};
use client::{Api, ListParams, WatchEvent};
use futures::StreamExt;
use jiff::Timestamp;

use crate::{
    args::{Events, Output},
    context::Context,
    error::Result,
    exit::Exit,
    note, out, outln,
    output::{self, Table},
};

/// Shows events, oldest first.
pub async fn run(context: &Context<'_>, args: &Events) -> Result<Exit> {
    let api: Api<Event> =
        if args.all_namespaces { Api::all(context.client.clone()) } else { context.api(&args.namespace) };
    let params = ListParams { fields: fields(args), ..ListParams::default() };
    let list = api.list_all(&params).await?;
    let mut events: Vec<_> = list.items.into_iter().filter(|event| wanted(event, args, Timestamp::now())).collect();
    events.sort_by_key(last_seen);
    if let Some(limit) = args.limit {
        events.drain(..events.len().saturating_sub(limit));
    }
    let mut table = Table::new(["last seen", "type", "reason", "object", "count", "message"]);
    if matches!(args.output, Output::Table | Output::Wide) {
        if events.is_empty() && !args.follow {
            note!("no events found");
            return Ok(Exit::Done);
        }
        events.iter().for_each(|event| table.row(cells(event)));
        out!("{}", table.render())?;
    } else {
        let items: Vec<_> = events.iter().map(api::encode).collect();
        out!("{}", output::objects(&Kind::of::<Event>(), &items, args.output, args.all_namespaces, false)?)?;
    }
    if args.follow {
        return follow(&api, &params, &list.resource_version, args, table).await;
    }
    Ok(Exit::Done)
}

/// The field selector: the part of the filter that the server can apply.
fn fields(args: &Events) -> Option<String> {
    let mut terms = Vec::new();
    // A field selector can only compare with one value.
    if let [reason] = &args.reason[..] {
        terms.push(format!("reason={reason}"));
    }
    terms.extend(args.level.iter().map(|level| format!("type={level}")));
    (!terms.is_empty()).then(|| terms.join(","))
}

/// The part of the filter that only the client can apply: objects of a bundle, several reasons, and age.
fn wanted(event: &Event, args: &Events, now: Timestamp) -> bool {
    let object = event.involved_object.name.as_deref().unwrap_or_default();
    let belongs = |bundle: &String| {
        object == bundle || object.strip_prefix(bundle.as_str()).is_some_and(|rest| rest.starts_with('-'))
    };
    let recent = |since: std::time::Duration| {
        last_seen(event).is_some_and(|then| now.duration_since(then).unsigned_abs() <= since)
    };
    let reason = event.reason.as_deref().unwrap_or_default();
    let named = args.reason.is_empty() || args.reason.iter().any(|wanted| wanted == reason);
    named && args.bundle.as_ref().is_none_or(belongs) && args.since.is_none_or(recent)
}

fn cells(event: &Event) -> Vec<String> {
    let word = |text: &Option<String>| text.clone().unwrap_or_default();
    let age = last_seen(event).map(|then| api::human_age(Timestamp::now(), then)).unwrap_or_default();
    let kind = word(&event.involved_object.kind).to_lowercase();
    let object = format!("{kind}/{}", word(&event.involved_object.name));
    let count = event.count.unwrap_or(1).to_string();
    vec![age, word(&event.type_), word(&event.reason), object, count, word(&event.message)]
}

async fn follow(api: &Api<Event>, params: &ListParams, from: &str, args: &Events, mut printed: Table) -> Result<Exit> {
    let mut revision = from.to_owned();
    loop {
        let mut changes = api.watch(params, &revision).await?;
        while let Some(change) = changes.next().await {
            match change? {
                WatchEvent::Bookmark(at) => revision = at,
                WatchEvent::Deleted(_) => {}
                WatchEvent::Added(event) | WatchEvent::Modified(event) => {
                    revision = event.metadata.resource_version.clone().unwrap_or(revision);
                    if wanted(&event, args, Timestamp::now()) {
                        print_one(&event, args.output, &mut printed)?;
                    }
                }
            }
        }
    }
}

fn print_one(event: &Event, form: Output, printed: &mut Table) -> Result<()> {
    match form {
        Output::Json => outln!("{}", api::encode(event)),
        Output::Yaml => out!("---\n{}", output::document(&api::encode(event), form)?),
        Output::Name => outln!("events/{}", event.metadata.name.as_deref().unwrap_or_default()),
        Output::Table | Output::Wide => out!("{}", printed.further(cells(event))),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::args::{Cli, Verb};

    fn args(words: &[&str]) -> Events {
        match Cli::try_parse_from(["nanocloud", "events"].iter().chain(words)).unwrap().verb {
            Verb::Events(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_server_selects_reasons_and_the_client_bundles_and_time() {
        assert_eq!(
            fields(&args(&["--reason", "Started", "--level", "Warning"])).as_deref(),
            Some("reason=Started,type=Warning")
        );
        assert_eq!(fields(&args(&[])), None);
        let event: Event = api::decode(json!({
            "metadata": {"name": "e"}, "involvedObject": {"name": "web-0"}, "lastTimestamp": "1970-01-01T00:00:00Z",
            "reason": "Started",
        }))
        .unwrap();
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        assert!(wanted(&event, &args(&["--bundle", "web", "--since", "1m"]), at(59)));
        assert!(!wanted(&event, &args(&["--bundle", "web", "--since", "1m"]), at(61)));
        assert!(!wanted(&event, &args(&["--bundle", "we"]), at(0)));
        let several = args(&["--reason", "Started,Killing", "--level", "Normal"]);
        assert_eq!(fields(&several).as_deref(), Some("type=Normal"), "the client selects by several reasons");
        assert!(wanted(&event, &several, at(0)));
        assert!(!wanted(&event, &args(&["--reason", "Killing,Failed"]), at(0)));
    }
}
