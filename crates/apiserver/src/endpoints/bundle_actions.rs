//! What can be done to a bundle as a whole: start, stop, restart, uninstall.

use api::{Resource, kinds::Bundle, names::annotation::RESTARTED_AT};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    api_error::Result,
    object,
    patch::Patch,
    registry::{DeleteOptions, Deleted, Edit, Target},
    request::{context::RequestContext, response},
};

/// What can be done to a bundle as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Start,
    Stop,
    Restart,
    Uninstall,
}

/// `POST bundles/NAME/actions/ACTION`.
pub(super) async fn run(context: RequestContext, action: Action) -> Result<Response> {
    let (namespace, name) = (context.params.get("namespace"), context.params.get("name"));
    let registry = &context.state.registry;
    let kind = registry.kind(Bundle::PLURAL)?;
    let change = match action {
        Action::Start => json!({"spec": {"start": true}}),
        Action::Stop => json!({"spec": {"start": false}}),
        Action::Restart => restart(registry.now().to_string()),
        Action::Uninstall => {
            let options = DeleteOptions::parse(None, &context.query)?;
            return match registry.delete(kind, Some(namespace), name, &options).await? {
                Deleted::Gone(stored) => {
                    Ok(response::document(StatusCode::OK, response::deleted(kind, name, object::uid(&stored.object))))
                }
                Deleted::Pending(stored) => Ok(response::document(StatusCode::ACCEPTED, stored.published())),
            };
        }
    };
    let options = context.write_options()?;
    let edit = Edit::Patch(Patch::Merge(change));
    let written = registry.update(kind, Some(namespace), name, &edit, Target::Object, &options).await?;
    Ok(response::document(StatusCode::ACCEPTED, written.stored.published()))
}

/// A restart is a new value of an annotation, and it starts what was stopped.
fn restart(now: String) -> Value {
    json!({"metadata": {"annotations": {RESTARTED_AT: now}}, "spec": {"start": true}})
}
