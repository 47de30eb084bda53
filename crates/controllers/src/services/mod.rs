//! Where services lead: the addresses of their pods, in `EndpointSlice` and in `Endpoints`.
//!
//! Of a service with a selector both are written from its pods. Of one without, whoever made it writes either; its
//! `Endpoints` are mirrored into slices, so that slices are all that has to be read. The service of the API itself leads
//! to the servers of the cluster.

pub(crate) mod api_service;
mod backend;
mod endpoints;
pub(crate) mod mirror;
pub(crate) mod publish;
mod slices;

#[cfg(test)]
mod tests;
