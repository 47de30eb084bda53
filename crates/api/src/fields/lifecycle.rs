//! Fields of probes and hooks.

use super::{Row, Shape, done, of, refused, warned};

static EXEC: Shape = Shape(&[done("command")]);

/// The host of a probe. Kubernetes' baseline of safe pods leaves it out.
const HOST: Row =
    warned("host", &[], "the node asks it from its own network, which is not the pod's; leave it out to ask the pod");

static HTTP_GET: Shape = Shape(&[HOST, of("httpHeaders", &HTTP_HEADER), done("path"), done("port"), done("scheme")]);

static HTTP_HEADER: Shape = Shape(&[done("name"), done("value")]);

static SLEEP: Shape = Shape(&[done("seconds")]);

static TCP_SOCKET: Shape = Shape(&[HOST, done("port")]);

pub(super) static PROBE: Shape = Shape(&[
    of("exec", &EXEC),
    done("failureThreshold"),
    refused("grpc", &[], "gRPC probes are not run; use exec, httpGet or tcpSocket"),
    of("httpGet", &HTTP_GET),
    done("initialDelaySeconds"),
    done("periodSeconds"),
    done("successThreshold"),
    of("tcpSocket", &TCP_SOCKET),
    done("terminationGracePeriodSeconds"),
    done("timeoutSeconds"),
]);

pub(super) static LIFECYCLE: Shape =
    Shape(&[of("postStart", &POST_START), of("preStop", &PRE_STOP), done("stopSignal")]);

static POST_START: Shape = Shape(&[
    of("exec", &EXEC),
    refused("httpGet", &[], "only commands are run after the start; use exec"),
    refused("sleep", &[], "only commands are run after the start; use exec"),
    refused("tcpSocket", &[], "only commands are run after the start; use exec"),
]);

static PRE_STOP: Shape = Shape(&[
    of("exec", &EXEC),
    refused("httpGet", &[], "requests are not sent before the end; use exec or sleep"),
    of("sleep", &SLEEP),
    refused("tcpSocket", &[], "connections are not made before the end; use exec or sleep"),
]);
