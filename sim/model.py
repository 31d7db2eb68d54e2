"""Building a simulation model from Verilog, once for each design, options and toolchain."""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version as installed_version
from pathlib import Path

import cocotb_tools.config
from cocotb_tools.runner import get_runner

from hw.contract.errors import ArchonError
from sim import icarus
from sim.coverage.collection import keep_points, points_of
from sim.coverage.points import MOST_BITS
from sim.toolchain import BUILD, Toolchain, find, locked, publish

SIMULATIONS = BUILD / "simulations"
TIMESCALE = ("1ns", "1ps")
"""Unit and precision of simulated time."""

_RECIPE = (Path(__file__), Path(icarus.__file__))
"""Sources that decide what is built."""

_TOGETHER = "together"
"""Name of the one file that includes all generated code."""


class SimulationFailedError(Exception):
    """A model could not be built, or a test on it did not pass. The message names the log."""


@dataclass(frozen=True)
class Design:
    """What is simulated.

    Args:
        sources: Verilog files; the order matters to no simulator used here.
        toplevel: Name of the top module. Its ports can be read and driven from Python, and nothing else but `public`.
        parameters: Values of the top module's parameters.
        public: More names that Python may reach, as "module.variable"; each costs simulation speed.
        repeated: Modules with many equal instances, whose code Verilator is to compile once instead of once an instance.
        main: A C++ main function, for Verilator, that takes the place of cocotb.
    """

    sources: Sequence[Path]
    toplevel: str
    parameters: Mapping[str, int] = field(default_factory=dict)
    public: Sequence[str] = ()
    repeated: Sequence[str] = ()
    main: Path | None = None


@dataclass(frozen=True)
class Model:
    """A built model: folder, top module and simulator, and whether it can record waveforms."""

    directory: Path
    toplevel: str
    toolchain: Toolchain
    waves: bool


def build(
    design: Design, *, simulator: str = "verilator", waves: bool = False, optimize: int = 1, cache: Path | None = None
) -> Model:
    """A model of a design, taken from the cache where neither design, options nor toolchain changed.

    Args:
        design: What to simulate.
        simulator: "verilator" or "icarus".
        waves: Whether runs can record waveforms (slower).
        optimize: The C++ compiler's level: 1 for small units and short runs, 2 for long ones.
        cache: Folder of models; SIMULATIONS by default.

    Raises:
        ArchonError: no such simulator, source file or top module, or a main function for another simulator than Verilator.
        SimulationFailedError: the simulator or the C++ compiler refused the design.
    """
    toolchain, cache = find(simulator), cache or SIMULATIONS
    if design.main is not None and toolchain.simulator != "verilator":
        raise ArchonError(f"a C++ main function needs the simulator verilator, got {simulator}")
    texts = [_text(source) for source in design.sources]
    ports = port_names("\n".join(texts), design.toplevel)
    facts = {
        "verilog": [hashlib.sha256(text.encode()).hexdigest() for text in texts],
        "design": {**dataclasses.asdict(design), "sources": len(texts), "main": design.main and _text(design.main)},
        "options": [waves, optimize, TIMESCALE],
        "coverage": {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in points_of(design.sources).items()},
        "recipe": [hashlib.sha256(path.read_bytes()).hexdigest() for path in _RECIPE],
        "toolchain": toolchain.identity,
        "cocotb": [installed_version("cocotb"), str(cocotb_tools.config.libs_dir)],
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    target = cache / digest
    model = Model(target, design.toplevel, toolchain, waves)
    if target.is_dir():
        return model
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / f".{digest}.lock"):
        if not target.is_dir():
            _build_anew(design, model, ports, texts, optimize)
    return model


def _build_anew(design: Design, model: Model, ports: Sequence[str], texts: Sequence[str], optimize: int) -> None:
    """Build beside the model's folder, then rename."""
    target, toolchain, waves = model.directory, model.toolchain, model.waves
    cache, digest = target.parent, target.name
    beside = Path(tempfile.mkdtemp(prefix=f".{digest}-", dir=cache))
    try:
        if toolchain.simulator == "icarus":
            _build_icarus(design, beside, waves=waves)
        else:
            control = beside / "public.vlt"
            control.write_text(_public(design, ports, _boundaries(design, texts)), encoding="utf-8")
            _build_verilator(design, control, toolchain, beside, waves=waves, optimize=optimize)
            keep_points(design.sources, beside)
    except (RuntimeError, subprocess.CalledProcessError) as error:
        failed = cache / f"{digest}.failed"
        shutil.rmtree(failed, ignore_errors=True)
        beside.rename(failed)
        log = failed / "build.log"
        raise SimulationFailedError(
            f"{toolchain.version} could not build {design.toplevel}; log: {log}\n{tail(log)}"
        ) from error
    except BaseException:
        shutil.rmtree(beside)  # interrupted
        raise
    publish(beside, target)


def port_names(verilog: str, toplevel: str) -> list[str]:
    """Names in the port list of a module, in order.

    Raises:
        ArchonError: the text holds no such module.
    """
    code = re.sub(r"//[^\n]*|/\*.*?\*/|\(\*.*?\*\)", " ", verilog, flags=re.DOTALL)
    header = re.search(rf"\bmodule\s+{re.escape(toplevel)}\b(.*?);", code, flags=re.DOTALL)
    if header is None:
        found = ", ".join(re.findall(r"\bmodule\s+(\w+)", code)) or "none"
        raise ArchonError(f"expected a module {toplevel!r} in the Verilog, found: {found}")
    ports = re.search(r"\(((?:[^()]|\([^()]*\))*)\)\s*$", header[1])
    declarations = re.split(r",", ports[1]) if ports else []
    names = [re.findall(r"[A-Za-z_$][\w$]*", re.sub(r"\[[^]]*\]|=.*", " ", item)) for item in declarations]
    return [words[-1] for words in names if words]


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, for an error message."""
    if not log.is_file():
        return "(no log was written)"
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


@contextlib.contextmanager
def only_explicit_settings() -> Iterator[None]:
    """Hide the variables that cocotb's runner reads, so that nothing but the arguments decides what is run."""
    hidden = {
        name: os.environ.pop(name)
        for name in list(os.environ)
        if name.startswith("COCOTB_") or name in {"WAVES", "GUI", "PYTEST_CURRENT_TEST", "SIM_CMD_PREFIX", "SIM_CMD_SUFFIX"}
    }
    try:
        yield
    finally:
        os.environ.update(hidden)


def _text(source: Path) -> str:
    if not source.is_file():
        raise ArchonError(f"expected a Verilog file at {source}, found none")
    return source.read_text(encoding="utf-8")


def _boundaries(design: Design, texts: Sequence[str]) -> list[tuple[str, str]]:
    """Ports of the repeated modules.

    A port that stays a variable of its own keeps the code of an instance free of names from outside, so that Verilator finds
    it equal to that of the other instances and keeps one copy.
    """
    verilog = "\n".join(texts)
    return [(module, port) for module in design.repeated for port in port_names(verilog, module) if port != "clk"]


def _public(design: Design, ports: Sequence[str], boundaries: Sequence[tuple[str, str]]) -> str:
    """Verilator's configuration: what stays a variable, and which of it may be written from outside."""
    written = [(design.toplevel, port) for port in ports] + [tuple(name.rsplit(".", 1)) for name in design.public]
    lines = [f'public_flat_rw -module "{module}" -var "{variable}"' for module, variable in written]
    lines += [f'public_flat_rd -module "{module}" -var "{variable}"' for module, variable in boundaries]
    covered = points_of(design.sources)
    lines += [f'coverage_off -file "*/{source.name}"' for source in design.sources if covered and source.name not in covered]
    return "\n".join(["`verilator_config", *lines, ""])


def _build_icarus(design: Design, directory: Path, *, waves: bool) -> None:
    with only_explicit_settings():
        get_runner("icarus").build(
            sources=[icarus.prepared(Path(source), directory) for source in design.sources],
            hdl_toplevel=design.toplevel,
            parameters=design.parameters,
            build_dir=directory,
            timescale=TIMESCALE,
            waves=waves,
            log_file=directory / "build.log",
        )


def _build_verilator(
    design: Design, control: Path, toolchain: Toolchain, directory: Path, *, waves: bool, optimize: int
) -> None:
    """Verilate and compile.

    cocotb's own runner makes every signal public, which takes minutes to compile and a third of the speed; here the
    ports alone are. The model's run-time library takes longer to compile than a small design, so its objects are kept.
    Models for short runs are compiled as one file, which takes half the processor's time; the others as many, side by side.
    """
    verilate = [
        str(toolchain.executable), "-cc", "--exe", "-Mdir", ".", "--top-module", design.toplevel, "--prefix", "Vtop",
        "-o", design.toplevel, "--vpi", "--no-timing", "--assert", "-Wno-fatal", "--timescale", "/".join(TIMESCALE),
        *_main(design),
        *(["--trace"] if waves else []),
        *(["--coverage-toggle", "--coverage-max-width", str(MOST_BITS)] if points_of(design.sources) else []),
        *(["-fno-dfg", "-fno-table"] if design.repeated else []),  # both number what they make, so no copy equals another
        *[f"-G{name}={value}" for name, value in design.parameters.items()],
        control.name, *[str(source.resolve()) for source in design.sources],
    ]  # fmt: skip
    make = [
        "make", "-j", str(os.cpu_count() or 1), "-f", "Vtop.mk", f"OPT_FAST=-O{optimize}",
        "OPT_SLOW=-O0", "OPT_GLOBAL=-O2", f"OBJCACHE={'ccache' if shutil.which('ccache') else ''}",
    ]  # fmt: skip
    with (directory / "build.log").open("w", encoding="utf-8") as log:

        def run(command: list[str]) -> None:
            log.write(f"$ {' '.join(command)}\n")
            log.flush()
            subprocess.run(command, cwd=directory, stdout=log, stderr=subprocess.STDOUT, check=True)

        run(verilate)
        if optimize < 2:
            make += _compiled_together(directory, _main(design)[0])
        kept = _runtime(toolchain, waves=waves, coverage=bool(points_of(design.sources)))
        if kept.is_dir():
            _fetch_runtime(directory, kept)
            run(make)
        else:
            kept.parent.mkdir(parents=True, exist_ok=True)
            with locked(kept.with_suffix(".lock")):  # whoever comes meanwhile waits for the objects
                _fetch_runtime(directory, kept)
                run(make)
                _keep_runtime(directory, kept)
    for leftover in [*directory.glob("*.o"), *directory.glob("*.gch"), *directory.glob("*.a")]:
        leftover.unlink()


def _compiled_together(directory: Path, main: str) -> list[str]:
    """Write one file that includes all others, what runs once without optimisation; make's arguments for it."""
    sources = sorted(path.name for path in directory.glob("Vtop*.cpp"))
    slow = [name for name in sources if name.endswith("__Slow.cpp")]
    fast = [name for name in sources if name not in slow]
    included = [f'#include "{name}"\n' for name in (*fast, main, *slow)]
    included.insert(len(fast) + 1, '#pragma GCC optimize("O0")\n')
    (directory / f"{_TOGETHER}.cpp").write_text("".join(included), encoding="utf-8")
    empty = ("VM_SUPPORT_FAST", "VM_CLASSES_SLOW", "VM_SUPPORT_SLOW", "VM_USER_CLASSES")
    return ["VM_PARALLEL_BUILDS=0", f"VM_CLASSES_FAST={_TOGETHER}", *(f"{name}=" for name in empty)]


def _main(design: Design) -> list[str]:
    """Verilator's arguments for the main function, and what it is linked with."""
    if design.main is not None:
        return [str(design.main.resolve())]
    libraries, shared = cocotb_tools.config.libs_dir, cocotb_tools.config.share_dir
    linked = f"-Wl,-rpath,{libraries} -L{libraries} -lcocotbvpi_verilator"
    return [str(shared / "lib" / "verilator" / "verilator.cpp"), "-LDFLAGS", linked]


def _runtime(toolchain: Toolchain, *, waves: bool, coverage: bool) -> Path:
    digest = hashlib.sha256(f"{toolchain.identity} {waves} {coverage}".encode()).hexdigest()[:12]
    return BUILD / "toolchain" / f"runtime-{digest}"


def _fetch_runtime(directory: Path, runtime: Path) -> None:
    """Lay the kept objects where make looks for them; being newer than the generated makefile, they stay."""
    for kept in runtime.glob("*.o"):
        shutil.copyfile(kept, directory / kept.name)


def _keep_runtime(directory: Path, runtime: Path) -> None:
    """Keep the objects of Verilator's own sources, which do not depend on the design."""
    runtime.mkdir(parents=True, exist_ok=True)
    for compiled in directory.glob("verilated*.o"):
        kept = runtime / compiled.name
        if not kept.exists():
            beside = kept.with_suffix(f".{os.getpid()}")
            shutil.copyfile(compiled, beside)
            beside.replace(kept)
