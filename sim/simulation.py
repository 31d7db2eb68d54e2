"""Running cocotb tests on a model, and what came of them.

`python -m sim.simulation RUN.json` repeats a run from the file that every run leaves in its folder.
"""

import hashlib
import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

from cocotb_tools.runner import get_runner

from hw.contract.errors import ArchonError
from sim.coverage.collection import collect, forget
from sim.model import Design, Model, SimulationFailedError, build, only_explicit_settings, tail
from sim.toolchain import REPOSITORY, find


@dataclass(frozen=True)
class TestRun:
    """Which cocotb tests to run, and with what.

    Args:
        module: Import path of the cocotb test module.
        seed: Seeds Python's `random` in the simulation and cocotb's own randomness.
        environment: Variables for the tests, such as paths of their inputs; strings only.
        names: Run only the tests of these names, a parametrised one with all its values or, as
            "name/parameter=value", with these alone; all tests by default.
        waves: Record waveforms; the model must have been built for it.
    """

    __test__ = False  # not a pytest class

    module: str
    seed: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    names: Sequence[str] = ()
    waves: bool = False

    @property
    def pattern(self) -> str | None:
        """What cocotb searches in MODULE.NAME of a test, parametrised ones being NAME/parameter=value/...; None: all."""
        chosen = "|".join(re.escape(name) for name in self.names)
        return rf"^{re.escape(self.module)}\.({chosen})(/|$)" if chosen else None


@dataclass(frozen=True)
class TestCase:
    """One cocotb test that was run: simulated time in nanoseconds, host time in seconds, and why it failed."""

    __test__ = False

    name: str
    passed: bool
    message: str
    simulated_ns: float
    wall_seconds: float


@dataclass(frozen=True)
class Result:
    """A run in which every test passed."""

    cases: list[TestCase]
    directory: Path
    log: Path
    waves: Path | None
    wall_seconds: float


def build_and_test(
    design: Design, test: TestRun, *, simulator: str = "verilator", optimize: int = 1, run_directory: Path | None = None
) -> Result:
    """Build the model (or take it from the cache) and run tests on it; see `build` and `run`."""
    model = build(design, simulator=simulator, waves=test.waves, optimize=optimize)
    return run(model, test, run_directory)


def run(model: Model, test: TestRun, directory: Path | None = None) -> Result:
    """Run cocotb tests on a model.

    Args:
        model: From `build`.
        test: What to run.
        directory: Where log, results and waveforms go, and the tests' working directory; by default one under the
            model's, by the content of `test`.

    Raises:
        ArchonError: waveforms asked of a model built without, or a Python that cocotb cannot load.
        SimulationFailedError: a test failed, the simulation ended early, or no test was run.
    """
    if test.waves and not model.waves:
        raise ArchonError("expected a model built with waves=True to record waveforms, got one without")
    digest = hashlib.sha256(json.dumps(asdict(test), sort_keys=True).encode()).hexdigest()[:8]
    directory = (directory or model.directory / "runs" / f"{test.module}-{digest}").resolve()
    directory.mkdir(parents=True, exist_ok=True)
    specification = directory / "run.json"
    facts = {"model": str(model.directory), "toplevel": model.toplevel, "model_waves": model.waves}
    facts |= {"simulator": model.toolchain.simulator}
    specification.write_text(json.dumps({**facts, "test": asdict(test)}, indent=2) + "\n", encoding="utf-8")
    started = time.monotonic()
    log, results = directory / "simulation.log", directory / "results.xml"
    waves = directory / ("waves.fst" if model.toolchain.simulator == "icarus" else "waves.vcd") if test.waves else None
    forget(directory)
    exit_note = _simulate(model, test, directory, waves)
    seconds = time.monotonic() - started
    cases = _parse(results) if results.is_file() else []
    if exit_note or not cases or not all(case.passed for case in cases):
        raise SimulationFailedError(_failure(model, test, specification, log, cases, exit_note))
    collect(model.directory, directory, f"{test.module}-{digest}")
    return Result(cases, directory, log, waves, seconds)


def _simulate(model: Model, test: TestRun, directory: Path, waves: Path | None) -> str:
    """Run the simulator; returns why it ended badly, or nothing."""
    runner = get_runner(model.toolchain.simulator)
    icarus = model.toolchain.simulator == "icarus"
    test_args = ["--trace-file", str(waves)] if waves and not icarus else []
    plusargs = [f"+dumpfile_path={waves}"] if waves and icarus else []
    # Verilator applies what cocotb writes when it should: cocotb need not wait for that moment and evaluate the design again.
    trust = {} if icarus else {"COCOTB_TRUST_INERTIAL_WRITES": "1"}
    if str(REPOSITORY) not in sys.path:
        sys.path.insert(0, str(REPOSITORY))  # the simulator's Python gets this one's import path
    try:
        with only_explicit_settings():
            runner.test(
                test_module=test.module,
                hdl_toplevel=model.toplevel,
                hdl_toplevel_lang="verilog",
                test_filter=test.pattern,
                seed=test.seed,
                extra_env=trust | dict(test.environment),
                waves=test.waves,
                test_args=test_args,
                plusargs=plusargs,
                build_dir=model.directory,
                test_dir=directory,
                results_xml=str(directory / "results.xml"),
                log_file=directory / "simulation.log",
            )
    except RuntimeError as error:
        return f"the simulator ended with: {error}"
    except ValueError as error:
        if "libpython" in str(error):
            raise ArchonError(
                f"cocotb needs a Python with a shared library (libpython), but {sys.executable} has none; "
                "make the environment with another, for example PYTHON=/usr/bin/python3"
            ) from error
        raise
    return ""


def _parse(results: Path) -> list[TestCase]:
    """The test cases of a results file; a skipped one counts as not passed."""
    cases = []
    for element in ET.parse(results).getroot().iter("testcase"):  # noqa: S314 - written by our own run
        bad = [child for child in element if child.tag in {"failure", "error", "skipped"}]
        properties = {item.get("name"): item.get("value") for item in element.iter("property")}
        simulated = element.get("sim_time_ns") or properties.get("sim_time_duration") or "0"
        message = "; ".join(child.get("message") or child.tag for child in bad)
        name = element.get("name") or "?"
        cases.append(TestCase(name, not bad, message, float(simulated), float(element.get("time") or 0)))
    return cases


def _failure(model: Model, test: TestRun, specification: Path, log: Path, cases: Sequence[TestCase], exit_note: str) -> str:
    failed = [f"{case.name}: {case.message}" for case in cases if not case.passed]
    if failed:
        reason = f"{len(failed)} of {len(cases)} tests failed: " + "; ".join(failed)
    else:
        named = f" with names {', '.join(test.names)}" if test.names else ""
        reason = exit_note or f"no test was run; expected cocotb tests in {test.module}{named}"
    return (
        f"{test.module} on {model.toplevel} ({model.toolchain.simulator}, seed {test.seed}): {reason}\n"
        f"log: {log}\nrepeat: python -m sim.simulation {specification}\n{tail(log)}"
    )


def repeat(specification: Path) -> Result:
    """Run again what a run.json describes, on the same model and in the same folder."""
    facts = json.loads(specification.read_text(encoding="utf-8"))
    model = Model(Path(facts["model"]), facts["toplevel"], find(facts["simulator"]), facts["model_waves"])
    if not model.directory.is_dir():
        raise ArchonError(f"expected the model of this run at {model.directory}, found none; run its test again")
    return run(model, TestRun(**facts["test"]), specification.parent)


if __name__ == "__main__":
    try:
        repeated = repeat(Path(sys.argv[1]))
    except (ArchonError, SimulationFailedError) as problem:
        print(problem, file=sys.stderr)
        sys.exit(2 if isinstance(problem, ArchonError) else 1)
    print(f"{len(repeated.cases)} tests passed; log: {repeated.log}")
