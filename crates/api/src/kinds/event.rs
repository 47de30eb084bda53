//! `v1 Event`.

use jiff::Timestamp;

pub use k8s_openapi::api::core::v1::Event;

use crate::{Column, FieldError, human_age, meta::is_qualified_name, names::namespace};

/// Seconds an event is kept: one hour, as in Kubernetes.
pub const EVENT_TTL_SECONDS: i64 = 3600;
/// Longest reason, action and instance of an event with a time, as in Kubernetes.
const WORD_MAX: usize = 128;
/// Longest message of an event with a time, as in Kubernetes.
const MESSAGE_MAX: usize = 1024;

kubernetes_kind!(Event, plural: "events", singular: "event", scope: Namespaced {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::EVENT;
    const TTL_SECONDS: Option<i64> = Some(EVENT_TTL_SECONDS);
    const SHORT_NAMES: &'static [&'static str] = &["ev"];
    const NAMED_ROWS: bool = false;

    fn apply_defaults(&mut self) {
        self.type_.get_or_insert_with(|| "Normal".into());
    }

    fn validate(&self, _old: Option<&Self>) -> Vec<FieldError> {
        let mut errors: Vec<_> = place_error(self).into_iter().collect();
        if self.event_time.is_some() {
            errors.extend(series_errors(self));
        }
        errors
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::text("Last Seen", "Time since it last happened", |event: &Self, now| last_seen(event).map(|then| human_age(now, then)).into()),
            Column::text("Type", "Normal or Warning", |event: &Self, _| event.type_.clone().into()),
            Column::text("Reason", "Why, in one word", |event: &Self, _| event.reason.clone().into()),
            Column::text("Object", "What it is about", |event: &Self, _| object(event).into()),
            Column::text("Source", "Component that reported it", |event: &Self, _| source(event).into()).wide(),
            Column::text("Message", "What happened", |event: &Self, _| event.message.clone().into()),
            Column::text("First Seen", "Time since it first happened", |event: &Self, now| first_seen(event).map(|then| human_age(now, then)).into()).wide(),
            Column::text("Count", "How often it happened", |event: &Self, _| event.count.unwrap_or(1).into()).integer().wide(),
            Column::text("Name", "Name of the event", |event: &Self, _| event.metadata.name.clone().into()).wide(),
        ]
    }

    fn selectable_fields(&self) -> Vec<(&'static str, String)> {
        let about = &self.involved_object;
        vec![
            ("involvedObject.kind", about.kind.clone().unwrap_or_default()),
            ("involvedObject.namespace", about.namespace.clone().unwrap_or_default()),
            ("involvedObject.name", about.name.clone().unwrap_or_default()),
            ("involvedObject.uid", about.uid.clone().unwrap_or_default()),
            ("involvedObject.apiVersion", about.api_version.clone().unwrap_or_default()),
            ("involvedObject.resourceVersion", about.resource_version.clone().unwrap_or_default()),
            ("involvedObject.fieldPath", about.field_path.clone().unwrap_or_default()),
            ("reason", self.reason.clone().unwrap_or_default()),
            ("reportingComponent", self.reporting_component.clone().unwrap_or_default()),
            ("source", self.source.as_ref().and_then(|source| source.component.clone()).unwrap_or_default()),
            ("type", self.type_.clone().unwrap_or_default()),
        ]
    }
});

/// When the event last happened.
pub fn last_seen(event: &Event) -> Option<Timestamp> {
    let micro = event.event_time.as_ref().map(|time| time.0);
    let created = event.metadata.creation_timestamp.as_ref().map(|time| time.0);
    event.last_timestamp.as_ref().map(|time| time.0).or(micro).or(created)
}

fn first_seen(event: &Event) -> Option<Timestamp> {
    event.first_timestamp.as_ref().map(|time| time.0).or_else(|| last_seen(event))
}

fn source(event: &Event) -> Option<String> {
    let source = event.source.as_ref();
    source.and_then(|source| source.component.clone()).or_else(|| event.reporting_component.clone())
}

fn object(event: &Event) -> String {
    let about = &event.involved_object;
    format!(
        "{}/{}",
        about.kind.as_deref().unwrap_or_default().to_ascii_lowercase(),
        about.name.as_deref().unwrap_or_default()
    )
}

/// Events lie in the namespace of what they are about; those about the whole cluster in `default`, or `kube-system`.
fn place_error(event: &Event) -> Option<FieldError> {
    let own = event.metadata.namespace.as_deref().unwrap_or_default();
    let about = event.involved_object.namespace.as_deref().unwrap_or_default();
    let fits = if about.is_empty() { matches!(own, "" | namespace::DEFAULT | namespace::SYSTEM) } else { about == own };
    let message = || format!("{about:?} is not the namespace {own:?} of the event");
    (!fits).then(|| FieldError::invalid("involvedObject.namespace", message()))
}

/// What an event with `eventTime` must say (events.k8s.io).
fn series_errors(event: &Event) -> Vec<FieldError> {
    let words = [
        ("action", event.action.as_deref()),
        ("reason", event.reason.as_deref()),
        ("reportingComponent", event.reporting_component.as_deref()),
        ("reportingInstance", event.reporting_instance.as_deref()),
    ];
    let mut errors = Vec::new();
    for (field, word) in words {
        match word.unwrap_or_default() {
            "" => errors.push(FieldError::required(field, "is needed beside eventTime")),
            word if word.len() > WORD_MAX => {
                errors.push(FieldError::invalid(field, format!("at most {WORD_MAX} characters are allowed")));
            }
            word if field == "reportingComponent" && !is_qualified_name(word) => {
                errors.push(FieldError::invalid(field, "must be [prefix/]name of letters, digits, '-', '_' or '.'"));
            }
            _ => {}
        }
    }
    if event.message.as_deref().unwrap_or_default().len() > MESSAGE_MAX {
        errors.push(FieldError::invalid("message", format!("at most {MESSAGE_MAX} characters are allowed")));
    }
    errors
}
