//! What keeps data: claims.

pub(crate) mod persistent_volume_claim;
