//! Every kind the API serves: one file and one line each.
//!
//! A line in [`kinds!`] names the module and the type. From it come routes, list and watch, tables,
//! discovery, OpenAPI, `nanocloud get`, authorisation names and the conformance suite.

/// Implements [`Resource`](crate::Resource) for a type of k8s-openapi: names from the type, behaviour from the block.
macro_rules! kubernetes_kind {
    ($type:ty, plural: $plural:literal, singular: $singular:literal, scope: $scope:ident { $($body:tt)* }) => {
        impl $crate::Resource for $type {
            const GROUP: &'static str = <$type as k8s_openapi::Resource>::GROUP;
            const VERSION: &'static str = <$type as k8s_openapi::Resource>::VERSION;
            const KIND: &'static str = <$type as k8s_openapi::Resource>::KIND;
            const PLURAL: &'static str = $plural;
            const SINGULAR: &'static str = $singular;
            const SCOPE: $crate::Scope = $crate::Scope::$scope;
            fn meta(&self) -> &$crate::ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut $crate::ObjectMeta {
                &mut self.metadata
            }
            $($body)*
        }
    };
}

macro_rules! kinds {
    ($($module:ident :: $kind:ident),* $(,)?) => {
        $(pub mod $module; pub use $module::$kind;)*

        static ALL: std::sync::LazyLock<Vec<$crate::Kind>> =
            std::sync::LazyLock::new(|| vec![$($crate::Kind::of::<$kind>()),*]);

        /// Calls the visitor once for each kind.
        pub fn for_each_kind(visitor: &mut impl $crate::KindVisitor) {
            $(visitor.visit::<$kind>();)*
        }
    };
}

kinds! {
    namespace::Namespace,
    node::Node,
    pod::Pod,
    service::Service,
    endpoints::Endpoints,
    endpoint_slice::EndpointSlice,
    service_account::ServiceAccount,
    config_map::ConfigMap,
    secret::Secret,
    event::Event,
    persistent_volume_claim::PersistentVolumeClaim,
    limit_range::LimitRange,
    pod_template::PodTemplate,
    stateful_set::StatefulSet,
    replica_set::ReplicaSet,
    replication_controller::ReplicationController,
    deployment::Deployment,
    daemon_set::DaemonSet,
    job::Job,
    cron_job::CronJob,
    controller_revision::ControllerRevision,
    lease::Lease,
    custom_resource_definition::CustomResourceDefinition,
    role::Role,
    cluster_role::ClusterRole,
    role_binding::RoleBinding,
    cluster_role_binding::ClusterRoleBinding,
    bundle::Bundle,
    binding::Binding,
    token::Token,
}

/// Every kind, in the order of the list above.
pub fn all() -> &'static [crate::Kind] {
    &ALL
}

/// Finds a kind by what a person types: plural, singular, kind, short name or `plural.group`.
pub fn find(name: &str) -> Option<&'static crate::Kind> {
    let name = name.to_ascii_lowercase();
    ALL.iter().find(|kind| kind.is_called(&name))
}

pub mod grant;
mod served;
pub mod workload;

pub use served::Kinds;

#[cfg(test)]
mod rules;
#[cfg(test)]
mod tests;
