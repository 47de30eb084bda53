//! What can be done to a bundle as a whole: start, stop, restart, uninstall.

use api::{Kind, kinds::bundle::RESTARTED_AT};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::{answer, entry::Call};
use crate::{
    failure::Outcome,
    object,
    patch::Patch,
    registry::{DeleteOptions, Deleted, Edit, Part},
    route::Action,
};

pub(super) async fn run(
    call: Call,
    kind: &'static Kind,
    namespace: &str,
    name: &str,
    action: Action,
) -> Outcome<Response> {
    let registry = &call.app.registry;
    let change = match action {
        Action::Start => json!({"spec": {"start": true}}),
        Action::Stop => json!({"spec": {"start": false}}),
        Action::Restart => restart(registry.now().to_string()),
        Action::Uninstall => {
            let options = DeleteOptions::parse(None, &call.query)?;
            return match registry.delete(kind, Some(namespace), name, &options).await? {
                Deleted::Gone(stored) => {
                    Ok(answer::json(StatusCode::OK, &answer::deleted(kind, name, object::uid(&stored.object))))
                }
                Deleted::Pending(stored) => Ok(answer::json(StatusCode::ACCEPTED, &stored.published())),
            };
        }
    };
    let options = call.write_options()?;
    let edit = Edit::Patch(Patch::Merge(change));
    let written = registry.update(kind, Some(namespace), name, &edit, Part::Main, &options).await?;
    Ok(answer::json(StatusCode::ACCEPTED, &written.stored.published()))
}

/// A restart is a new value of an annotation, and it starts what was stopped.
fn restart(now: String) -> Value {
    json!({"metadata": {"annotations": {RESTARTED_AT: now}}, "spec": {"start": true}})
}
