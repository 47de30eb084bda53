//! What a request asks for beside its path: query parameters and media types.

pub(crate) mod event_filter;
pub(crate) mod negotiate;
pub(crate) mod options;
pub(crate) mod params;
