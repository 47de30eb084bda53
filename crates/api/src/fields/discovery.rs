//! Fields of what tells the addresses behind services.

use super::{Shape, done, of, reference::OBJECT_REFERENCE, shared, warned};

pub(crate) static ENDPOINTS: Shape = Shape(&[shared("metadata"), of("subsets", &SUBSET)]);

static SUBSET: Shape =
    Shape(&[of("addresses", &ADDRESS), of("notReadyAddresses", &ADDRESS), of("ports", &ENDPOINT_PORT)]);

static ADDRESS: Shape = Shape(&[done("hostname"), done("ip"), done("nodeName"), of("targetRef", &OBJECT_REFERENCE)]);

static ENDPOINT_PORT: Shape = Shape(&[done("appProtocol"), done("name"), done("port"), done("protocol")]);

pub(crate) static ENDPOINT_SLICE: Shape =
    Shape(&[done("addressType"), of("endpoints", &ENDPOINT), shared("metadata"), of("ports", &ENDPOINT_PORT)]);

static ENDPOINT: Shape = Shape(&[
    done("addresses"),
    of("conditions", &CONDITIONS),
    done("deprecatedTopology"),
    warned("hints", &[], "traffic is spread over all ready endpoints that the node reaches, wherever they are"),
    done("hostname"),
    done("nodeName"),
    of("targetRef", &OBJECT_REFERENCE),
    done("zone"),
]);

static CONDITIONS: Shape = Shape(&[done("ready"), done("serving"), done("terminating")]);
