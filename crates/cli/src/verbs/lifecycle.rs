//! `nanocloud start`, `stop`, `restart` and `uninstall`.

use api::{
    kinds::{Bundle, Pod},
    names::{annotation::KEEP_VOLUMES, label::INSTANCE},
};
use client::{Api, DeleteParams, ListParams, WatchEvent};
use futures::StreamExt;
use http::Method;
use serde_json::json;

use crate::{
    args::{Service, Uninstall},
    context::{Context, unless_rehearsed},
    error::{Error, Result},
    exit::Exit,
    outln,
};

/// An action on an installed service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Run its pods.
    Start,
    /// Stop its pods.
    Stop,
    /// Replace its pods.
    Restart,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }

    /// Messages: while the action is in progress, and when it is complete.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Start => ("is being started", "is started"),
            Self::Stop => ("is being stopped", "is stopped; its volumes stay"),
            Self::Restart => ("is being restarted", "is restarted"),
        }
    }

    /// Whether the action is complete, judged by the pods before it and now.
    fn is_done(self, before: &[Pod], now: &[Pod]) -> bool {
        let was = |pod: &&Pod| before.iter().any(|old| old.metadata.uid == pod.metadata.uid);
        match self {
            Self::Stop => now.is_empty(),
            Self::Start => !now.is_empty() && now.iter().all(is_ready),
            Self::Restart => !now.is_empty() && now.iter().all(|pod| is_ready(pod) && !was(&pod)),
        }
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.filter(|condition| condition.type_ == "Ready").any(|condition| condition.status == "True")
}

/// Starts, stops or restarts a service, and waits until that is complete.
pub async fn act(context: &Context<'_>, args: &Service, action: Action) -> Result<Exit> {
    let api: Api<Bundle> = context.api(&args.namespace);
    let pods: Api<Pod> = context.api(&args.namespace);
    let params = ListParams::default().labels(format!("{INSTANCE}={}", args.service));
    // With --curl only the action itself is printed.
    let before = if context.global.curl { Vec::new() } else { pods.list(&params).await?.items };
    api.call(Method::POST, &args.service, &format!("actions/{}", action.name()), &json!({})).await?;
    let (doing, done) = action.words();
    if args.no_wait {
        outln!("{} {doing}; see `nanocloud status {0}`", args.service)?;
        return Ok(Exit::Done);
    }
    let wait = until(&pods, &params, |now| action.is_done(&before, now));
    match tokio::time::timeout(args.timeout, wait).await {
        Ok(waited) => waited?,
        Err(_) => {
            return Err(Error::Outcome {
                what: format!(
                    "{} {doing}, which is not complete after {}",
                    args.service,
                    humantime::format_duration(args.timeout)
                ),
                remedy: format!("the server continues; see `nanocloud status {}`", args.service),
                exit: Exit::TimedOut,
            });
        }
    }
    outln!("{} {done}; see `nanocloud status {0}`", args.service)?;
    Ok(Exit::Done)
}

/// Waits until the pods meet a condition.
async fn until(api: &Api<Pod>, params: &ListParams, wanted: impl Fn(&[Pod]) -> bool) -> Result<()> {
    loop {
        let list = api.list(params).await?;
        if wanted(&list.items) {
            return Ok(());
        }
        let mut events = api.watch(params, &list.resource_version).await?;
        // Any change is a reason to list again; the contents of the event do not matter.
        while let Some(Ok(WatchEvent::Bookmark(_))) = events.next().await {}
    }
}

/// Removes a service and waits until nothing of it is left.
pub async fn uninstall(context: &Context<'_>, args: &Uninstall) -> Result<Exit> {
    let api: Api<Bundle> = context.api(&args.namespace);
    let params = DeleteParams { propagation_policy: Some(client::Propagation::Foreground), ..DeleteParams::default() };
    if context.global.curl {
        // With --curl the server is not asked whether the bundle exists, nor for its uid.
        keep_volumes(&api, args).await?;
        api.delete_opt(&args.service, &params).await?;
    }
    let Some(bundle) = api.get_opt(&args.service).await? else {
        outln!("{} is not installed", args.service)?;
        return Ok(Exit::Done);
    };
    keep_volumes(&api, args).await?;
    api.delete_opt(&args.service, &params.uid(bundle.metadata.uid.clone().unwrap_or_default())).await?;
    if args.no_wait {
        outln!("{} is being removed", args.service)?;
        return Ok(Exit::Done);
    }
    match tokio::time::timeout(args.timeout, until_gone(&api, &bundle)).await {
        Ok(gone) => gone?,
        Err(_) => {
            return Err(Error::Outcome {
                what: format!("{} still exists after {}", args.service, humantime::format_duration(args.timeout)),
                remedy: format!("the server continues; see `nanocloud status {}`", args.service),
                exit: Exit::TimedOut,
            });
        }
    }
    outln!("{} is uninstalled{}", args.service, if args.keep_volumes { "; its volumes are kept" } else { "" })?;
    Ok(Exit::Done)
}

/// With --keep-volumes, marks the volumes to be kept.
async fn keep_volumes(api: &Api<Bundle>, args: &Uninstall) -> Result<()> {
    if args.keep_volumes {
        let keep = json!({"metadata": {"annotations": {KEEP_VOLUMES: "true"}}});
        unless_rehearsed(api.patch_merge(&args.service, &keep).await)?;
    }
    Ok(())
}

/// Waits until the bundle object itself is gone, so that its name can be reused.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, ready: &str, ending: bool) -> Pod {
        let mut pod = json!({
            "metadata": {"name": "web-0", "uid": uid},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        });
        if ending {
            pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        api::decode(pod).unwrap()
    }

    #[test]
    fn an_action_is_done_when_it_is_so() {
        let (old, ending) = (pod("1", "True", false), pod("1", "True", true));
        let (fresh, ready) = (pod("2", "False", false), pod("2", "True", false));
        let before = [old.clone()];
        for (action, now, wanted) in [
            (Action::Stop, vec![ending.clone()], false),
            (Action::Stop, vec![], true),
            (Action::Restart, vec![old.clone()], false),
            (Action::Restart, vec![ending.clone()], false),
            (Action::Restart, vec![], false),
            (Action::Restart, vec![fresh.clone()], false),
            (Action::Restart, vec![ready.clone()], true),
            (Action::Start, vec![], false),
            (Action::Start, vec![fresh], false),
            (Action::Start, vec![ending], false),
            (Action::Start, vec![old], true),
        ] {
            assert_eq!(action.is_done(&before, &now), wanted, "{action:?} {now:?}");
        }
    }
}
