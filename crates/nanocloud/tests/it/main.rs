//! The whole node, as a user runs it: the real binary, real images from Debian's packages, real
//! containers. Needs root, apt and a kernel with namespaces; see CONTRIBUTING.md.

#![expect(clippy::disallowed_methods, reason = "tests start programs and tasks, and end them")]

mod bindings;
mod cluster;
mod command_line;
mod custom_resources;
mod faults;
mod in_cluster;
mod lifecycle;
mod node;
mod pods;
mod two_nodes;
mod workloads;
