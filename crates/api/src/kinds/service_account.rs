//! `v1 ServiceAccount`.

pub use k8s_openapi::api::core::v1::ServiceAccount;

use crate::resource::Subresource;

kubernetes_kind!(ServiceAccount, plural: "serviceaccounts", singular: "serviceaccount", scope: Namespaced {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::SERVICE_ACCOUNT;
    const SHORT_NAMES: &'static [&'static str] = &["sa"];
    const SHOWN_WHEN_DELETED: bool = true;
    const SUBRESOURCES: &'static [Subresource] = &[Subresource {
        shape: Some(("authentication.k8s.io", "v1", "TokenRequest")),
        ..Subresource::own("token", &["create"])
    }];
});
