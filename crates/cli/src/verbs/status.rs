//! `nanocloud status`: a table of all services, or the details of one.

use api::kinds::{Binding, Bundle, Event, Pod, bundle::CONDITIONS, event::last_seen, pod};
use client::{Api, ListParams};
use jiff::Timestamp;

use crate::{
    args::{Output, Status},
    context::Context,
    error::Result,
    exit::Exit,
    out,
    output::{self, Table},
};

/// Number of events shown for a service.
const EVENTS: usize = 8;
/// Printed for an empty value, as by kubectl.
const NONE: &str = "<none>";
/// Number of log lines shown for a crashed container.
const LAST_LINES: usize = 5;

/// Shows services.
pub async fn run(context: &Context<'_>, args: &Status) -> Result<Exit> {
    let text = match &args.service {
        Some(name) => one(context, args, name).await?,
        None => all(context, args).await?,
    };
    out!("{text}")?;
    Ok(Exit::Done)
}

async fn all(context: &Context<'_>, args: &Status) -> Result<String> {
    let api: Api<Bundle> =
        if args.all_namespaces { Api::all(context.client.clone()) } else { context.api(&args.namespace) };
    let bundles = api.list_all(&ListParams::default()).await?.items;
    if bundles.is_empty() && matches!(args.output, Output::Table | Output::Wide) {
        return Ok("nothing is installed; try `nanocloud install redis`\n".into());
    }
    let items: Vec<_> = bundles.iter().map(api::encode).collect();
    let kind = api::Kind::of::<Bundle>();
    output::objects(&kind, &items, args.output, args.all_namespaces, false)
}

async fn one(context: &Context<'_>, args: &Status, name: &str) -> Result<String> {
    let api = context.api::<Bundle>(&args.namespace);
    let bundle = api.get(name).await?;
    if matches!(args.output, Output::Json | Output::Yaml) {
        return output::document(&api::encode(&bundle), args.output);
    }
    let label = ListParams::default().labels(format!("{}={name}", api::names::label::INSTANCE));
    let pods = context.api::<Pod>(&args.namespace).list_all(&label).await?.items;
    let bindings = context.api::<Binding>(&args.namespace).list_all(&ListParams::default()).await?.items;
    let events = context.api::<Event>(&args.namespace).list_all(&ListParams::default()).await?.items;
    Ok(describe(&bundle, &pods, &bindings, &events, Timestamp::now()))
}

/// The details of a service.
fn describe(bundle: &Bundle, pods: &[Pod], bindings: &[Binding], events: &[Event], now: Timestamp) -> String {
    let name = bundle.metadata.name.as_deref().unwrap_or_default();
    let status = bundle.status.clone().unwrap_or_default();
    let profile = status.profile.unwrap_or_default();
    let or_none = |text: String| if text.is_empty() { NONE.to_owned() } else { text };
    let (image, endpoints) = (or_none(profile.image), or_none(status.endpoints.join("  ")));
    let mut text = format!("Service:    {}\nImage:      {image}\n", bundle.spec.service);
    text += &format!("Endpoints:  {endpoints}\n\nConditions:\n");
    let mut table = Table::new(["  type", "status", "reason", "age", "message"]);
    for condition in CONDITIONS.iter().filter_map(|wanted| bundle.condition(wanted)) {
        let age = api::human_age(now, condition.last_transition_time.0);
        table.row([
            format!("  {}", condition.type_),
            condition.status.clone(),
            condition.reason.clone(),
            age,
            condition.message.clone(),
        ]);
    }
    text += &table.render();
    let mine: Vec<_> = bindings.iter().filter(|binding| binding.spec.bundle == name).collect();
    if !mine.is_empty() {
        let mut table = Table::new(["  binding", "target", "phase", "attempts"]);
        for binding in mine {
            let attempts = binding.status.as_ref().map_or(0, |status| status.attempts).to_string();
            let phase = format!("{:?}", binding.phase());
            table.row([format!("  {}", binding.spec.binding_id), binding.spec.target.bundle.clone(), phase, attempts]);
        }
        text += &format!("\nBindings:\n{}", table.render());
    }
    text += &format!("\nPods:\n{}", pod_table(pods));
    text += &crashes(pods);
    text + &recent(name, events, now)
}

fn pod_table(pods: &[Pod]) -> String {
    if pods.is_empty() {
        return format!("  {NONE}\n");
    }
    let mut table = Table::new(["  name", "status", "restarts", "ip"]);
    for pod in pods {
        let status = pod.status.clone().unwrap_or_default();
        let restarts: i32 = status.container_statuses.iter().flatten().map(|container| container.restart_count).sum();
        let name = pod.metadata.name.clone().unwrap_or_default();
        table.row([format!("  {name}"), pod::summary(pod), restarts.to_string(), status.pod_ip.unwrap_or_default()]);
    }
    table.render()
}

/// The last log lines of containers that failed.
fn crashes(pods: &[Pod]) -> String {
    let containers =
        pods.iter().flat_map(|pod| pod.status.iter()).flat_map(|status| status.container_statuses.iter().flatten());
    let mut text = String::new();
    for container in containers {
        let ended =
            container.last_state.as_ref().or(container.state.as_ref()).and_then(|state| state.terminated.as_ref());
        let Some(ended) = ended.filter(|ended| ended.exit_code != 0) else { continue };
        let reason = ended.reason.as_deref().unwrap_or("Error");
        text += &format!("\nLast end of {}: {reason}, exit code {}\n", container.name, ended.exit_code);
        let lines: Vec<_> = ended.message.as_deref().unwrap_or_default().lines().collect();
        for line in &lines[lines.len().saturating_sub(LAST_LINES)..] {
            text += &format!("  | {line}\n");
        }
    }
    text
}

fn recent(name: &str, events: &[Event], now: Timestamp) -> String {
    let about = |event: &&Event| {
        let object = event.involved_object.name.as_deref().unwrap_or_default();
        object == name || object.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'))
    };
    let mut mine: Vec<_> = events.iter().filter(about).collect();
    if mine.is_empty() {
        return format!("\nEvents:\n  {NONE}\n");
    }
    mine.sort_by_key(|event| last_seen(event));
    let mut table = Table::new(["  age", "type", "reason", "object", "message"]);
    for event in &mine[mine.len().saturating_sub(EVENTS)..] {
        let age = last_seen(event).map(|then| api::human_age(now, then)).unwrap_or_default();
        let word = |text: &Option<String>| text.clone().unwrap_or_default();
        let object = word(&event.involved_object.name);
        table.row([format!("  {age}"), word(&event.type_), word(&event.reason), object, word(&event.message)]);
    }
    format!("\nEvents:\n{}", table.render())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_crash_shows_its_reason_and_last_lines() {
        let pod: Pod = api::decode(json!({
            "metadata": {"name": "web-0"},
            "status": {"containerStatuses": [{
                "name": "web", "ready": false, "restartCount": 3, "image": "", "imageID": "",
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 7, "reason": "Error", "message": "1\n2\n3\n4\n5\nthe end"}}
            }]}
        }))
        .unwrap();
        let bundle: Bundle = api::decode(json!({"metadata": {"name": "web"}, "spec": {"service": "web"}})).unwrap();
        let text = describe(&bundle, &[pod], &[], &[], Timestamp::UNIX_EPOCH);
        assert!(text.contains("CrashLoopBackOff"), "{text}");
        assert!(text.contains("Last end of web: Error, exit code 7\n  | 2\n"), "{text}");
        assert!(text.contains("  | the end\n"), "{text}");
    }
}
