//! The store against catalogs on disk and registries on loopback. It needs root, since layers keep owners and attributes.

#![expect(clippy::disallowed_methods, reason = "tests start tasks, and end them")]

mod registry;
mod store;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;
