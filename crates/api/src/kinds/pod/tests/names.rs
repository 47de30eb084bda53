//! Whatever is sent as a name: what is admitted stays below the directory it is joined to.

use std::path::{Component, Path};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{changed, errors, pod};

/// Fields whose values become parts of paths, files or lines of files on a node, with whether they may have folders.
const FIELDS: [(&str, bool); 10] = [
    ("/volumes/1/name", false),
    ("/containers/1/name", false),
    ("/initContainers/0/name", false),
    ("/hostname", false),
    ("/subdomain", false),
    ("/containers/0/ports/0/name", false),
    ("/volumes/1/configMap/items/0/key", false),
    ("/containers/0/securityContext/seccompProfile/localhostProfile", false),
    ("/volumes/1/configMap/items/0/path", true),
    ("/containers/0/volumeMounts/0/subPath", true),
];

fn with(pointer: &str, text: &str) -> Value {
    let mut changes = vec![
        ("/volumes/1/configMap/items/0", json!({"key": "k", "path": "p"})),
        ("/containers/0/securityContext/seccompProfile", json!({"type": "Localhost", "localhostProfile": "p"})),
    ];
    changes.push((pointer, text.into()));
    pod(changed(&changes))
}

fn stays_below(text: &str, may_have_folders: bool) -> bool {
    let joined = Path::new("/root").join(text);
    let mut below = match joined.strip_prefix("/root") {
        Ok(below) => below.components(),
        Err(_) => return false,
    };
    let folders = below.clone().count() > 1;
    below.all(|part| matches!(part, Component::Normal(_))) && (may_have_folders || !folders)
}

#[test]
fn the_samples_are_admitted() {
    for (pointer, _) in FIELDS {
        assert_eq!(errors("pods", with(pointer, "web"), None), [], "{pointer}");
    }
}

proptest! {
    #[test]
    fn what_is_admitted_stays_below_its_directory(
        text in prop_oneof!["[a-z./]{0,8}", "[a-zA-Z0-9._/~\\\\ \n\u{0}-]{0,12}", any::<String>()],
        field in 0..FIELDS.len(),
    ) {
        let (pointer, may_have_folders) = FIELDS[field];
        if errors("pods", with(pointer, &text), None).is_empty() {
            prop_assert!(stays_below(&text, may_have_folders), "{pointer} {text:?}");
            prop_assert!(may_have_folders || !text.contains(['\0', '\n', '/']), "{pointer} {text:?}");
        }
    }
}
