//! Probes and hooks of containers, and what both do.

use k8s_openapi::api::core::v1::{
    Container, ExecAction, HTTPGetAction, LifecycleHandler, Probe, SleepAction, TCPSocketAction,
};

use super::rules::{Errors, at_least, one_of, port, unless};
use crate::{FieldError, Path};

/// Which probe of a container it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Decides whether the container takes traffic.
    Readiness,
    /// Decides whether the container is ended.
    Other,
}

/// Checks probes and hooks; `grace` is how many seconds the pod has to end.
pub(super) fn check(container: &Container, grace: i64, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    for (field, probe, kind) in [
        ("livenessProbe", &container.liveness_probe, Kind::Other),
        ("readinessProbe", &container.readiness_probe, Kind::Readiness),
        ("startupProbe", &container.startup_probe, Kind::Other),
    ] {
        errors.extend(probe.iter().flat_map(|probe| one(probe, kind, &path.field(field))));
    }
    let lifecycle = path.field("lifecycle");
    for (field, hook) in
        container.lifecycle.iter().flat_map(|l| [("postStart", &l.post_start), ("preStop", &l.pre_stop)])
    {
        errors.extend(hook.iter().flat_map(|hook| self::hook(hook, grace, &lifecycle.field(field))));
    }
    errors
}

fn one(probe: &Probe, kind: Kind, path: &Path<'_>) -> Errors {
    let grpc = probe.grpc.as_ref();
    let mut errors =
        handlers(&[probe.exec.is_some(), probe.http_get.is_some(), probe.tcp_socket.is_some(), grpc.is_some()], path);
    errors.extend(actions(probe.exec.as_ref(), probe.http_get.as_ref(), probe.tcp_socket.as_ref(), path));
    let service = path.field("grpc");
    errors.extend(grpc.iter().flat_map(|grpc| super::rules::port_number(grpc.port, service.field("port"))));
    for (field, number) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        errors.extend(at_least(number, 0, path.field(field)));
    }
    let own_grace = probe.termination_grace_period_seconds;
    match kind {
        Kind::Readiness => errors.extend(unless(own_grace.is_none(), || {
            let message = "a container is not ended for its readiness; leave it out";
            FieldError::invalid(path.field("terminationGracePeriodSeconds"), message)
        })),
        Kind::Other => {
            errors.extend(at_least(own_grace, 1, path.field("terminationGracePeriodSeconds")));
            errors.extend(unless(probe.success_threshold.is_none_or(|count| count <= 1), || {
                FieldError::invalid(path.field("successThreshold"), "must be 1")
            }));
        }
    }
    errors
}

fn hook(hook: &LifecycleHandler, grace: i64, path: &Path<'_>) -> Errors {
    let given = [hook.exec.is_some(), hook.http_get.is_some(), hook.tcp_socket.is_some(), hook.sleep.is_some()];
    let mut errors = handlers(&given, path);
    errors.extend(actions(hook.exec.as_ref(), hook.http_get.as_ref(), hook.tcp_socket.as_ref(), path));
    errors.extend(hook.sleep.iter().flat_map(|sleep| self::sleep(sleep, grace, path.field("sleep"))));
    errors
}

fn handlers(given: &[bool], path: &Path<'_>) -> Errors {
    match given.iter().filter(|given| **given).count() {
        0 => vec![FieldError::required(path, "say what is done, such as exec or httpGet")],
        1 => Errors::new(),
        _ => vec![FieldError::forbidden(path, "one thing is done, not several: keep one of them")],
    }
}

fn actions(
    exec: Option<&ExecAction>,
    get: Option<&HTTPGetAction>,
    tcp: Option<&TCPSocketAction>,
    path: &Path<'_>,
) -> Errors {
    let mut errors = Errors::new();
    if exec.is_some_and(|exec| exec.command.iter().flatten().next().is_none()) {
        errors.push(FieldError::required(path.field("exec").field("command"), "name the program to run"));
    }
    errors.extend(get.iter().flat_map(|get| http_get(get, &path.field("httpGet"))));
    errors.extend(tcp.iter().flat_map(|tcp| port(&tcp.port, path.field("tcpSocket").field("port"))));
    errors
}

fn http_get(get: &HTTPGetAction, path: &Path<'_>) -> Errors {
    let mut errors = port(&get.port, path.field("port"));
    errors.extend(one_of(&get.scheme, &["HTTP", "HTTPS"], path.field("scheme")));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let bad = |name: &str| name.is_empty() || !name.bytes().all(plain);
    let wrong = get.http_headers.iter().flatten().filter(|header| bad(&header.name));
    errors.extend(wrong.map(|header| {
        let message = format!("{:?} must be letters, digits or '-'", header.name);
        FieldError::invalid(path.field("httpHeaders"), message)
    }));
    errors
}

fn sleep(sleep: &SleepAction, grace: i64, path: Path<'_>) -> Errors {
    unless((0..=grace.max(0)).contains(&sleep.seconds), || {
        FieldError::invalid(path, format!("must be from 0 to the pod's terminationGracePeriodSeconds, {grace}"))
    })
}

/// Init containers end before others start: they are not probed, and nothing is to be done before their end.
pub(super) fn check_init(container: &Container, path: &Path<'_>) -> Errors {
    let given = [
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
        ("lifecycle", container.lifecycle.is_some()),
    ];
    let given = given.into_iter().filter(|(_, given)| *given);
    given
        .map(|(field, _)| FieldError::forbidden(path.field(field), "init containers run to their end; leave it out"))
        .collect()
}
