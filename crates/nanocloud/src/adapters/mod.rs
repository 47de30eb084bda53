//! The ports of the actors, implemented over the mechanisms of this node.

pub mod api_servers;
pub mod catalog;
pub mod facts;
pub mod issuer;
pub mod reconciles;
pub mod streams;
