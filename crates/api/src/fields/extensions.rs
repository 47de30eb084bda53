//! Fields of what extends the API.

use super::{Shape, done, of, reported, shared, walked};

pub(crate) static CUSTOM_RESOURCE_DEFINITION: Shape =
    Shape(&[shared("metadata"), of("spec", &SPEC), reported("status")]);

static SPEC: Shape = Shape(&[
    // Another strategy than None is refused, and with it what a webhook needs.
    walked("conversion"),
    done("group"),
    of("names", &NAMES),
    done("preserveUnknownFields"),
    done("scope"),
    of("versions", &VERSION),
]);

static NAMES: Shape =
    Shape(&[done("categories"), done("kind"), done("listKind"), done("plural"), done("shortNames"), done("singular")]);

static VERSION: Shape = Shape(&[
    of("additionalPrinterColumns", &COLUMN),
    done("deprecated"),
    done("deprecationWarning"),
    done("name"),
    walked("schema"),
    of("selectableFields", &SELECTABLE),
    done("served"),
    done("storage"),
    of("subresources", &SUBRESOURCES),
]);

static COLUMN: Shape =
    Shape(&[done("description"), done("format"), done("jsonPath"), done("name"), done("priority"), done("type")]);

static SELECTABLE: Shape = Shape(&[done("jsonPath")]);

static SUBRESOURCES: Shape = Shape(&[of("scale", &SCALE), done("status")]);

static SCALE: Shape = Shape(&[done("labelSelectorPath"), done("specReplicasPath"), done("statusReplicasPath")]);
