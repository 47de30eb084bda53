//! The names of a definition.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionNames,
};

use crate::{
    FieldError, Path,
    meta::{is_dns_label, is_dns_subdomain},
    names::annotation::API_APPROVED,
};

/// Whether a text is an RFC 1035 label: a DNS label that begins with a letter.
pub(super) fn is_word(text: &str) -> bool {
    is_dns_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase())
}

const WORD: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
                    character, and end with an alphanumeric character";

/// An error in the words of `field.Invalid`.
pub(super) fn invalid(path: impl Into<String>, value: &str, detail: &str) -> FieldError {
    FieldError::invalid(path, format!("Invalid value: {value:?}: {detail}"))
}

fn required(path: impl Into<String>) -> FieldError {
    FieldError::required(path, "Required value")
}

/// What is wrong with the group, the object's own name, and the names of the kind.
pub(super) fn check(definition: &CustomResourceDefinition) -> Vec<FieldError> {
    let (spec, mut errors) = (&definition.spec, Vec::new());
    let own = definition.metadata.name.as_deref().unwrap_or_default();
    if own != format!("{}.{}", spec.names.plural, spec.group) {
        errors.push(invalid("metadata.name", own, "must be spec.names.plural+\".\"+spec.group"));
    }
    match spec.group.as_str() {
        "" => errors.push(required("spec.group")),
        group if !is_dns_subdomain(group) => {
            errors.push(invalid("spec.group", group, "must be an RFC 1123 subdomain"));
        }
        group if !group.contains('.') => {
            errors.push(invalid("spec.group", group, "should be a domain with at least one dot"));
        }
        group => errors.extend(approval(definition, group)),
    }
    errors.extend(of_kind(&spec.names));
    errors
}

/// Groups of Kubernetes' own are for those who say where that was approved.
fn approval(definition: &CustomResourceDefinition, group: &str) -> Option<FieldError> {
    let is_protected = ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|domain| group.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')));
    let approved = definition.metadata.annotations.as_ref().and_then(|all| all.get(API_APPROVED));
    let path = format!("metadata.annotations[{API_APPROVED}]");
    match approved.map(String::as_str) {
        _ if !is_protected => None,
        None | Some("") => Some(FieldError::required(
            path,
            format!("Required value: protected groups must have approval annotation {API_APPROVED:?}"),
        )),
        Some(said) if said.starts_with("https://") || said.starts_with("unapproved") => None,
        Some(said) => Some(invalid(path, said, "must be a URL, or \"unapproved\" with an explanation")),
    }
}

fn of_kind(names: &CustomResourceDefinitionNames) -> Vec<FieldError> {
    let (mut errors, base) = (Vec::new(), Path::ROOT.field("spec.names"));
    let mut word = |path: Path<'_>, text: &str| match text {
        "" => errors.push(required(path)),
        text if !is_word(text) => errors.push(invalid(path, text, WORD)),
        _ => {}
    };
    word(base.field("plural"), &names.plural);
    word(base.field("singular"), names.singular.as_deref().unwrap_or_default());
    let (kind, list) = (names.kind.as_str(), names.list_kind.as_deref().unwrap_or_default());
    word(base.field("kind"), &kind.to_ascii_lowercase());
    word(base.field("listKind"), &list.to_ascii_lowercase());
    for (field, list) in [("shortNames", &names.short_names), ("categories", &names.categories)] {
        let base = base.field(field);
        list.iter().flatten().enumerate().for_each(|(at, name)| word(base.index(at), name));
    }
    if !kind.is_empty() && kind == list {
        errors.push(invalid(base.field("listKind"), list, "kind and listKind may not be the same"));
    }
    errors
}
