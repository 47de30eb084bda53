//! `v1 ServiceAccount`.

pub use k8s_openapi::api::core::v1::ServiceAccount;

kubernetes_kind!(ServiceAccount, plural: "serviceaccounts", singular: "serviceaccount", scope: Namespaced {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::SERVICE_ACCOUNT;
    const SHORT_NAMES: &'static [&'static str] = &["sa"];
    const SHOWN_WHEN_DELETED: bool = true;
});
