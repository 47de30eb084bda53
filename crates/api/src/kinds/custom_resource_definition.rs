//! `apiextensions.k8s.io/v1 CustomResourceDefinition`. What it defines is made a kind by [`crate::custom`].

mod names;
mod structural;
mod validate;

pub use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceConversion, CustomResourceDefinitionNames,
};

use crate::{Column, ColumnDefinition, FieldError};

kubernetes_kind!(CustomResourceDefinition, plural: "customresourcedefinitions", singular: "customresourcedefinition", scope: Cluster {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::CUSTOM_RESOURCE_DEFINITION;
    const SHORT_NAMES: &'static [&'static str] = &["crd", "crds"];
    const CATEGORIES: &'static [&'static str] = &["api-extensions"];
    const HAS_STATUS: bool = true;

    fn apply_defaults(&mut self) {
        fill_names(&mut self.spec.names);
        let conversion = self.spec.conversion.get_or_insert_with(CustomResourceConversion::default);
        if conversion.strategy.is_empty() {
            conversion.strategy = validate::NO_CONVERSION.into();
        }
    }

    fn validate(&self, old: Option<&Self>) -> Vec<FieldError> {
        let mut errors = validate::definition(self);
        errors.extend(old.into_iter().flat_map(|old| validate::change(self, old)));
        errors
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        validate::warnings(self)
    }

    const NAMED_ROWS: bool = false;

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column {
                definition: ColumnDefinition::name(),
                cell: |definition, _| definition.metadata.name.clone().into(),
            },
            Column::text("Created At", "When the definition was created", |definition: &Self, _| {
                let made = definition.metadata.creation_timestamp.as_ref();
                made.map(|made| made.0.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).into()
            }),
        ]
    }
});

fn fill_names(names: &mut CustomResourceDefinitionNames) {
    if names.singular.as_deref().is_none_or(str::is_empty) {
        names.singular = Some(names.kind.to_ascii_lowercase());
    }
    if names.list_kind.as_deref().is_none_or(str::is_empty) && !names.kind.is_empty() {
        names.list_kind = Some(format!("{}List", names.kind));
    }
}
