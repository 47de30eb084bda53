//! Fields of roles and of what binds them.

use super::{Shape, done, of, shared, warned};

pub(crate) static ROLE: Shape = Shape(&[shared("metadata"), of("rules", &POLICY_RULE)]);

pub(crate) static CLUSTER_ROLE: Shape = Shape(&[
    warned("aggregationRule", &[], "rules of other roles are not combined"),
    shared("metadata"),
    of("rules", &POLICY_RULE),
]);

pub(crate) static ROLE_BINDING: Shape =
    Shape(&[shared("metadata"), of("roleRef", &ROLE_REFERENCE), of("subjects", &SUBJECT)]);

static POLICY_RULE: Shape =
    Shape(&[done("apiGroups"), done("nonResourceURLs"), done("resourceNames"), done("resources"), done("verbs")]);

static ROLE_REFERENCE: Shape = Shape(&[done("apiGroup"), done("kind"), done("name")]);

static SUBJECT: Shape = Shape(&[done("apiGroup"), done("kind"), done("name"), done("namespace")]);
