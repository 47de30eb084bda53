//! The kubelet with everything real but the keyspace's disk: API server, containers, networks, volumes. It needs root,
//! cgroups, overlayfs, nftables and a static busybox.

mod image;
mod pods;
mod world;
