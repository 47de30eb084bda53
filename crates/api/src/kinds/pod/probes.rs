//! Probes and hooks of containers, and what both do.

use k8s_openapi::{
    api::core::v1::{Container, ExecAction, HTTPGetAction, LifecycleHandler, Probe, SleepAction, TCPSocketAction},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::rules::{Errors, SECONDS_MAX, at_least, command, one_of, port, text, unless, within};
use crate::{FieldError, Path};

/// Signals that ask a container to end, without the `SIG` before each (signal(7)).
const SIGNALS: &str = "ABRT ALRM BUS CHLD CONT FPE HUP ILL INT IO KILL PIPE PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP \
                       TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ";

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
        errors.extend(probe.iter().flat_map(|probe| one(container, probe, kind, &path.field(field))));
    }
    let lifecycle = path.field("lifecycle");
    for (field, hook) in
        container.lifecycle.iter().flat_map(|l| [("postStart", &l.post_start), ("preStop", &l.pre_stop)])
    {
        errors.extend(hook.iter().flat_map(|hook| self::hook(container, hook, grace, &lifecycle.field(field))));
    }
    let signal = container.lifecycle.as_ref().and_then(|own| text(&own.stop_signal));
    errors.extend(signal.map(|signal| stop_signal(signal, lifecycle.field("stopSignal"))).unwrap_or_default());
    errors
}

fn stop_signal(signal: &str, path: Path<'_>) -> Errors {
    let known = signal.strip_prefix("SIG").is_some_and(|name| SIGNALS.split(' ').any(|known| known == name));
    unless(known, || FieldError::not_supported(path, format!("{signal:?} must be a signal such as SIGTERM or SIGINT")))
}

fn one(container: &Container, probe: &Probe, kind: Kind, path: &Path<'_>) -> Errors {
    let grpc = probe.grpc.as_ref();
    let mut errors =
        handlers(&[probe.exec.is_some(), probe.http_get.is_some(), probe.tcp_socket.is_some(), grpc.is_some()], path);
    errors.extend(actions(container, (probe.exec.as_ref(), probe.http_get.as_ref(), probe.tcp_socket.as_ref()), path));
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
            errors.extend(within(own_grace, 1, SECONDS_MAX, path.field("terminationGracePeriodSeconds")));
            errors.extend(unless(probe.success_threshold.is_none_or(|count| count <= 1), || {
                FieldError::invalid(path.field("successThreshold"), "must be 1")
            }));
        }
    }
    errors
}

fn hook(container: &Container, hook: &LifecycleHandler, grace: i64, path: &Path<'_>) -> Errors {
    let given = [hook.exec.is_some(), hook.http_get.is_some(), hook.tcp_socket.is_some(), hook.sleep.is_some()];
    let mut errors = handlers(&given, path);
    errors.extend(actions(container, (hook.exec.as_ref(), hook.http_get.as_ref(), hook.tcp_socket.as_ref()), path));
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
    container: &Container,
    (exec, get, tcp): (Option<&ExecAction>, Option<&HTTPGetAction>, Option<&TCPSocketAction>),
    path: &Path<'_>,
) -> Errors {
    let mut errors = Errors::new();
    if let Some(exec) = exec {
        let path = path.field("exec");
        let (words, path) = (exec.command.as_deref().unwrap_or_default(), path.field("command"));
        if words.is_empty() {
            errors.push(FieldError::required(path, "name the program to run"));
        }
        errors.extend(command(words, &path));
    }
    errors.extend(get.iter().flat_map(|get| http_get(container, get, &path.field("httpGet"))));
    errors.extend(tcp.iter().flat_map(|tcp| own_port(container, &tcp.port, path.field("tcpSocket").field("port"))));
    errors
}

/// A port by number, or by the name that the container gives it.
fn own_port(container: &Container, wanted: &IntOrString, path: Path<'_>) -> Errors {
    let mut errors = port(wanted, path);
    if let IntOrString::String(name) = wanted
        && errors.is_empty()
    {
        let known = container.ports.iter().flatten().any(|port| port.name.as_ref() == Some(name));
        errors.extend(unless(known, || {
            FieldError::not_found(path, format!("no port {name:?} in the ports of container {:?}", container.name))
        }));
    }
    errors
}

fn http_get(container: &Container, get: &HTTPGetAction, path: &Path<'_>) -> Errors {
    let mut errors = own_port(container, &get.port, path.field("port"));
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
