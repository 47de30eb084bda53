//! Fields of the messages that are read, by number.
//!
//! Source: `generated.proto` in `k8s.io/api/{core,authentication,authorization}/v1` and
//! `k8s.io/apimachinery/pkg/apis/meta/v1`.

/// How a field becomes JSON.
#[derive(Debug)]
pub(super) enum Shape {
    Text,
    Number,
    Flag,
    Time,
    IntOrText,
    Message(&'static [Field]),
    Texts,
    Messages(&'static [Field]),
    TextMap,
    BytesMap,
    /// What the server writes itself and takes from no client.
    Ignored,
}

/// Number, JSON name and shape.
pub(super) type Field = (u64, &'static str, Shape);

const OWNER: &[Field] = &[
    (1, "kind", Shape::Text),
    (3, "name", Shape::Text),
    (4, "uid", Shape::Text),
    (5, "apiVersion", Shape::Text),
    (6, "controller", Shape::Flag),
    (7, "blockOwnerDeletion", Shape::Flag),
];

const META: &[Field] = &[
    (1, "name", Shape::Text),
    (2, "generateName", Shape::Text),
    (3, "namespace", Shape::Text),
    (4, "selfLink", Shape::Ignored),
    (5, "uid", Shape::Text),
    (6, "resourceVersion", Shape::Text),
    (7, "generation", Shape::Ignored),
    (8, "creationTimestamp", Shape::Time),
    (9, "deletionTimestamp", Shape::Time),
    (10, "deletionGracePeriodSeconds", Shape::Number),
    (11, "labels", Shape::TextMap),
    (12, "annotations", Shape::TextMap),
    (13, "ownerReferences", Shape::Messages(OWNER)),
    (14, "finalizers", Shape::Texts),
    (17, "managedFields", Shape::Ignored),
];

const METADATA: Field = (1, "metadata", Shape::Message(META));

const NAMESPACE: &[Field] =
    &[METADATA, (2, "spec", Shape::Message(&[(1, "finalizers", Shape::Texts)])), (3, "status", Shape::Ignored)];

const CONFIG_MAP: &[Field] =
    &[METADATA, (2, "data", Shape::TextMap), (3, "binaryData", Shape::BytesMap), (4, "immutable", Shape::Flag)];

const SECRET: &[Field] = &[
    METADATA,
    (2, "data", Shape::BytesMap),
    (3, "type", Shape::Text),
    (4, "stringData", Shape::TextMap),
    (5, "immutable", Shape::Flag),
];

const OBJECT_REFERENCE: &[Field] = &[
    (1, "kind", Shape::Text),
    (2, "namespace", Shape::Text),
    (3, "name", Shape::Text),
    (4, "uid", Shape::Text),
    (5, "apiVersion", Shape::Text),
    (6, "resourceVersion", Shape::Text),
    (7, "fieldPath", Shape::Text),
];

const SERVICE_ACCOUNT: &[Field] = &[
    METADATA,
    (2, "secrets", Shape::Messages(OBJECT_REFERENCE)),
    (3, "imagePullSecrets", Shape::Messages(&[(1, "name", Shape::Text)])),
    (4, "automountServiceAccountToken", Shape::Flag),
];

const BINDING: &[Field] = &[METADATA, (2, "target", Shape::Message(OBJECT_REFERENCE))];

const SERVICE_PORT: &[Field] = &[
    (1, "name", Shape::Text),
    (2, "protocol", Shape::Text),
    (3, "port", Shape::Number),
    (4, "targetPort", Shape::IntOrText),
    (5, "nodePort", Shape::Number),
    (6, "appProtocol", Shape::Text),
];

const SERVICE_SPEC: &[Field] = &[
    (1, "ports", Shape::Messages(SERVICE_PORT)),
    (2, "selector", Shape::TextMap),
    (3, "clusterIP", Shape::Text),
    (4, "type", Shape::Text),
    (5, "externalIPs", Shape::Texts),
    (7, "sessionAffinity", Shape::Text),
    (8, "loadBalancerIP", Shape::Text),
    (9, "loadBalancerSourceRanges", Shape::Texts),
    (10, "externalName", Shape::Text),
    (11, "externalTrafficPolicy", Shape::Text),
    (12, "healthCheckNodePort", Shape::Number),
    (13, "publishNotReadyAddresses", Shape::Flag),
    (17, "ipFamilyPolicy", Shape::Text),
    (18, "clusterIPs", Shape::Texts),
    (19, "ipFamilies", Shape::Texts),
    (20, "allocateLoadBalancerNodePorts", Shape::Flag),
    (21, "loadBalancerClass", Shape::Text),
    (22, "internalTrafficPolicy", Shape::Text),
    (23, "trafficDistribution", Shape::Text),
];

const SERVICE: &[Field] = &[METADATA, (2, "spec", Shape::Message(SERVICE_SPEC)), (3, "status", Shape::Ignored)];

const DELETE_OPTIONS: &[Field] = &[
    (1, "gracePeriodSeconds", Shape::Number),
    (2, "preconditions", Shape::Message(&[(1, "uid", Shape::Text), (2, "resourceVersion", Shape::Text)])),
    (3, "orphanDependents", Shape::Flag),
    (4, "propagationPolicy", Shape::Text),
    (5, "dryRun", Shape::Texts),
];

const RESOURCE_ATTRIBUTES: &[Field] = &[
    (1, "namespace", Shape::Text),
    (2, "verb", Shape::Text),
    (3, "group", Shape::Text),
    (4, "version", Shape::Text),
    (5, "resource", Shape::Text),
    (6, "subresource", Shape::Text),
    (7, "name", Shape::Text),
];

const RESOURCE: Field = (1, "resourceAttributes", Shape::Message(RESOURCE_ATTRIBUTES));
const NON_RESOURCE: Field =
    (2, "nonResourceAttributes", Shape::Message(&[(1, "path", Shape::Text), (2, "verb", Shape::Text)]));
const ANSWER: Field = (3, "status", Shape::Ignored);

const SELF_ACCESS: &[Field] = &[METADATA, (2, "spec", Shape::Message(&[RESOURCE, NON_RESOURCE])), ANSWER];

const SELF_RULES: &[Field] = &[METADATA, (2, "spec", Shape::Message(&[(1, "namespace", Shape::Text)])), ANSWER];

const ACCESS_SPEC: &[Field] =
    &[RESOURCE, NON_RESOURCE, (3, "user", Shape::Text), (4, "groups", Shape::Texts), (6, "uid", Shape::Text)];

const ACCESS: &[Field] = &[METADATA, (2, "spec", Shape::Message(ACCESS_SPEC)), ANSWER];

const SELF_IDENTITY: &[Field] = &[METADATA, (2, "status", Shape::Ignored)];

/// The fields of a kind's message, if the kind is read from protobuf.
pub(super) fn of(api_version: &str, kind: &str) -> Option<&'static [Field]> {
    match (api_version, kind) {
        ("v1", "Namespace") => Some(NAMESPACE),
        ("v1", "ConfigMap") => Some(CONFIG_MAP),
        ("v1", "Secret") => Some(SECRET),
        ("v1", "Binding") => Some(BINDING),
        ("v1", "Service") => Some(SERVICE),
        ("v1", "ServiceAccount") => Some(SERVICE_ACCOUNT),
        ("authentication.k8s.io/v1", "SelfSubjectReview") => Some(SELF_IDENTITY),
        ("authorization.k8s.io/v1", "SelfSubjectAccessReview") => Some(SELF_ACCESS),
        ("authorization.k8s.io/v1", "SelfSubjectRulesReview") => Some(SELF_RULES),
        ("authorization.k8s.io/v1", "SubjectAccessReview") => Some(ACCESS),
        (_, "DeleteOptions") => Some(DELETE_OPTIONS),
        _ => None,
    }
}
