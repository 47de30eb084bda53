//! Bridges, veth pairs, addresses, nftables and DNS for pods.
