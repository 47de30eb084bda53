//! What an option that selects a bundle says.

/// A `&` option's value: `service`, or `service:bundle` when the bundle has another name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selection<'a> {
    pub(crate) service: &'a str,
    pub(crate) bundle: &'a str,
}

impl<'a> Selection<'a> {
    pub(crate) fn parse(value: &'a str) -> Self {
        let (service, bundle) = value.split_once(':').unwrap_or((value, value));
        Self { service, bundle }
    }
}
