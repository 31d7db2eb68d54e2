"""A whole network on real images: golden model, simulated accelerator, comparison, report."""

import dataclasses
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from hw.contract.activity import ACTIVITY, Unit
from hw.contract.config import CHANNELS_PER_WORD
from hw.contract.descriptor import REPORT
from hw.contract.errors import ArchonError
from sim.accelerator import Settings, run_images
from sim.activity import layer_units, wrong_jobs
from sim.compare import compare
from sim.hardware import Hardware, choose_hardware
from sim.harness import axi_harness_design, harness_design
from sim.model import Model, build
from sim.options import Options
from sim.reference import make_reference
from sim.render import layer_table, verdict, write_picture
from sim.render_activity import activity_tables, write_activity_picture
from sim.report import Report, write_report
from sim.summary import Evidence, make_report, measured_counts
from sim.toolchain import BUILD, find
from sim.trace import write_trace
from sw.bundle import find_bundle, load_bundle
from sw.datasets import Excerpt, cropped, load_excerpt
from sw.program import MemoryImage
from sw.spec import NetworkSpec
from tb.network_tests import STATES_FILE

SMALL_NETWORK_MACS = 100_000_000
"""A network with fewer dense multiply-accumulates runs two images by default, a larger one one."""

ICARUS_LANES = CHANNELS_PER_WORD
"""Icarus Verilog runs a hundredth as fast as Verilator: more than one full cluster would take hours."""

OPTIMIZED_LANES = 8
"""From so many lanes on, a model that is compiled for speed makes up for the longer build."""

LATENCY_BITS = 16
"""Of the latency input of tb/memory.v."""


@dataclass(frozen=True)
class Outcome:
    """A finished run: its report and the files it left."""

    report: Report
    files: list[Path]


def run_network(options: Options, console: Console) -> Outcome:
    """Run a network, print what came out, write the report.

    Raises:
        ArchonError: options, bundle or machine do not allow the run.
        SimulationFailedError: the model could not be built, or the program did not come to its end.
    """
    started = time.monotonic()
    find(options.simulator)  # a missing compiler is found out first
    network = load_bundle(find_bundle(options.network))
    hardware = choose_hardware(network, options.lanes, options.preset, options.kernel)
    check_simulator(options.simulator, hardware)
    if not 0 <= options.latency < 1 << LATENCY_BITS:
        raise ArchonError(f"latency must be 0 to {(1 << LATENCY_BITS) - 1} cycles, got {options.latency}")
    if options.trace and options.bus != "native":
        raise ArchonError(f"TRACE=1 needs the accelerator's own streams, got BUS={options.bus}")
    excerpt = choose_images(network.spec, options.images, options.seed)
    options = dataclasses.replace(options, images=len(excerpt.labels))
    folder = BUILD / network.spec.name
    image = hardware.image if options.flip_bit is None else with_flipped_bit(hardware.image, options.flip_bit)
    settings = Settings(empty_folder(folder), options.seed, options.latency, options.waves, options.bus, options.trace)
    with progress_bar(console) as bar:
        lanes = hardware.config.multipliers
        task = bar.add_task(f"golden model of {network.spec.name}, building {lanes} lanes", total=None)
        # The golden model takes turns with the compiler's processes, most of which use one processor.
        with ThreadPoolExecutor(1) as beside:
            reference_to_come = beside.submit(make_reference, network, excerpt.images, hardware.image)
            model = build_model(hardware, options)
            reference = reference_to_come.result()
        jobs = len(image.network_program.jobs) * len(excerpt.labels)
        bar.update(task, description="jobs on the RTL", total=jobs)
        runs = run_images(model, image, reference, settings, lambda ended: bar.update(task, completed=ended))
        bar.update(task, completed=jobs)
    counts = [measured_counts(run, image) for run in runs]
    comparison = compare(reference.outputs, reference.counts, [run.outputs for run in runs], counts)
    predictions = [int(run.outputs[image.layer_programs[-1].name].argmax()) for run in runs]
    cycles = [{layer: of_layer["cycles"] for layer, of_layer in of_image.items()} for of_image in counts]
    evidence = Evidence(
        excerpt,
        predictions,
        runs,
        counts,
        [layer_units(run, image, hardware.config, of_image) for run, of_image in zip(runs, cycles, strict=True)],
        [sentence for run in runs for sentence in wrong_jobs(run, image, hardware.config)],
        comparison,
        reference.layers,
    )
    seconds = time.monotonic() - started
    report = make_report(network.spec.name, options, hardware, evidence, model.toolchain.version, seconds)
    console.print(layer_table(report), *activity_tables(report), verdict(report), highlight=False)
    if options.trace:
        write_trace(folder / "trace.json", settings.folder / STATES_FILE, runs, image, hardware.config)
        (settings.folder / STATES_FILE).unlink()
    return Outcome(report, [*write_files(report, folder, settings), *([folder / "trace.json"] if options.trace else [])])


def check_simulator(simulator: str, hardware: Hardware) -> None:
    """Raise ArchonError for an accelerator that is too large for the simulator."""
    lanes = hardware.config.multipliers
    if simulator == "icarus" and lanes > ICARUS_LANES:
        raise ArchonError(f"Icarus Verilog is too slow for more than {ICARUS_LANES} lanes, got {lanes}; use verilator")


def choose_images(spec: NetworkSpec, count: int | None, seed: int) -> Excerpt:
    """Some images of the excerpt, drawn by the seed; of a network for smaller images, their middle.

    Raises:
        ArchonError: more images than there are, or a network for larger images or other channels.
    """
    excerpt = load_excerpt()
    (height, width, channels), there = excerpt.images.shape[1:], len(excerpt.labels)
    if spec.height > height or spec.width > width or spec.channels != channels:
        wanted = (spec.height, spec.width, spec.channels)
        raise ArchonError(f"{spec.name} takes images of {wanted}, the ones that are there have {excerpt.images.shape[1:]}")
    if count is None:
        count = 2 if spec.multiply_accumulates() < SMALL_NETWORK_MACS else 1
    if not 1 <= count <= there:
        raise ArchonError(f"IMAGES must be 1 to {there}, got {count}")
    chosen = np.random.default_rng(seed).permutation(there)[:count]
    images = cropped(excerpt.images[chosen], spec.height, spec.width)
    return Excerpt(images, excerpt.labels[chosen], excerpt.indices[chosen])


def with_flipped_bit(image: MemoryImage, bit: int) -> MemoryImage:
    """The image with one bit of its tables inverted, counted from the first table's first word.

    Raises:
        ArchonError: the tables have no such bit.
    """
    start = min(job.fields["table_address"] for job in image.network_program.jobs)
    there = 64 * (image.activation_address - start)
    if not 0 <= bit < there:
        raise ArchonError(f"the tables have bits 0 to {there - 1}, got bit {bit}")
    words = image.words.copy()
    words[start + bit // 64] ^= np.uint64(1 << (bit % 64))
    return dataclasses.replace(image, words=words)


def build_model(hardware: Hardware, options: Options) -> Model:
    """The simulation model of the accelerator and its memory; from the cache where it was built before."""
    words = len(hardware.image.words)
    if options.bus == "axi":
        jobs = len(hardware.image.network_program.jobs)
        design = axi_harness_design(hardware.config, words + jobs * (REPORT.words + len(Unit) * ACTIVITY.words))
    else:
        design = harness_design(hardware.config, words)
    optimize = 1 if hardware.config.multipliers < OPTIMIZED_LANES else 2
    return build(design, simulator=options.simulator, waves=options.waves, optimize=optimize)


def empty_folder(folder: Path) -> Path:
    """A new folder of this run alone: the same network may be running elsewhere at the same time."""
    folder.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="simulation-", dir=folder))


def write_files(report: Report, folder: Path, settings: Settings) -> list[Path]:
    """Write report and picture, let this run's folder take the place of the last one's; what lies where."""
    files = [*write_report(report, folder), folder / "report.png"]
    write_picture(report, files[-1])
    if report.activity:
        files.append(folder / "activity.png")
        write_activity_picture(report, files[-1])
    for path in settings.folder.glob("waves.*"):
        (folder / "waves").mkdir(exist_ok=True)
        files.append(path.replace(folder / "waves" / path.name))
    shutil.rmtree(folder / "simulation", ignore_errors=True)
    settings.folder.rename(folder / "simulation")
    return files


def progress_bar(console: Console) -> Progress:
    """Shows what is being done, for how long, and how many jobs have ended."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)
