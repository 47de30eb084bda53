//! `nanocloud install`: creates a bundle and shows its conditions until it is ready.

use std::{collections::BTreeMap, io::IsTerminal, time::Duration};

use api::{
    Condition, ObjectMeta,
    kinds::{
        Bundle,
        bundle::{BundleReason, BundleSpec, CONDITIONS},
    },
};
use client::{Api, DeleteParams, ListParams, WatchEvent};
use futures::StreamExt;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::lifecycle::until_gone;
use crate::{
    args::{Install, Output},
    context::Context,
    error::{Error, Result},
    exit::Exit,
    note, out, outln, output,
};

/// Interval between frames of the progress display.
const FRAME: Duration = Duration::from_millis(100);

/// Installs a service.
pub async fn run(context: &Context<'_>, args: &Install) -> Result<Exit> {
    let api: Api<Bundle> = context.api(&args.namespace);
    let wanted = bundle(context, args)?;
    let name = wanted.metadata.name.clone().unwrap_or_default();
    let created = match api.create(&wanted).await {
        Ok(created) => created,
        Err(error) if error.is_already_exists() && args.force_bindings => rerun_bindings(&api, &name).await?,
        Err(error) if error.is_already_exists() => {
            return Err(Error::Outcome {
                what: format!("{name} is already installed"),
                remedy: format!("see `nanocloud status {name}`, or install a second one with --name"),
                exit: Exit::Failed,
            });
        }
        Err(error) => return Err(error.into()),
    };
    if args.no_wait {
        outln!("{name} is being installed; see `nanocloud status {name}`")?;
        return Ok(Exit::Done);
    }
    let mut view = View::new(&name);
    let outcome = tokio::select! {
        outcome = follow(&api, &created, &mut view) => outcome,
        () = tokio::time::sleep(args.timeout) => Ok(Outcome::TimedOut),
        _ = tokio::signal::ctrl_c() => Ok(Outcome::Interrupted),
    };
    view.finish();
    report(&api, args, &created, outcome?).await
}

/// The bundle that the flags describe.
fn bundle(context: &Context<'_>, args: &Install) -> Result<Bundle> {
    let mut options = BTreeMap::new();
    for option in &args.options {
        let Some((name, value)) = option.split_once('=') else {
            return Err(Error::usage(
                "--option",
                format!("{option:?} has no '='"),
                "write it like --option database=mariadb",
            ));
        };
        if options.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(Error::usage("--option", format!("{name} is given twice"), "give every option once"));
        }
    }
    Ok(Bundle {
        metadata: ObjectMeta {
            name: Some(args.name.clone().unwrap_or_else(|| args.service.replace('/', "-"))),
            namespace: Some(context.namespace(&args.namespace)),
            ..ObjectMeta::default()
        },
        spec: BundleSpec {
            service: args.service.clone(),
            namespace: None,
            image: args.image.clone(),
            options,
            start: !args.no_start,
            update: args.update,
            snapshot: None,
            security: None,
            resources: None,
        },
        status: None,
    })
}

/// Requests that the bindings of an installed bundle run again.
async fn rerun_bindings(api: &Api<Bundle>, name: &str) -> Result<Bundle> {
    let at = jiff::Timestamp::now().to_string();
    let changes = serde_json::json!({"metadata": {"annotations": {api::names::annotation::RERUN_BINDINGS: at}}});
    Ok(api.patch_merge(name, &changes).await?)
}

enum Outcome {
    Ready(Box<Bundle>),
    Refused(Box<Condition>),
    Gone,
    TimedOut,
    Interrupted,
}

/// Shows every change until the bundle is ready or can never be.
async fn follow(api: &Api<Bundle>, created: &Bundle, view: &mut View) -> Result<Outcome> {
    let name = created.metadata.name.clone().unwrap_or_default();
    let params = ListParams::default().fields(format!("metadata.name={name}"));
    let mut revision = created.metadata.resource_version.clone().unwrap_or_default();
    loop {
        let mut events = api.watch(&params, &revision).await?;
        while let Some(event) = events.next().await {
            match event {
                Ok(WatchEvent::Added(bundle) | WatchEvent::Modified(bundle)) => {
                    revision = bundle.metadata.resource_version.clone().unwrap_or(revision);
                    view.show(&bundle);
                    if let Some(outcome) = judge(bundle, created) {
                        return Ok(outcome);
                    }
                }
                Ok(WatchEvent::Deleted(_)) => return Ok(Outcome::Gone),
                Ok(WatchEvent::Bookmark(at)) => revision = at,
                Err(error) if error.is_transient() => break,
                Err(error) => return Err(error.into()),
            }
        }
        tokio::time::sleep(FRAME).await;
    }
}

fn judge(bundle: Bundle, created: &Bundle) -> Option<Outcome> {
    let current = bundle.status.as_ref().and_then(|status| status.observed_generation) >= created.metadata.generation;
    if current && bundle.is("Ready") {
        return Some(Outcome::Ready(Box::new(bundle)));
    }
    let profile = bundle.condition("ProfilePrepared")?;
    (profile.status == "False" && BundleReason::parse(&profile.reason) == Some(BundleReason::ProfileFailed))
        .then(|| Outcome::Refused(Box::new(profile.clone())))
}

async fn report(api: &Api<Bundle>, args: &Install, created: &Bundle, outcome: Outcome) -> Result<Exit> {
    let name = created.metadata.name.clone().unwrap_or_default();
    match outcome {
        Outcome::Ready(bundle) => {
            if matches!(args.output, Output::Json | Output::Yaml) {
                out!("{}", output::document(&api::encode(bundle.as_ref()), args.output)?)?;
                return Ok(Exit::Done);
            }
            let endpoints = bundle.status.as_ref().map(|status| status.endpoints.join("  ")).unwrap_or_default();
            let state = if bundle.spec.start { "is ready" } else { "is prepared and stopped" };
            outln!("{name} {state}{}{endpoints}", if endpoints.is_empty() { "" } else { ": " })?;
            outln!("next: nanocloud status {name} | nanocloud logs {name} -f | nanocloud exec {name} -- sh")?;
            Ok(Exit::Done)
        }
        Outcome::Refused(condition) => {
            // The uid makes sure that only the bundle this command created is deleted, not a later one of that name.
            let uid = created.metadata.uid.clone().unwrap_or_default();
            api.delete_opt(&name, &DeleteParams::default().uid(uid)).await?;
            let left = match tokio::time::timeout(args.timeout, until_gone(api, created)).await {
                Ok(gone) => gone.map(|()| "nothing is installed")?,
                Err(_) => "is still being removed",
            };
            Err(Error::Outcome {
                what: format!("{name} was refused and {left}: {}", condition.message),
                remedy: "correct the options named above and install it again".into(),
                exit: Exit::Failed,
            })
        }
        Outcome::Gone => Err(Error::Outcome {
            what: format!("{name} was uninstalled while it was being installed"),
            remedy: String::new(),
            exit: Exit::Failed,
        }),
        Outcome::TimedOut => Err(Error::Outcome {
            what: format!("{name} is not ready after {}", humantime::format_duration(args.timeout)),
            remedy: format!("the server continues; see `nanocloud status {name}`"),
            exit: Exit::TimedOut,
        }),
        Outcome::Interrupted => {
            note!("the server continues; see `nanocloud status {name}`, or undo it with `nanocloud uninstall {name}`");
            Ok(Exit::Interrupted)
        }
    }
}

/// Progress: on a terminal a line for each condition, elsewhere a line for each change.
struct View {
    name: String,
    bars: Option<(MultiProgress, Vec<ProgressBar>)>,
    shown: BTreeMap<&'static str, String>,
}

impl View {
    fn new(name: &str) -> Self {
        let bars = std::io::stderr().is_terminal().then(|| {
            let all = MultiProgress::new();
            let style = ProgressStyle::with_template("{spinner} {prefix:20} {wide_msg}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner()).tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏✔");
            let lines = CONDITIONS.iter().map(|condition| {
                let bar = all.add(ProgressBar::new_spinner().with_style(style.clone()).with_prefix(*condition));
                bar.enable_steady_tick(FRAME);
                bar
            });
            let lines = lines.collect();
            (all, lines)
        });
        Self { name: name.to_owned(), bars, shown: BTreeMap::new() }
    }

    fn show(&mut self, bundle: &Bundle) {
        for (index, wanted) in CONDITIONS.into_iter().enumerate() {
            let Some(condition) = bundle.condition(wanted) else { continue };
            let text = match condition.status.as_str() {
                "True" => condition.reason.clone(),
                _ => format!("{} {}", condition.reason, condition.message),
            };
            if self.shown.get(wanted) == Some(&text) {
                continue;
            }
            match &self.bars {
                Some((_, bars)) if condition.status == "True" => bars[index].finish_with_message(text.clone()),
                Some((_, bars)) => bars[index].set_message(text.clone()),
                None => note!("{} {wanted}={} {text}", self.name, condition.status),
            }
            self.shown.insert(wanted, text);
        }
    }

    fn finish(&self) {
        for bar in self.bars.iter().flat_map(|(_, bars)| bars).filter(|bar| !bar.is_finished()) {
            bar.abandon();
        }
    }
}
