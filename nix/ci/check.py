#!/usr/bin/env python3
"""Checks everything of the flake that can be checked without nixpkgs: `make nix-check`.

Evaluation uses stand-ins for nixpkgs and disko (nix/ci/nixpkgs, nix/ci/disko). What this cannot say
is listed in docs/nix.md under "Not verified here".

Each check is a function; so is each mutation, which changes a copy of the tree and passes only if
the checks then fail for the right reason.
"""

import json
import os
import py_compile
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mutations
import surface_guard

REPOSITORY = Path(__file__).resolve().parents[2]
# What mutations may change; the rest of the tree is linked.
EVALUATED = ["flake.nix", "flake.lock", "nix", "dockyard"]
OUTPUTS = "nix/ci/golden/outputs.txt"
LABELS = "nix/ci/golden/labels.json"

# Highest exposure that `systemd-analyze security` may report; docs/nix.md says why the first two are
# not lower. Lowering a number is welcome, raising one needs a reason there.
EXPOSURE = {"nanocloud.service": 7.1, "nanocloud-agent.service": 7.1, "nanocloud-apply.service": 1.8,
            "nanocloud-control-plane.service": 2.0}
# Fewest tests and outputs: an empty list would be "all passed", too.
TESTS_LEAST = 30
OUTPUTS_LEAST = 40


class Failure(Exception):
    """What is wrong."""


def run(*command, **options):
    """Runs a program; returns output and errors, or fails with them."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        raise Failure(f"{command[0]}: exit code {done.returncode}\n{done.stdout}{done.stderr}".strip())
    return done.stdout


def nix(*words, tree=REPOSITORY):
    return run(REPOSITORY / "scripts/nix", *words, cwd=tree)


def evaluate(expression, tree):
    """A value of Nix as one of Python; every mistake in it is a failure."""
    try:
        return json.loads(nix("eval", "--impure", "--json", "--expr", expression, tree=tree))
    except Failure as failure:
        # The last lines say what is wrong; those before say where it was asked for.
        text = str(failure)
        raise Failure(text[text.rfind("error:"):] if "error:" in text else text) from None


def lock(tree):
    """flake.lock has exactly the inputs of flake.nix, each pinned by revision and hash."""
    nodes = json.loads((tree / "flake.lock").read_text())["nodes"]
    for name, node in nodes.items():
        locked = node.get("locked")
        if name == "root":
            continue
        if not re.fullmatch(r"[0-9a-f]{40}", locked.get("rev", "")):
            raise Failure(f"flake.lock: {name} has no revision")
        if not re.fullmatch(r"sha256-[A-Za-z0-9+/]{43}=", locked.get("narHash", "")):
            raise Failure(f"flake.lock: {name} has no sha256 hash")
    # Nix itself compares the lock with the inputs, and may not repair it.
    nix("flake", "metadata", "--offline", "--no-update-lock-file", "--json", f"path:{tree}", tree=tree)


def unit_tests(tree):
    """The module's unit tests."""
    result = evaluate("(import ./nix/ci/outputs.nix).lib.unitTests", tree)
    if result["failures"]:
        raise Failure(json.dumps(result["failures"], indent=2))
    if result["count"] < TESTS_LEAST:
        raise Failure(f"only {result['count']} tests were found")
    return f"{result['count']} tests"


def outputs(tree):
    """Every output evaluates to its end, and the list of them is the recorded one."""
    found = evaluate("import ./nix/ci/walk.nix { }", tree)
    listing = "".join(f"{path}: {what}\n" for path, what in sorted(found.items()))
    if len(found) < OUTPUTS_LEAST:
        raise Failure(f"only {len(found)} outputs were found")
    recorded = tree / OUTPUTS
    if "--update" in sys.argv and tree == REPOSITORY:
        recorded.write_text(listing)
    if recorded.read_text() != listing:
        changed = set(listing.splitlines()) ^ set(recorded.read_text().splitlines())
        raise Failure(f"{OUTPUTS} differs (make nix-golden records it anew): " + "; ".join(sorted(changed)))
    return f"{len(found)} outputs"


def image_labels(tree):
    """Labels of images made by Nix are those that crates/dockyard compares with its own."""
    labels = evaluate("import ./nix/ci/labels.nix { }", tree)
    text = json.dumps(labels, indent=2, sort_keys=True) + "\n"
    if "--update" in sys.argv and tree == REPOSITORY:
        (tree / LABELS).write_text(text)
    if (tree / LABELS).read_text() != text:
        raise Failure(f"{LABELS} differs; make nix-golden records it anew")
    return f"{len(labels)} images"


def write_units(tree, folder):
    """Renders the units of machines that are not NixOS into a folder."""
    units = evaluate("(import ./nix/ci/outputs.nix).lib.unitFiles", tree)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in units.items():
        (folder / name).write_text(text)
    return sorted(name for name in units if name.endswith((".service", ".path")))


def unit_files(tree):
    """systemd reads each rendered unit without a word of complaint."""
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        names = write_units(tree, folder)
        program = folder / "nanocloud"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        for name in names:
            # The program is not installed on the machine that checks.
            file = folder / name
            file.write_text(file.read_text().replace("/usr/bin/nanocloud", str(program)))
        for name in names:
            done = subprocess.run(
                ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", folder / name],
                capture_output=True, text=True, check=False, env={**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:"},
            )
            said = [line for line in done.stderr.splitlines() if name in line]
            if said or done.returncode != 0:
                raise Failure("\n".join(said) or done.stderr)
    return f"{len(names)} units"


def unit_exposure(tree):
    """No unit is more exposed than its budget."""
    said = []
    with tempfile.TemporaryDirectory() as work:
        for name in (name for name in write_units(tree, Path(work)) if name.endswith(".service")):
            text = run("systemd-analyze", "security", "--offline=true", "--no-pager", Path(work) / name)
            exposure = float(re.search(rf"Overall exposure level for {re.escape(name)}: ([0-9.]+)", text)[1])
            if exposure > EXPOSURE[name]:
                raise Failure(f"{name} has an exposure of {exposure}, more than {EXPOSURE[name]}")
            said.append(f"{name} {exposure}")
    return ", ".join(said)


def test_scripts(tree):
    """Test scripts of virtual machines are Python, shell scripts pass shellcheck as in a build."""
    scripts = evaluate("import ./nix/ci/test-scripts.nix { }", tree)
    with tempfile.TemporaryDirectory() as work:
        for name, text in scripts.items():
            # The driver runs a command in a shell whose own command line has the pattern, too.
            if found := re.search(r"pgrep -\w*f\w* '[^'\[]*'", text):
                raise Failure(f"check {name}: {found[0]} finds the shell that runs it; put a letter into brackets")
            file = Path(work) / f"{name}.py"
            file.write_text(text)
            try:
                py_compile.compile(str(file), doraise=True)
            except py_compile.PyCompileError as error:
                raise Failure(f"check {name}: {error}") from None
    shell = sorted((tree / "nix").rglob("*.sh"))
    run("shellcheck", "--shell=bash", *shell)
    return f"{len(scripts)} test scripts, {len(shell)} shell scripts"


def formatting(tree):
    """Nix files are formatted, as far as a formatter is there."""
    tool = shutil.which("nixfmt")
    if tool is None:
        return "NOT CHECKED: no nixfmt here (make nix-fmt installs one)"
    files = [tree / "flake.nix", *sorted((tree / "nix").rglob("*.nix"))]
    run(tool, "--check", *files)
    return f"{len(files)} files"


def supported_surface(tree):
    """Nothing unfinished is on the supported surface."""
    found = surface_guard.findings(tree)
    if found:
        raise Failure("\n".join(found))
    return f"{surface_guard.count(tree)} files"


CHECKS = [
    lock, unit_tests, outputs, image_labels, unit_files, unit_exposure, test_scripts, formatting, supported_surface,
]


def copy_tree(into):
    for source in REPOSITORY.iterdir():
        if source.name in EVALUATED:
            (shutil.copytree if source.is_dir() else shutil.copy)(source, into / source.name)
        elif source.name not in (".git", "target"):
            (into / source.name).symlink_to(source)


def mutated(mutation):
    """Passes when the named check fails on the changed tree, with the expected words."""
    check = globals()[mutation.check]
    with tempfile.TemporaryDirectory() as work:
        tree = Path(work)
        copy_tree(tree)
        mutation.apply(tree)
        try:
            check(tree)
        except Failure as failure:
            if not re.search(mutation.says, str(failure)):
                raise Failure(f"red for another reason than /{mutation.says}/: {failure}") from None
            return
    raise Failure(f"{mutation.check} stays green")


def attempt(name, action):
    """Runs one check and says how it went."""
    begin = time.monotonic()
    try:
        detail = action()
    except Failure as failure:
        print(f"FAIL  {name}\n      " + str(failure).replace("\n", "\n      "), flush=True)
        return False
    print(f"ok    {name}{f': {detail}' if detail else ''} ({time.monotonic() - begin:.1f} s)", flush=True)
    return True


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "units":
        print("\n".join(write_units(REPOSITORY, Path(sys.argv[2]))))
        return 0
    results = [attempt(check.__name__, lambda check=check: check(REPOSITORY)) for check in CHECKS]
    results += [
        attempt(f"mutation: {mutation.name}", lambda mutation=mutation: mutated(mutation))
        for mutation in mutations.ALL
    ]
    failed = results.count(False)
    print(f"nix-check: {len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
