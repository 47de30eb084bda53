//! Which representation a client accepts. Pure.

use crate::protobuf;

/// In which form documents are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    /// Kubernetes' own.
    Protobuf,
}

/// How objects are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Representation {
    /// The objects themselves.
    Object,
    /// `meta.k8s.io/v1 Table`, made for people.
    Table,
    /// `meta.k8s.io/v1 PartialObjectMetadata`: metadata alone.
    Metadata,
}

/// Version of aggregated discovery a client accepts best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiscoveryFormat {
    /// `APIGroupDiscoveryList` in this version of `apidiscovery.k8s.io`.
    Aggregated(&'static str),
    /// One document per group and version.
    Plain,
}

struct Range<'a> {
    media: &'a str,
    group: &'a str,
    version: &'a str,
    shape: &'a str,
}

fn ranges(accept: &str) -> impl Iterator<Item = Range<'_>> {
    accept.split(',').map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let mut out = Range { media: parts.next().unwrap_or_default(), group: "", version: "", shape: "" };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim() {
                "g" => out.group = value.trim(),
                "v" => out.version = value.trim(),
                "as" => out.shape = value.trim(),
                _ => {}
            }
        }
        out
    })
}

fn is_json(media: &str) -> bool {
    matches!(media, "application/json" | "application/*" | "*/*" | "")
}

fn encoding(media: &str) -> Option<Encoding> {
    match media {
        protobuf::MEDIA_TYPE => Some(Encoding::Protobuf),
        media => is_json(media).then_some(Encoding::Json),
    }
}

/// The representation of objects for an `Accept` header, and how they are written; nothing when none is acceptable.
/// Metadata can be written in either form, whatever the kind; tables have no messages.
pub(crate) fn objects(accept: &str, kind_has_protobuf: impl Fn() -> bool) -> Option<(Representation, Encoding)> {
    ranges(accept).find_map(|range| {
        let encoding = encoding(range.media)?;
        let is_json = encoding == Encoding::Json;
        let is_meta = range.group == "meta.k8s.io" && range.version == "v1";
        let representation = match range.shape {
            "" if is_json || kind_has_protobuf() => Representation::Object,
            "Table" if is_json && is_meta => Representation::Table,
            "PartialObjectMetadata" | "PartialObjectMetadataList" if is_meta => Representation::Metadata,
            _ => return None,
        };
        Some((representation, encoding))
    })
}

/// How a document of a single representation is written for an `Accept` header.
pub(crate) fn document(accept: &str) -> Encoding {
    ranges(accept).find_map(|range| encoding(range.media)).unwrap_or(Encoding::Json)
}

/// The format of discovery for an `Accept` header; nothing when none is acceptable. What is aggregated is JSON.
pub(crate) fn discovery(accept: &str) -> Option<DiscoveryFormat> {
    ranges(accept).find_map(|range| match (is_json(range.media), range.shape, range.group, range.version) {
        (_, "", _, _) if encoding(range.media).is_some() => Some(DiscoveryFormat::Plain),
        (true, "APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") => Some(DiscoveryFormat::Aggregated("v2")),
        (true, "APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2beta1") => {
            Some(DiscoveryFormat::Aggregated("v2beta1"))
        }
        _ => None,
    })
}

/// Media type of OpenAPI 2.0 in protobuf.
pub(crate) const OPENAPI_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// The name by which kubectl asks for it, which is no media type (RFC 6838) and is never answered.
const OPENAPI_PROTOBUF_ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// Forms of OpenAPI 2.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenApiFormat {
    Json,
    Protobuf,
}

/// The form of OpenAPI 2.0 for an `Accept` header.
pub(crate) fn openapi(accept: &str) -> Option<OpenApiFormat> {
    ranges(accept).find_map(|range| match range.media {
        OPENAPI_PROTOBUF | OPENAPI_PROTOBUF_ASKED => Some(OpenApiFormat::Protobuf),
        media if is_json(media) && range.shape.is_empty() => Some(OpenApiFormat::Json),
        _ => None,
    })
}

/// Whether any JSON is acceptable.
pub(crate) fn json(accept: &str) -> bool {
    ranges(accept).any(|range| is_json(range.media) && range.shape.is_empty())
}

/// Whether text is acceptable.
pub(crate) fn text(accept: &str) -> bool {
    ranges(accept).any(|range| matches!(range.media, "text/plain" | "text/*" | "*/*" | ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_the_first_form_that_is_served() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        let metadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        let tables = format!("application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1,{kubectl}");
        for (accept, wanted) in [
            ("", Some((Representation::Object, Encoding::Json))),
            ("*/*", Some((Representation::Object, Encoding::Json))),
            (kubectl, Some((Representation::Table, Encoding::Json))),
            (&tables, Some((Representation::Table, Encoding::Json))),
            (
                "application/vnd.kubernetes.protobuf, application/json",
                Some((Representation::Object, Encoding::Protobuf)),
            ),
            ("application/json, application/vnd.kubernetes.protobuf", Some((Representation::Object, Encoding::Json))),
            (metadata, Some((Representation::Metadata, Encoding::Protobuf))),
            (
                "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
                Some((Representation::Metadata, Encoding::Json)),
            ),
            ("application/json;as=Widget;g=meta.k8s.io;v=v1", None),
            ("application/vnd.kubernetes.protobuf", Some((Representation::Object, Encoding::Protobuf))),
            ("text/html", None),
        ] {
            assert_eq!(objects(accept, || true), wanted, "{accept}");
        }
        for (accept, wanted) in [
            ("application/vnd.kubernetes.protobuf, application/json", Some((Representation::Object, Encoding::Json))),
            ("application/vnd.kubernetes.protobuf", None),
            (metadata, Some((Representation::Metadata, Encoding::Protobuf))),
        ] {
            assert_eq!(objects(accept, || false), wanted, "{accept}");
        }
    }

    #[test]
    fn discovery_is_aggregated_for_who_asks() {
        let kubectl = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
        assert_eq!(discovery(kubectl), Some(DiscoveryFormat::Aggregated("v2")));
        assert_eq!(discovery("application/json"), Some(DiscoveryFormat::Plain));
        assert!(!json(OPENAPI_PROTOBUF));
        assert_eq!(openapi(&format!("{OPENAPI_PROTOBUF_ASKED}, application/json")), Some(OpenApiFormat::Protobuf));
        assert_eq!(openapi("*/*"), Some(OpenApiFormat::Json));
    }
}
