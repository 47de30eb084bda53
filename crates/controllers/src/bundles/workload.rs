//! The Service and the StatefulSet of a bundle.

use std::collections::BTreeMap;

use api::{
    ObjectMeta,
    kinds::{Bundle, PersistentVolumeClaim, Service, StatefulSet},
    meta::controller_reference,
    names::annotation::{CERTIFICATE, IMAGE_DIGEST, KEEP_VOLUMES, PIDS_LIMIT, PROFILE, RESTARTED_AT},
};
use dockyard::{Check, PortPlan, Resolution, SECRETS_DIR, TLS_DIR, Value};
use k8s_openapi::{
    api::{
        apps::v1::StatefulSetSpec,
        core::v1::{
            Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, ExecAction, HTTPGetAction, KeyToPath,
            PersistentVolumeClaimSpec, PodSpec, PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile,
            SecretKeySelector, SecretVolumeSource, SecurityContext, ServicePort, ServiceSpec, TCPSocketAction, Volume,
            VolumeMount, VolumeResourceRequirements,
        },
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::names;
use crate::digest;

/// Volume with the generated secrets.
const SECRETS_VOLUME: &str = "nanocloud-secrets";
/// Volume with the certificate.
const TLS_VOLUME: &str = "nanocloud-tls";
/// Mode of secret files: their owner reads them, nobody else.
const SECRET_MODE: i32 = 0o400;

/// What a workload is made from.
pub(crate) struct Input<'a> {
    pub(crate) bundle: &'a Bundle,
    pub(crate) image: &'a str,
    pub(crate) image_digest: &'a str,
    pub(crate) resolution: &'a Resolution,
    /// End of the certificate's validity, as text.
    pub(crate) certificate: Option<&'a str>,
}

/// Whether the bundle's volumes outlive it.
pub(crate) fn keeps_volumes(bundle: &Bundle) -> bool {
    let annotations = bundle.metadata.annotations.as_ref();
    annotations.and_then(|all| all.get(KEEP_VOLUMES)).is_some_and(|value| value == "true")
}

/// The Service; none for a bundle without ports.
pub(crate) fn service(input: &Input<'_>) -> Option<Service> {
    let ports = input.resolution.ports.iter().map(|port| ServicePort {
        name: Some(port.name.clone()),
        port: port.port.into(),
        protocol: Some(port.protocol.as_str().into()),
        target_port: Some(IntOrString::Int(port.port.into())),
        ..ServicePort::default()
    });
    let ports: Vec<_> = ports.collect();
    (!ports.is_empty()).then(|| Service {
        metadata: names::owned(input.bundle, names::name(input.bundle).to_owned()),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".into()),
            selector: Some(names::selector(input.bundle)),
            ports: Some(ports),
            ..ServiceSpec::default()
        }),
        status: None,
    })
}

/// The StatefulSet: one pod, or none while the bundle is stopped.
pub(crate) fn stateful_set(input: &Input<'_>) -> StatefulSet {
    let bundle = input.bundle;
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(names::labels(bundle)),
            annotations: Some(pod_annotations(input)),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            containers: vec![container(input)],
            volumes: Some(secret_volumes(input)).filter(|volumes| !volumes.is_empty()),
            automount_service_account_token: Some(false),
            // Options say where other services are.
            enable_service_links: Some(false),
            ..PodSpec::default()
        }),
    };
    StatefulSet {
        metadata: names::owned(bundle, names::name(bundle).to_owned()),
        spec: Some(StatefulSetSpec {
            replicas: Some(i32::from(bundle.spec.start)),
            service_name: Some(names::name(bundle).to_owned()),
            selector: LabelSelector { match_labels: Some(names::selector(bundle)), ..LabelSelector::default() },
            template,
            volume_claim_templates: Some(claims(input)).filter(|claims| !claims.is_empty()),
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

fn pod_annotations(input: &Input<'_>) -> BTreeMap<String, String> {
    let options = input.resolution.options.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
    let secrets = input.resolution.secrets.keys().map(String::as_bytes);
    let mut all = BTreeMap::from([
        (IMAGE_DIGEST.to_owned(), input.image_digest.to_owned()),
        (PROFILE.to_owned(), digest::hex_of(options.chain(secrets))),
    ]);
    let given = input.bundle.metadata.annotations.as_ref().and_then(|all| all.get(RESTARTED_AT));
    all.extend(given.map(|value| (RESTARTED_AT.to_owned(), value.clone())));
    all.extend(input.certificate.map(|end| (CERTIFICATE.to_owned(), end.to_owned())));
    all.extend(input.resolution.resources.pids.map(|pids| (PIDS_LIMIT.to_owned(), pids.to_string())));
    all
}

fn container(input: &Input<'_>) -> Container {
    let resolution = input.resolution;
    let mut mounts: Vec<_> = resolution.volumes.iter().map(|volume| mount(&volume.name, &volume.path, false)).collect();
    if !resolution.secrets.is_empty() {
        mounts.push(mount(SECRETS_VOLUME, SECRETS_DIR, true));
    }
    if resolution.tls.is_some() {
        mounts.push(mount(TLS_VOLUME, TLS_DIR, true));
    }
    Container {
        name: names::service_label(input.bundle),
        image: Some(input.image.to_owned()),
        // The digest was settled when the profile was resolved; a restart must not change it.
        image_pull_policy: Some("IfNotPresent".into()),
        env: Some(environment(input)).filter(|env| !env.is_empty()),
        ports: Some(resolution.ports.iter().map(container_port).collect()),
        volume_mounts: Some(mounts),
        // The bundle's condition says how its program ended, in its own words.
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        readiness_probe: resolution.readiness.as_ref().map(probe),
        liveness_probe: resolution.liveness.as_ref().map(probe),
        resources: resources(input),
        security_context: Some(security(input.bundle)),
        ..Container::default()
    }
}

fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

fn environment(input: &Input<'_>) -> Vec<EnvVar> {
    let secret = names::profile_secret(names::name(input.bundle));
    let variable = |(name, value): (&String, &Value)| match value {
        Value::Literal(text) => EnvVar { name: name.clone(), value: Some(verbatim(text)), value_from: None },
        Value::SecretRef(key) => {
            let key = SecretKeySelector { name: secret.clone(), key: key.clone(), optional: None };
            let source = EnvVarSource { secret_key_ref: Some(key), ..EnvVarSource::default() };
            EnvVar { name: name.clone(), value: None, value_from: Some(source) }
        }
    };
    input.resolution.env.iter().map(variable).collect()
}

/// The value by which a container gets this text. The kubelet replaces `$(NAME)` by another variable, which may be
/// a secret, and `$$` by `$`.
fn verbatim(text: &str) -> String {
    text.replace('$', "$$")
}

fn container_port(port: &PortPlan) -> ContainerPort {
    ContainerPort {
        name: Some(port.name.clone()),
        container_port: port.port.into(),
        protocol: Some(port.protocol.as_str().into()),
        host_port: port.publish.map(|publish| publish.port.into()),
        host_ip: port.publish.and_then(|publish| publish.address).map(|address| address.to_string()),
    }
}

fn probe(plan: &dockyard::Probe) -> Probe {
    let seconds = |value: u32| Some(i32::try_from(value).unwrap_or(i32::MAX));
    let mut probe = Probe {
        period_seconds: seconds(plan.period_seconds),
        timeout_seconds: seconds(plan.timeout_seconds),
        failure_threshold: seconds(plan.failure_threshold),
        initial_delay_seconds: seconds(plan.initial_delay_seconds),
        ..Probe::default()
    };
    match &plan.check {
        Check::Http { path, port } => {
            let port = IntOrString::Int((*port).into());
            probe.http_get = Some(HTTPGetAction { path: Some(path.clone()), port, ..HTTPGetAction::default() });
        }
        Check::Tcp { port } => {
            probe.tcp_socket = Some(TCPSocketAction { port: IntOrString::Int((*port).into()), host: None });
        }
        Check::Exec { command } => probe.exec = Some(ExecAction { command: Some(command.clone()) }),
    }
    probe
}

/// The bundle's own limits, or those of the image.
fn resources(input: &Input<'_>) -> Option<ResourceRequirements> {
    if let Some(own) = &input.bundle.spec.resources {
        return Some(own.clone());
    }
    let plan = &input.resolution.resources;
    let limits = [("cpu", &plan.cpu), ("memory", &plan.memory)];
    let limits: BTreeMap<_, _> = limits
        .iter()
        .filter_map(|(name, value)| Some(((*name).to_owned(), Quantity(value.as_ref()?.clone()))))
        .collect();
    (!limits.is_empty()).then(|| ResourceRequirements { limits: Some(limits), ..ResourceRequirements::default() })
}

/// No capability but those asked for. `Baseline`, the platform's own seccomp profile, has no name in
/// Kubernetes: it is what a container gets that names none.
fn security(bundle: &Bundle) -> SecurityContext {
    let asked = bundle.spec.security.clone().unwrap_or_default();
    let add: Vec<_> =
        asked.extra_capabilities.iter().map(|name| name.strip_prefix("CAP_").unwrap_or(name).to_owned()).collect();
    let seccomp = asked.seccomp_profile.filter(|profile| profile.r#type != "Baseline");
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".into()]),
            add: Some(add).filter(|add| !add.is_empty()),
        }),
        seccomp_profile: seccomp
            .map(|profile| SeccompProfile { type_: profile.r#type, localhost_profile: profile.localhost_profile }),
        ..SecurityContext::default()
    }
}

fn secret_volumes(input: &Input<'_>) -> Vec<Volume> {
    let bundle = names::name(input.bundle);
    let volume = |name: &str, secret: String, items: Option<Vec<KeyToPath>>| Volume {
        name: name.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret),
            items,
            default_mode: Some(SECRET_MODE),
            optional: None,
        }),
        ..Volume::default()
    };
    let mut volumes = Vec::new();
    if !input.resolution.secrets.is_empty() {
        let items = input.resolution.secrets.keys();
        let items = items.map(|key| KeyToPath { key: key.clone(), path: key.clone(), mode: Some(SECRET_MODE) });
        volumes.push(volume(SECRETS_VOLUME, names::profile_secret(bundle), Some(items.collect())));
    }
    if input.resolution.tls.is_some() {
        volumes.push(volume(TLS_VOLUME, names::tls_secret(bundle), None));
    }
    volumes
}

fn claims(input: &Input<'_>) -> Vec<PersistentVolumeClaim> {
    let claims = input.resolution.volumes.iter().map(|volume| {
        let requests = BTreeMap::from([("storage".to_owned(), Quantity(volume.size.clone()))]);
        PersistentVolumeClaim {
            metadata: ObjectMeta {
                name: Some(volume.name.clone()),
                labels: Some(names::labels(input.bundle)),
                owner_references: (!keeps_volumes(input.bundle)).then(|| vec![controller_reference(input.bundle)]),
                ..ObjectMeta::default()
            },
            spec: Some(PersistentVolumeClaimSpec {
                access_modes: Some(vec!["ReadWriteOnce".into()]),
                resources: Some(VolumeResourceRequirements { requests: Some(requests), limits: None }),
                ..PersistentVolumeClaimSpec::default()
            }),
            status: None,
        }
    });
    claims.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::verbatim;

    /// What a kubelet makes of a value (core/v1 EnvVar) in which it knows the variable `S`.
    fn expand(value: &str) -> String {
        let mut out = String::new();
        let mut rest = value;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            rest = if let Some(left) = after.strip_prefix('$') {
                out.push('$');
                left
            } else if let Some(left) = after.strip_prefix("(S)") {
                out.push_str("the secret");
                left
            } else {
                out.push('$');
                after
            };
        }
        out + rest
    }

    #[test]
    fn the_reference_expands() {
        assert_eq!((expand("a$$b$(S)$(T)"), expand("$$(S)")), ("a$bthe secret$(T)".into(), "$(S)".into()));
    }

    proptest! {
        #[test]
        fn what_is_given_is_what_arrives(text in "[$()S&'`\\\\ a-c]{0,24}|.{0,24}") {
            prop_assert_eq!(expand(&verbatim(&text)), text);
        }
    }
}
