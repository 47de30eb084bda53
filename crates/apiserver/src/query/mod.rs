//! Query parameters and media types of a request.

pub(crate) mod event_filter;
pub(crate) mod negotiate;
pub(crate) mod options;
pub(crate) mod params;
