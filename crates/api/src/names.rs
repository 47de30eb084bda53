//! Names that stand in objects: groups, namespaces, labels, annotations, finalizers, field managers.
//!
//! Each is here once, with what it means; every other crate and the tests of names use these constants.

/// API groups. Those of Kubernetes' kinds come from the types of `k8s-openapi`.
pub mod group {
    /// Kinds of nanocloud's own.
    pub const NANOCLOUD: &str = "nanocloud.io";
    /// The same with its version, as `apiVersion` says it.
    pub const NANOCLOUD_V1: &str = "nanocloud.io/v1";
}

/// Namespaces that always exist.
pub mod namespace {
    /// Objects that name no other namespace.
    pub const DEFAULT: &str = "default";
    /// The leases by which nodes show that they are alive.
    pub const NODE_LEASES: &str = "kube-node-lease";
    /// The platform's own settings and keys.
    pub const SYSTEM: &str = "kube-system";
    /// All of them: one that is missing is created again.
    pub const BUILT_IN: [&str; 3] = [DEFAULT, NODE_LEASES, SYSTEM];
}

/// The service of the API itself, in namespace [`namespace::DEFAULT`].
pub mod api_service {
    /// Its name.
    pub const NAME: &str = "kubernetes";
    /// Its port.
    pub const PORT: u16 = 443;
    /// Name of its port.
    pub const PORT_NAME: &str = "https";
    /// Where the API listens if it does not say.
    pub const TARGET_PORT: u16 = 6443;
}

/// ConfigMaps that are in every namespace.
pub mod config_map {
    /// The certificate of the authority that signs the API's.
    pub const ROOT_CA: &str = "kube-root-ca.crt";
    /// The key under which it is.
    pub const ROOT_CA_KEY: &str = "ca.crt";
}

/// Labels.
pub mod label {
    /// Name of the bundle that an object belongs to.
    pub const INSTANCE: &str = "app.kubernetes.io/instance";
    /// Name of the service that an object belongs to.
    pub const NAME: &str = "app.kubernetes.io/name";
    /// What created an object; [`super::manager::NANOCLOUD`] on everything a bundle is made of.
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    /// The set of objects that one file brought; `nanocloud apply --prune` deletes what the file no longer names.
    pub const APPLY_SET: &str = "nanocloud.io/apply-set";
    /// Name of the pod, for services of one pod of a stateful set.
    pub const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
    /// Ordinal of a pod of a stateful set.
    pub const POD_INDEX: &str = "apps.kubernetes.io/pod-index";
    /// Revision of the template that a pod was made from.
    pub const POD_REVISION: &str = "controller-revision-hash";
    /// The hash in the name of a controller revision.
    pub const REVISION_HASH: &str = "controller.kubernetes.io/hash";
    /// Replica set and pod: hash of the template of the deployment that they belong to.
    pub const POD_TEMPLATE_HASH: &str = "pod-template-hash";
    /// Pod: name of its job.
    pub const JOB_NAME: &str = "batch.kubernetes.io/job-name";
    /// The same, without a prefix, as it was first.
    pub const JOB_NAME_LEGACY: &str = "job-name";
    /// Pod: uid of its job.
    pub const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";
    /// The same, without a prefix, as it was first.
    pub const CONTROLLER_UID_LEGACY: &str = "controller-uid";
    /// Pod of an indexed job: its index. An annotation, too.
    pub const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";
    /// Name of the node.
    pub const HOSTNAME: &str = "kubernetes.io/hostname";
    /// Operating system of the node.
    pub const OS: &str = "kubernetes.io/os";
    /// What the node is for: the role follows this prefix.
    pub const NODE_ROLE_PREFIX: &str = "node-role.kubernetes.io/";
    /// Name of the namespace, on the namespace itself.
    pub const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
    /// Zone of the node.
    pub const ZONE: &str = "topology.kubernetes.io/zone";
    /// Endpoint slice: the service that its endpoints are behind.
    pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
    /// Endpoint slice: the controller that writes it.
    pub const SLICE_MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
    /// Endpoints: they are not mirrored into endpoint slices, if it is `true`.
    pub const SKIP_MIRROR: &str = "endpointslice.kubernetes.io/skip-mirror";
    /// Endpoints: the controller that writes them.
    pub const ENDPOINTS_MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
    /// Endpoints and endpoint slice: the service has no address of its own.
    pub const HEADLESS: &str = "service.kubernetes.io/headless";
}

/// Annotations.
pub mod annotation {
    /// CustomResourceDefinition in a group of Kubernetes' own: where its API was approved.
    pub const API_APPROVED: &str = "api-approved.kubernetes.io";
    /// Bundle: its volumes stay when it is deleted.
    pub const KEEP_VOLUMES: &str = "nanocloud.io/keep-volumes";
    /// Bundle and pod: a changed value restarts the bundle's workload.
    pub const RESTARTED_AT: &str = "nanocloud.io/restarted-at";
    /// Bundle: a changed value runs all its bindings again.
    pub const RERUN_BINDINGS: &str = "nanocloud.io/rerun-bindings";
    /// Pod: digest of the image that the profile was resolved from; another one replaces the pod.
    pub const IMAGE_DIGEST: &str = "nanocloud.io/image-digest";
    /// Pod: digest of the profile; another one replaces the pod.
    pub const PROFILE: &str = "nanocloud.io/profile";
    /// Pod: end of the certificate's validity; a renewed certificate replaces the pod.
    pub const CERTIFICATE: &str = "nanocloud.io/certificate";
    /// Pod: most processes and threads of each container, for which Kubernetes has no field.
    pub const PIDS_LIMIT: &str = "nanocloud.io/pids-limit";
    /// Secret with a certificate: end of its validity.
    pub const NOT_AFTER: &str = "nanocloud.io/not-after";
    /// Secret with a certificate: when it is replaced, after two thirds of its life.
    pub const RENEW_AT: &str = "nanocloud.io/renew-at";
    /// Secret with a certificate: digest of the names in it.
    pub const CERTIFICATE_NAMES: &str = "nanocloud.io/certificate-names";
    /// Event of a binding: what is run in the target.
    pub const BINDING_ID: &str = "nanocloud.io/binding-id";
    /// Event of a binding: service of the target.
    pub const SERVICE: &str = "nanocloud.io/service";
    /// Event of a binding: bundle that asks for it.
    pub const BUNDLE: &str = "nanocloud.io/bundle";
    /// Event of a binding: number of the run.
    pub const ATTEMPT: &str = "nanocloud.io/attempt";
    /// Event of a binding: AppArmor profile that the command ran under, or why it had none.
    pub const APPARMOR: &str = "nanocloud.io/apparmor";
    /// Event of a binding: how long the run took, in milliseconds.
    pub const DURATION_MS: &str = "nanocloud.io/duration-ms";
    /// Pod: the requests and limits that it got from ranges of limits.
    pub const LIMIT_RANGER: &str = "kubernetes.io/limit-ranger";
    /// Persistent volume claim: the node that holds the volume. Set once, before the first pod with the claim is
    /// bound; from then on the claim's pods run there only.
    pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
    /// Service: it also answers for pods that are not ready, as `publishNotReadyAddresses` says today.
    pub const TOLERATE_UNREADY: &str = "service.alpha.kubernetes.io/tolerate-unready-endpoints";
    /// Deployment and replica set: number of the template in the history of the deployment.
    pub const REVISION: &str = "deployment.kubernetes.io/revision";
    /// Replica set: the numbers that its template had before, separated by commas.
    pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
    /// Replica set: `spec.replicas` of its deployment when the replica set was last scaled.
    pub const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
    /// Replica set: most pods that its deployment might have had when the replica set was last scaled.
    pub const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
    /// Pod: pods of a replica set with lower values are deleted first.
    pub const POD_DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
    /// Pod of an indexed job: how often pods of its index had failed before.
    pub const INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
    /// The same for failures that the job ignores.
    pub const INDEX_IGNORED_FAILURES: &str = "batch.kubernetes.io/job-index-ignored-failure-count";
    /// Job: the time of the schedule of its cron job.
    pub const SCHEDULED_AT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
    /// Job: the cron job that a person made it from.
    pub const INSTANTIATE: &str = "cronjob.kubernetes.io/instantiate";
    /// Secret: the service account of the token in it.
    pub const SERVICE_ACCOUNT: &str = "kubernetes.io/service-account.name";
    /// Pod: AppArmor profile of the container whose name follows this prefix; a field replaced it.
    pub const APPARMOR_PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
    /// Pod: seccomp profile; without effect since Kubernetes 1.27.
    pub const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
    /// Pod: seccomp profile of the container whose name follows this prefix; without effect since Kubernetes 1.27.
    pub const SECCOMP_PREFIX: &str = "container.seccomp.security.alpha.kubernetes.io/";
    /// Endpoints: `truncated`, since there were more addresses than one object may have.
    pub const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
    /// Endpoints: when the change happened that led to this state. Never copied.
    pub const LAST_CHANGE_TRIGGER: &str = "endpoints.kubernetes.io/last-change-trigger-time";
    /// Whatever `kubectl apply` sent last.
    pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
    /// Endpoints: they hold the lock of a leader, and no addresses.
    pub const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
    /// Bookmark of a watch: the objects that existed at its start have all been sent.
    pub const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";
}

/// Taints of nodes.
pub mod taint {
    /// The node is not ready.
    pub const NOT_READY: &str = "node.kubernetes.io/not-ready";
    /// The node has not been heard of.
    pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
    /// The disk of the node is full.
    pub const DISK_PRESSURE: &str = "node.kubernetes.io/disk-pressure";
    /// The memory of the node is short.
    pub const MEMORY_PRESSURE: &str = "node.kubernetes.io/memory-pressure";
    /// The node runs too many processes.
    pub const PID_PRESSURE: &str = "node.kubernetes.io/pid-pressure";
    /// The node is cordoned: `spec.unschedulable`.
    pub const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
    /// Pods of the node do not reach others yet.
    pub const NETWORK_UNAVAILABLE: &str = "node.kubernetes.io/network-unavailable";
}

/// Finalizers.
pub mod finalizer {
    use crate::Finalizer;

    /// Bundle: its bindings are revoked, and its volumes deleted or set free, before it goes.
    pub const BUNDLE_CLEANUP: Finalizer = Finalizer::renamed("nanocloud.io/bundle-cleanup", "nanocloud.io/volumes");
    /// Pod of a job: how it ends has not been counted yet.
    pub const JOB_TRACKING: Finalizer = Finalizer::new("batch.kubernetes.io/job-tracking");
    /// Persistent volume claim: a node has made its volume, or was about to; the data go before the claim.
    pub const VOLUME_DATA: Finalizer = Finalizer::renamed("nanocloud.io/volume-data", "nanocloud.io/volume");
    /// Binding: what its command made in the target is revoked before it goes.
    pub const BINDING_REVOCATION: Finalizer = Finalizer::new("nanocloud.io/revoke");
    /// An owner that goes after the objects it owns.
    pub const FOREGROUND: Finalizer = Finalizer::new("foregroundDeletion");
    /// An owner whose objects are set free before it goes.
    pub const ORPHAN: Finalizer = Finalizer::new("orphan");
    /// In the spec of a namespace: its contents go before it.
    pub const NAMESPACE_CONTENTS: Finalizer = Finalizer::new("kubernetes");
    /// CustomResourceDefinition: its objects go before it.
    pub const CUSTOM_RESOURCES: Finalizer = Finalizer::new("customresourcecleanup.apiextensions.k8s.io");
}

/// Further facts about a user (`extra` of a `SelfSubjectReview`).
pub mod user_extra {
    /// The scopes that the user's token is limited to.
    pub const SCOPES: &str = "nanocloud.io/scopes";
    /// The pod that the user's token is bound to.
    pub const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
    /// Uid of that pod.
    pub const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
    /// Id of the token.
    pub const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";
}

/// Field managers.
pub mod manager {
    /// The command line, unless it is given another name; also the value of [`super::label::MANAGED_BY`].
    pub const NANOCLOUD: &str = "nanocloud";
    /// Job: `spec.managedBy` of jobs that are left to the built-in controller.
    pub const JOB_CONTROLLER: &str = "kubernetes.io/job-controller";
}

/// Types of secrets.
pub mod secret_type {
    /// The type says nothing about the data.
    pub const OPAQUE: &str = "Opaque";
    /// A certificate and its key.
    pub const TLS: &str = "kubernetes.io/tls";
    /// Logins for registries, in the old format.
    pub const DOCKER_CONFIG: &str = "kubernetes.io/dockercfg";
    /// Logins for registries.
    pub const DOCKER_CONFIG_JSON: &str = "kubernetes.io/dockerconfigjson";
    /// User name and password.
    pub const BASIC_AUTH: &str = "kubernetes.io/basic-auth";
    /// A private key for SSH.
    pub const SSH_AUTH: &str = "kubernetes.io/ssh-auth";
    /// A token of a service account.
    pub const SERVICE_ACCOUNT_TOKEN: &str = "kubernetes.io/service-account-token";
}
