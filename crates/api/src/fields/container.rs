//! Fields of containers.

use super::{
    Shape, done,
    lifecycle::{LIFECYCLE, PROBE},
    of, only,
    reference::{CONFIG_MAP_KEY, OBJECT_FIELD, RESOURCE_FIELD, SECRET_KEY},
    refused,
    security::SECURITY_CONTEXT,
    warned,
};

pub(super) static CONTAINER: Shape = Shape(&[
    done("args"),
    done("command"),
    of("env", &ENV_VAR),
    of("envFrom", &ENV_FROM),
    done("image"),
    done("imagePullPolicy"),
    of("lifecycle", &LIFECYCLE),
    of("livenessProbe", &PROBE),
    done("name"),
    of("ports", &CONTAINER_PORT),
    of("readinessProbe", &PROBE),
    warned("resizePolicy", &[], "resources of a running pod cannot be changed"),
    of("resources", &RESOURCES),
    only("restartPolicy", &[], "init containers that go on running are not served; make it a container of the pod"),
    refused("restartPolicyRules", &[], "exit codes do not decide about restarts; set restartPolicy of the pod"),
    of("securityContext", &SECURITY_CONTEXT),
    of("startupProbe", &PROBE),
    done("stdin"),
    done("stdinOnce"),
    done("terminationMessagePath"),
    done("terminationMessagePolicy"),
    done("tty"),
    refused("volumeDevices", &[], "block devices are not given to containers; use volumeMounts"),
    of("volumeMounts", &VOLUME_MOUNT),
    done("workingDir"),
]);

static ENV_VAR: Shape = Shape(&[done("name"), done("value"), of("valueFrom", &ENV_VAR_SOURCE)]);

static ENV_VAR_SOURCE: Shape = Shape(&[
    of("configMapKeyRef", &CONFIG_MAP_KEY),
    of("fieldRef", &OBJECT_FIELD),
    refused("fileKeyRef", &[], "variables are not read from files of volumes; use configMapKeyRef or secretKeyRef"),
    of("resourceFieldRef", &RESOURCE_FIELD),
    of("secretKeyRef", &SECRET_KEY),
]);

static ENV_FROM: Shape = Shape(&[of("configMapRef", &ENV_MAP), done("prefix"), of("secretRef", &ENV_MAP)]);

static ENV_MAP: Shape = Shape(&[done("name"), done("optional")]);

static CONTAINER_PORT: Shape =
    Shape(&[done("containerPort"), done("hostIP"), done("hostPort"), done("name"), done("protocol")]);

/// What a container needs. Names of resources that are not bounded are found by the pod's own warnings.
pub(super) static RESOURCES: Shape =
    Shape(&[refused("claims", &[], "devices are not given to pods; leave it out"), done("limits"), done("requests")]);

static VOLUME_MOUNT: Shape = Shape(&[
    done("mountPath"),
    only("mountPropagation", &["None"], "mounts are not carried between host and container; use None"),
    done("name"),
    done("readOnly"),
    only(
        "recursiveReadOnly",
        &["Disabled", "IfPossible"],
        "mounts below the volume are not made read-only; use IfPossible",
    ),
    done("subPath"),
    done("subPathExpr"),
]);
