"""Speed and memory of what a simulation is made of; every figure is the median of several runs."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter
from rich.console import Console
from rich.progress import Progress

from hw.contract.config import ArchonConfig
from hw.contract.errors import ArchonError
from sim.accelerator import ImageRun, Settings, run_images
from sim.bench_report import Benchmark, Measurement
from sim.compare import compare
from sim.hardware import Hardware, choose_hardware
from sim.harness import harness_design
from sim.model import Design, Model, SimulationFailedError, build
from sim.peak_memory import PeakMemory
from sim.plain import plain_design, run_plain
from sim.reference import Reference, make_reference
from sim.run import choose_images, progress_bar
from sim.summary import measured_counts, versions
from sim.toolchain import BUILD, REPOSITORY, find
from sw.bundle import find_bundle, load_bundle

MOST_RUNS = 100
FUSED_IMAGES = 2
LAYERWISE_IMAGES = 16
"""Images that the golden model is timed with."""

OPTIMIZE = 2
"""As in whole-network runs."""

SEED = 1

Simulate = Callable[..., list[ImageRun]]


@dataclass(frozen=True)
class Task:
    """One thing to measure: `run` does it once and returns the figure."""

    name: str
    unit: str
    run: Callable[[], float]


@dataclass(frozen=True)
class Subject:
    """What the tasks work on, and a folder for what they write."""

    bundle: Path
    hardware: Hardware
    design: Design
    reference: Reference
    folder: Path


def run_benchmark(network: str, runs: int, preset: str | None, lanes: int | None, console: Console) -> Benchmark:
    """Measure everything `runs` times, in turns, so that what else the machine does meets all figures alike.

    Args:
        network: A known name or the path of a bundle.
        runs: How often.
        preset: As of sim.hardware.choose_hardware.
        lanes: As of sim.hardware.choose_hardware.
        console: Shows the progress.

    Raises:
        ArchonError: arguments, bundle or machine do not allow it.
        SimulationFailedError: a simulation did not end, or not with the golden model's numbers.
    """
    if not 1 <= runs <= MOST_RUNS:
        raise ArchonError(f"RUNS must be 1 to {MOST_RUNS}, got {runs}")
    toolchain, load = find("verilator"), os.getloadavg()[0]
    bundle = find_bundle(network)
    loaded = load_bundle(bundle)
    hardware = choose_hardware(loaded, lanes, preset)
    images = choose_images(loaded.spec, None, SEED).images
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=BUILD) as folder, progress_bar(console) as bar:
        bar.add_task("golden model and simulation models", total=None)
        design = harness_design(hardware.config, len(hardware.image.words))
        subject = Subject(bundle, hardware, design, make_reference(loaded, images, hardware.image), Path(folder))
        with_cocotb, plain = build(design, optimize=OPTIMIZE), build(plain_design(design), optimize=OPTIMIZE)
        cycles = sum(of_image.cycles for of_image in run_plain(plain, hardware.image, subject.reference, new_settings(subject)))
        measurements = measure(make_tasks(subject, with_cocotb, plain), runs, bar)
    return Benchmark(
        network=loaded.spec.name,
        preset=hardware.preset,
        lanes=hardware.config.multipliers,
        images=len(images),
        cycles=cycles,
        runs=runs,
        processors=os.cpu_count(),
        load=load,
        versions=versions(toolchain.version),
        measurements=measurements,
    )


def measure(tasks: list[Task], runs: int, bar: Progress) -> list[Measurement]:
    """Do all tasks in turns."""
    values, seconds, memory = ([list[float]() for _ in tasks] for _ in range(3))
    step = bar.task_ids[-1]
    bar.update(step, total=runs * len(tasks))
    for _ in range(runs):
        for index, task in enumerate(tasks):
            bar.update(step, description=task.name)
            before = _processor_seconds()
            with PeakMemory() as peak:
                values[index].append(task.run())
            seconds[index].append(_processor_seconds() - before)
            memory[index] += [] if peak.mebibytes is None else [peak.mebibytes]
            bar.advance(step)
    return [
        Measurement(
            name=task.name,
            unit=task.unit,
            median=statistics.median(values[index]),
            values=values[index],
            processor_seconds=statistics.median(seconds[index]),
            peak_memory_mib=max(memory[index], default=None),
        )
        for index, task in enumerate(tasks)
    ]


def _processor_seconds() -> float:
    """That processes below this one have taken so far."""
    times = os.times()
    return times.children_user + times.children_system


def make_tasks(subject: Subject, with_cocotb: Model, plain: Model) -> list[Task]:
    """Everything that is measured, in the order of the table."""
    config = TypeAdapter(ArchonConfig).dump_json(subject.hardware.config).decode()
    bundle = str(subject.bundle)
    return [
        Task("Verilog of the accelerator", "s", lambda: in_own_process("verilog", config)),
        Task("simulation model, built anew", "s", lambda: build_anew(subject)),
        Task("simulation, cocotb", "cycles/s", lambda: simulate(subject, with_cocotb, run_images)),
        Task("simulation, plain C++ main", "cycles/s", lambda: simulate(subject, plain, run_plain)),
        Task("golden model, fused", "images/s", lambda: FUSED_IMAGES / in_own_process("golden_fused", bundle, FUSED_IMAGES)),
        Task(
            "golden model, layer by layer",
            "images/s",
            lambda: LAYERWISE_IMAGES / in_own_process("golden_layerwise", bundle, LAYERWISE_IMAGES),
        ),
    ]


def build_anew(subject: Subject) -> float:
    """Seconds to build the simulation model from Verilog, no compiled code but the simulator's run-time library at hand."""
    with tempfile.TemporaryDirectory(dir=subject.folder) as cache, without_compiler_cache():
        started = time.perf_counter()
        build(subject.design, optimize=OPTIMIZE, cache=Path(cache))
        return time.perf_counter() - started


def simulate(subject: Subject, model: Model, run: Simulate) -> float:
    """Simulated cycles a second; what comes out must be what the golden model says."""
    image, reference = subject.hardware.image, subject.reference
    runs = run(model, image, reference, new_settings(subject))
    counts = [measured_counts(of_image, image) for of_image in runs]
    compared = compare(reference.outputs, reference.counts, [of_image.outputs for of_image in runs], counts)
    if not compared.bit_exact:
        raise SimulationFailedError(f"{compared.mismatches} of {compared.compared} numbers differ; first: {compared.first}")
    return sum(of_image.cycles for of_image in runs) / sum(of_image.wall_seconds for of_image in runs)


def new_settings(subject: Subject) -> Settings:
    """For one more simulation."""
    return Settings(Path(tempfile.mkdtemp(dir=subject.folder)), SEED)


def in_own_process(task: str, *arguments: object) -> float:
    """Seconds of a task of sim.tasks, without the start of its process."""
    command = [sys.executable, "-m", "sim.tasks", task, *map(str, arguments)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SimulationFailedError(f"sim.tasks {task} ended with {done.returncode}:\n{done.stderr}")
    return float(done.stdout)


@contextmanager
def without_compiler_cache() -> Iterator[None]:
    """Let ccache, where there is one, compile all anew."""
    before = os.environ.get("CCACHE_DISABLE")
    os.environ["CCACHE_DISABLE"] = "1"
    try:
        yield
    finally:
        os.environ.pop("CCACHE_DISABLE")
        if before is not None:
            os.environ["CCACHE_DISABLE"] = before
