//! What the limits of a range are about.

/// Limits of each container.
pub(super) const CONTAINER: &str = "Container";
/// Limits of all containers of a pod together.
pub(super) const POD: &str = "Pod";
/// Limits of each claim.
pub(super) const CLAIM: &str = "PersistentVolumeClaim";
