//! Fields of types by which objects refer to others.

use super::{Shape, done, of};

pub(super) static LABEL_SELECTOR: Shape =
    Shape(&[of("matchExpressions", &LABEL_SELECTOR_REQUIREMENT), done("matchLabels")]);

static LABEL_SELECTOR_REQUIREMENT: Shape = Shape(&[done("key"), done("operator"), done("values")]);

pub(super) static OBJECT_REFERENCE: Shape = Shape(&[
    done("apiVersion"),
    done("fieldPath"),
    done("kind"),
    done("name"),
    done("namespace"),
    done("resourceVersion"),
    done("uid"),
]);

pub(super) static CONFIG_MAP_KEY: Shape = Shape(&[done("key"), done("name"), done("optional")]);

pub(super) static SECRET_KEY: Shape = Shape(&[done("key"), done("name"), done("optional")]);

pub(super) static OBJECT_FIELD: Shape = Shape(&[done("apiVersion"), done("fieldPath")]);

pub(super) static RESOURCE_FIELD: Shape = Shape(&[done("containerName"), done("divisor"), done("resource")]);

/// The name of an object of the same namespace.
pub(super) static LOCAL_REFERENCE: Shape = Shape(&[done("name")]);
