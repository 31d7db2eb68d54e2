"""Digests of what a result was made from: made of the same, it need not be made again."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from sim.toolchain import REPOSITORY


def digest(files: Iterable[Path], *facts: str) -> str:
    """16 hexadecimal digits that change with the files' contents, and with the facts."""
    content = hashlib.sha256("\n".join(facts).encode())
    for path in files:
        content.update(path.read_bytes())
    return content.hexdigest()[:16]


def sources(*folders: str) -> list[Path]:
    """Python files of some of the project's folders that decide what comes out; tests are none."""
    found = (path for folder in folders for path in (REPOSITORY / folder).rglob("*.py"))
    return sorted(path for path in found if not path.name.startswith("test_"))
