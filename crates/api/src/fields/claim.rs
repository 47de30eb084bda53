//! Fields of claims of volumes.

use super::{Shape, done, of, refused, reported, shared, warned};

pub(crate) static PERSISTENT_VOLUME_CLAIM: Shape =
    Shape(&[shared("metadata"), of("spec", &PERSISTENT_VOLUME_CLAIM_SPEC), reported("status")]);

static PERSISTENT_VOLUME_CLAIM_SPEC: Shape = Shape(&[
    done("accessModes"),
    refused("dataSource", &[], "volumes are not filled from others; leave it out and copy the data into the volume"),
    refused("dataSourceRef", &[], "volumes are not filled from others; leave it out and copy the data into the volume"),
    of("resources", &VOLUME_RESOURCES),
    refused("selector", &["{}"], "volumes are made for their claims and not chosen; leave it out"),
    done("storageClassName"),
    refused("volumeAttributesClassName", &[], "there are no such classes; leave it out"),
    done("volumeMode"),
    done("volumeName"),
]);

static VOLUME_RESOURCES: Shape = Shape(&[warned("limits", &["{}"], "volumes have no upper limit"), done("requests")]);
