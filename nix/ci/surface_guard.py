"""Finds unfinished work on the supported surface: code, modules, documents, recipes.

Run by nix-check, and by the check `supported-surface-guard` of the flake: `surface_guard.py ROOT`.
"""

import re
import sys
from pathlib import Path

ROOTS = [
    "crates", "dockyard", "docs", "nix", "packaging", "scripts",
    "flake.nix", "Makefile", "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md",
]
SUFFIXES = {".rs", ".nix", ".md", ".toml", ".sh", ".py", ".service", ""}
# Words of unfinished work; each as people write it.
UNFINISHED = re.compile(
    r"\b(TODO|FIXME|XXX)\b|\btodo!\(|\bunimplemented!\(|\b(not (yet )?implemented|best[- ]effort|coming soon|stubbed)\b",
    re.IGNORECASE,
)
# These name the words in order to refuse them.
EXEMPT = {"nix/ci/surface_guard.py", "nix/ci/mutations.py", "CONTRIBUTING.md"}
# `XXX` is a time zone pattern and `todo` a word in lint tables; only these spellings are not meant.
HARMLESS = re.compile(r'^\s*(todo|unimplemented) = "deny"')


def files(root):
    for name in ROOTS:
        top = root / name
        found = [top] if top.is_file() else sorted(top.rglob("*")) if top.is_dir() else []
        for path in found:
            inside = path.relative_to(root).as_posix()
            if path.is_file() and path.suffix in SUFFIXES and inside not in EXEMPT:
                yield inside, path


def findings(root):
    """One line for each finding: file, line, text."""
    found = []
    for inside, path in files(Path(root)):
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if UNFINISHED.search(line) and not HARMLESS.search(line):
                found.append(f"{inside}:{number}: {line.strip()}")
    return found


def count(root):
    return sum(1 for _ in files(Path(root)))


if __name__ == "__main__":
    result = findings(sys.argv[1])
    print("\n".join(result) or f"{count(sys.argv[1])} files, nothing unfinished")
    sys.exit(1 if result else 0)
