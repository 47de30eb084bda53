//! Fields of the kinds of `nanocloud.io`.

use super::{Shape, done, each, of, reported, shared};

pub(crate) static BUNDLE: Shape = Shape(&[shared("metadata"), of("spec", &BUNDLE_SPEC), reported("status")]);

static BUNDLE_SPEC: Shape = Shape(&[
    done("service"),
    done("namespace"),
    done("image"),
    done("options"),
    done("start"),
    done("update"),
    of("snapshot", &SNAPSHOT),
    of("security", &SECURITY),
    of("resources", &super::container::RESOURCES),
]);

static SNAPSHOT: Shape = Shape(&[done("source"), done("mediaType")]);

static SECURITY: Shape =
    Shape(&[done("allowPrivileged"), done("extraCapabilities"), of("seccompProfile", &SECCOMP_PROFILE)]);

static SECCOMP_PROFILE: Shape = Shape(&[done("type"), done("localhostProfile")]);

pub(crate) static BINDING: Shape = Shape(&[shared("metadata"), of("spec", &BINDING_SPEC), reported("status")]);

static BINDING_SPEC: Shape = Shape(&[
    done("bundle"),
    done("bindingId"),
    of("target", &BINDING_TARGET),
    done("command"),
    each("parameters", &BINDING_PARAMETER),
    of("undo", &BINDING_UNDO),
    done("timeoutSeconds"),
    done("token"),
]);

static BINDING_TARGET: Shape = Shape(&[done("bundle"), done("service")]);

static BINDING_UNDO: Shape = Shape(&[done("bindingId"), done("command"), each("parameters", &BINDING_PARAMETER)]);

static BINDING_PARAMETER: Shape = Shape(&[done("value"), of("secretKeyRef", &SECRET_KEY)]);

static SECRET_KEY: Shape = Shape(&[done("name"), done("key")]);

pub(crate) static TOKEN: Shape = Shape(&[shared("metadata"), of("spec", &TOKEN_SPEC), reported("status")]);

static TOKEN_SPEC: Shape = Shape(&[done("user"), done("groups"), done("scopes"), done("expiresAt"), done("digest")]);
