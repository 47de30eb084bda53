#!/usr/bin/env bash
# What six libraries make of a JSON Patch that RFC 6902 leaves in doubt, or calls an error.
#
# Versions: the crate json-patch 5.0.0; the Python package jsonpatch 1.48; the npm packages fast-json-patch 3.1.1 (as it
# is called by default, and with validation), rfc6902 5.4.0, json8-patch 1.0.6 and immutable-json-patch 6.0.3. Seen on
# 2026-12-01 (Python 3.11, Node 20.20.2, Rust 1.95).
#
# Surprising: an error in the patch is a success that changes nothing, or something else. fast-json-patch, called as its
# documentation begins, adds at `/a/-1` without an effect, removes what is not there, and makes a member named
# "undefined" for the path `b`; immutable-json-patch replaces the whole document for that path, and puts an item at the
# front of a list for the index `b`. rfc6902 says that `/a/01` and `/a/-` were replaced, and the list is as before.
# When the second operation fails, fast-json-patch and rfc6902 have changed the document that the caller holds; the
# others have not. Only the crate json-patch finds that 1 is not 1.0, which RFC 6902 calls equal (section 4.6). `~2`,
# an escape that does not exist, is refused by the crate and by Python's package, and taken as it stands by the others.
# rfc6902 refuses to replace the whole document. Removing it is refused by three, and is null, undefined, or nothing done
# with the others.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check jsonpatch==1.48
npm install --silent --no-audit --no-fund \
    fast-json-patch@3.1.1 rfc6902@5.4.0 json8-patch@1.0.6 immutable-json-patch@6.0.3 >/dev/null

cat >table.json <<'JSON'
[
  ["replace what is not there", {"a": 1}, [{"op": "replace", "path": "/b", "value": 2}]],
  ["remove what is not there", {"a": 1}, [{"op": "remove", "path": "/b"}]],
  ["test absent against null", {"a": 1}, [{"op": "test", "path": "/b", "value": null}]],
  ["add without a value", {"a": 1}, [{"op": "add", "path": "/b"}]],
  ["add behind the end", {"a": [1]}, [{"op": "add", "path": "/a/2", "value": 2}]],
  ["add at -1", {"a": [1]}, [{"op": "add", "path": "/a/-1", "value": 2}]],
  ["replace at -", {"a": [1]}, [{"op": "replace", "path": "/a/-", "value": 2}]],
  ["remove at -", {"a": [1, 2]}, [{"op": "remove", "path": "/a/-"}]],
  ["index with a leading zero", {"a": [1, 2]}, [{"op": "replace", "path": "/a/01", "value": 9}]],
  ["index that is no number", {"a": [1, 2]}, [{"op": "add", "path": "/a/b", "value": 9}]],
  ["test 1 against 1.0", {"a": 1}, [{"op": "test", "path": "/a", "value": 1.0}]],
  ["test true against 1", {"a": true}, [{"op": "test", "path": "/a", "value": 1}]],
  ["move into its own child", {"a": {"b": 1}}, [{"op": "move", "from": "/a", "path": "/a/c"}]],
  ["move onto itself", {"a": 1}, [{"op": "move", "from": "/a", "path": "/a"}]],
  ["replace the whole", {"a": 1}, [{"op": "replace", "path": "", "value": 2}]],
  ["remove the whole", {"a": 1}, [{"op": "remove", "path": ""}]],
  ["path without a slash", {"a": 1}, [{"op": "add", "path": "b", "value": 2}]],
  ["tilde that escapes nothing", {"a": 1}, [{"op": "add", "path": "/b~2", "value": 2}]],
  ["unknown operation", {"a": 1}, [{"op": "spam", "path": "/a", "value": 2}]],
  ["member of a string", {"a": "xy"}, [{"op": "add", "path": "/a/b", "value": 2}]],
  ["second operation fails", {"a": 1}, [{"op": "add", "path": "/b", "value": 2}, {"op": "test", "path": "/a", "value": 3}]]
]
JSON

cat >apply.py <<'PYTHON'
import copy
import json

import jsonpatch

for name, document, patch in json.load(open("table.json")):
    before = copy.deepcopy(document)
    try:
        shown = json.dumps(jsonpatch.apply_patch(document, patch), separators=(",", ":"))
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException):
        shown = "refused"
    print(name, "jsonpatch", shown if document == before else shown + ", half done", sep=" | ")
PYTHON

cat >apply.mjs <<'NODE'
import fs from "node:fs";
import fast from "fast-json-patch";
import { immutableJSONPatch } from "immutable-json-patch";
import json8 from "json8-patch";
import * as rfc6902 from "rfc6902";

const libraries = {
  "fast-json-patch": (document, patch) => fast.applyPatch(document, patch).newDocument,
  "fast-json-patch, validated": (document, patch) => fast.applyPatch(document, patch, true).newDocument,
  "immutable-json-patch": immutableJSONPatch,
  "json8-patch": (document, patch) => json8.apply(document, patch).doc,
  rfc6902: (document, patch) => {
    const errors = rfc6902.applyPatch(document, patch).filter((error) => error !== null);
    if (errors.length > 0) throw errors[0];
    return document;
  },
};
for (const [name, document, patch] of JSON.parse(fs.readFileSync("table.json"))) {
  for (const [library, apply] of Object.entries(libraries)) {
    const given = structuredClone(document);
    let shown;
    try {
      shown = String(JSON.stringify(apply(given, structuredClone(patch))));
    } catch {
      const changed = JSON.stringify(given) !== JSON.stringify(document);
      shown = changed ? "refused, half done" : "refused";
    }
    console.log([name, library, shown].join(" | "));
  }
}
NODE

mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "patches"
version = "0.0.0"
edition = "2024"

[dependencies]
json-patch = "=5.0.0"
serde_json = "1"
TOML
cat >src/main.rs <<'RUST'
use serde_json::Value;

fn main() {
    let table: Vec<(String, Value, Value)> = serde_json::from_str(include_str!("../table.json")).unwrap();
    for (name, document, patch) in table {
        let mut changed = document.clone();
        let patch: Option<json_patch::Patch> = serde_json::from_value(patch).ok();
        let done = patch.is_some_and(|patch| json_patch::patch(&mut changed, &patch).is_ok());
        let shown = match done {
            true => changed.to_string(),
            false if changed != document => "refused, half done".to_owned(),
            false => "refused".to_owned(),
        };
        println!("{name} | json-patch | {shown}");
    }
}
RUST
{ venv/bin/python apply.py; node apply.mjs; cargo run --quiet; } | LC_ALL=C sort >found

cat >expected <<'TEXT'
add at -1 | fast-json-patch | {"a":[1]}
add at -1 | fast-json-patch, validated | refused
add at -1 | immutable-json-patch | {"a":[2,1]}
add at -1 | json-patch | refused
add at -1 | json8-patch | refused
add at -1 | jsonpatch | refused
add at -1 | rfc6902 | refused
add behind the end | fast-json-patch | {"a":[1,2]}
add behind the end | fast-json-patch, validated | refused
add behind the end | immutable-json-patch | {"a":[1,2]}
add behind the end | json-patch | refused
add behind the end | json8-patch | refused
add behind the end | jsonpatch | refused
add behind the end | rfc6902 | refused
add without a value | fast-json-patch | {"a":1}
add without a value | fast-json-patch, validated | refused
add without a value | immutable-json-patch | {"a":1}
add without a value | json-patch | refused
add without a value | json8-patch | refused
add without a value | jsonpatch | refused
add without a value | rfc6902 | refused
index that is no number | fast-json-patch | {"a":[1,2]}
index that is no number | fast-json-patch, validated | refused
index that is no number | immutable-json-patch | {"a":[9,1,2]}
index that is no number | json-patch | refused
index that is no number | json8-patch | refused
index that is no number | jsonpatch | refused
index that is no number | rfc6902 | refused
index with a leading zero | fast-json-patch | {"a":[1,9]}
index with a leading zero | fast-json-patch, validated | refused
index with a leading zero | immutable-json-patch | {"a":[1,2]}
index with a leading zero | json-patch | refused
index with a leading zero | json8-patch | refused
index with a leading zero | jsonpatch | refused
index with a leading zero | rfc6902 | {"a":[1,2]}
member of a string | fast-json-patch | {"a":"xy"}
member of a string | fast-json-patch, validated | refused
member of a string | immutable-json-patch | refused
member of a string | json-patch | refused
member of a string | json8-patch | refused
member of a string | jsonpatch | refused
member of a string | rfc6902 | refused
move into its own child | fast-json-patch | refused, half done
move into its own child | fast-json-patch, validated | refused, half done
move into its own child | immutable-json-patch | refused
move into its own child | json-patch | refused
move into its own child | json8-patch | refused, half done
move into its own child | jsonpatch | refused
move into its own child | rfc6902 | refused
move onto itself | fast-json-patch | {"a":1}
move onto itself | fast-json-patch, validated | {"a":1}
move onto itself | immutable-json-patch | {"a":1}
move onto itself | json-patch | {"a":1}
move onto itself | json8-patch | {"a":1}
move onto itself | jsonpatch | {"a":1}
move onto itself | rfc6902 | {"a":1}
path without a slash | fast-json-patch | {"a":1,"undefined":2}
path without a slash | fast-json-patch, validated | refused
path without a slash | immutable-json-patch | 2
path without a slash | json-patch | refused
path without a slash | json8-patch | refused
path without a slash | jsonpatch | refused
path without a slash | rfc6902 | refused
remove at - | fast-json-patch | {"a":[1,2]}
remove at - | fast-json-patch, validated | refused
remove at - | immutable-json-patch | {"a":[1,2]}
remove at - | json-patch | refused
remove at - | json8-patch | refused
remove at - | jsonpatch | refused
remove at - | rfc6902 | refused
remove the whole | fast-json-patch | null
remove the whole | fast-json-patch, validated | null
remove the whole | immutable-json-patch | {"a":1}
remove the whole | json-patch | refused
remove the whole | json8-patch | undefined
remove the whole | jsonpatch | refused
remove the whole | rfc6902 | refused
remove what is not there | fast-json-patch | {"a":1}
remove what is not there | fast-json-patch, validated | refused
remove what is not there | immutable-json-patch | {"a":1}
remove what is not there | json-patch | refused
remove what is not there | json8-patch | refused
remove what is not there | jsonpatch | refused
remove what is not there | rfc6902 | refused
replace at - | fast-json-patch | {"a":[1,2]}
replace at - | fast-json-patch, validated | refused
replace at - | immutable-json-patch | {"a":[1]}
replace at - | json-patch | refused
replace at - | json8-patch | refused
replace at - | jsonpatch | refused
replace at - | rfc6902 | {"a":[1]}
replace the whole | fast-json-patch | 2
replace the whole | fast-json-patch, validated | 2
replace the whole | immutable-json-patch | 2
replace the whole | json-patch | 2
replace the whole | json8-patch | 2
replace the whole | jsonpatch | 2
replace the whole | rfc6902 | refused
replace what is not there | fast-json-patch | {"a":1,"b":2}
replace what is not there | fast-json-patch, validated | refused
replace what is not there | immutable-json-patch | {"a":1}
replace what is not there | json-patch | refused
replace what is not there | json8-patch | refused
replace what is not there | jsonpatch | refused
replace what is not there | rfc6902 | refused
second operation fails | fast-json-patch | refused, half done
second operation fails | fast-json-patch, validated | refused, half done
second operation fails | immutable-json-patch | refused
second operation fails | json-patch | refused
second operation fails | json8-patch | refused
second operation fails | jsonpatch | refused
second operation fails | rfc6902 | refused, half done
test 1 against 1.0 | fast-json-patch | {"a":1}
test 1 against 1.0 | fast-json-patch, validated | {"a":1}
test 1 against 1.0 | immutable-json-patch | {"a":1}
test 1 against 1.0 | json-patch | refused
test 1 against 1.0 | json8-patch | {"a":1}
test 1 against 1.0 | jsonpatch | {"a":1}
test 1 against 1.0 | rfc6902 | {"a":1}
test absent against null | fast-json-patch | refused
test absent against null | fast-json-patch, validated | refused
test absent against null | immutable-json-patch | refused
test absent against null | json-patch | refused
test absent against null | json8-patch | refused
test absent against null | jsonpatch | refused
test absent against null | rfc6902 | refused
test true against 1 | fast-json-patch | refused
test true against 1 | fast-json-patch, validated | refused
test true against 1 | immutable-json-patch | refused
test true against 1 | json-patch | refused
test true against 1 | json8-patch | refused
test true against 1 | jsonpatch | refused
test true against 1 | rfc6902 | refused
tilde that escapes nothing | fast-json-patch | {"a":1,"b~2":2}
tilde that escapes nothing | fast-json-patch, validated | {"a":1,"b~2":2}
tilde that escapes nothing | immutable-json-patch | {"a":1,"b~2":2}
tilde that escapes nothing | json-patch | refused
tilde that escapes nothing | json8-patch | {"a":1,"b~2":2}
tilde that escapes nothing | jsonpatch | refused
tilde that escapes nothing | rfc6902 | {"a":1,"b~2":2}
unknown operation | fast-json-patch | refused
unknown operation | fast-json-patch, validated | refused
unknown operation | immutable-json-patch | refused
unknown operation | json-patch | refused
unknown operation | json8-patch | refused
unknown operation | jsonpatch | refused
unknown operation | rfc6902 | refused
TEXT
diff expected found
echo "as described: six libraries, $(grep -c '"op"' table.json) patches"
