"""Whole programs on the simulated accelerator: tensors in, every layer's output and the jobs' reports out."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hw.contract.config import CHANNELS_PER_WORD
from sim.model import Model, SimulationFailedError
from sim.options import Bus
from sim.reference import Reference, Tensor
from sim.simulation import TestRun, run
from sw.program import MemoryImage, read_hex, write_hex
from tb.network_tests import EVENTS_FILE, IMAGE_FACTS, IMAGE_FILE, INPUT_FILE, OUTPUT_FILE, Plan

POLL_SECONDS = 0.2
"""How often the shown progress is brought up to date."""

WAITS = 256
"""Cycles of which tb/memory.v takes `pause` and `idle`."""

LEAST_AHEAD = 4
"""Words that the smallest queues ask memory for ahead."""

TESTS: dict[Bus, str] = {"native": "tb.network_tests", "axi": "tb.network_axi_tests"}

Words = NDArray[np.uint64]


@dataclass(frozen=True)
class ImageRun:
    """What the accelerator did for one image.

    Args:
        outputs: Layer name to its output (channels, height, width), as it lay in external memory at the end.
        reports: The fields of hw.contract.descriptor.REPORT of every job, in the order in which they came.
        activity: The fields of hw.contract.activity.ACTIVITY for every job and unit; nothing without counters.
        cycles: Clock cycles from the command to the end of the program.
        wall_seconds: Host time of those cycles.
    """

    outputs: dict[str, Tensor]
    reports: list[dict[str, int]]
    activity: list[dict[str, int]]
    cycles: int
    wall_seconds: float


@dataclass(frozen=True)
class Settings:
    """How a program is run.

    Args:
        folder: An empty one, for the memory's files, log and waveforms.
        seed: Of the simulation.
        latency: Cycles between a read request and its first word.
        waves: Record waveforms; the model must have been built for it.
        bus: "native" or "axi".
        trace: Record what the units do in every cycle, in tb.network_tests.STATES_FILE.
        pause: Of 256 cycles, the average number in which memory takes no request and no write.
        idle: Of 256 cycles, the average number in which it hands over no word.
    """

    folder: Path
    seed: int = 1
    latency: int = 100
    waves: bool = False
    bus: Bus = "native"
    trace: bool = False
    pause: int = 0
    idle: int = 0


def run_images(
    model: Model,
    image: MemoryImage,
    reference: Reference,
    settings: Settings,
    on_jobs: Callable[[int], None] = lambda _: None,
) -> list[ImageRun]:
    """Run all layers of a network on every input, each layer on what the one before left in memory.

    Args:
        model: Of sim.harness.harness_design, with room for the image, or for the bus axi of axi_harness_design, with room for
            the reports of all jobs and what units did in them besides.
        image: Programs and tables.
        reference: First layer's input for every image. What the layers should give does not go into the simulation, but its
            bitwise complement lies where they write, so that a byte that is never written cannot pass by accident.
        settings: Where and how.
        on_jobs: Called now and then with the number of jobs that have ended.

    Raises:
        SimulationFailedError: the program did not come to its end.
    """
    plan = prepare(image, reference, settings)
    test = TestRun(TESTS[settings.bus], settings.seed, plan.environment(), waves=settings.waves)
    with _following(settings.folder / EVENTS_FILE, on_jobs):
        run(model, test, settings.folder)
    lines = (settings.folder / EVENTS_FILE).read_text(encoding="utf-8").splitlines()
    events = [event for event in map(json.loads, lines) if "image" in event]
    if len(events) != plan.images:
        raise SimulationFailedError(f"{plan.images} images were to run, {len(events)} did; files: {settings.folder}")
    return [
        ImageRun(read_outputs(settings.folder, image, event["image"]), **{name: event[name] for name in IMAGE_FACTS})
        for event in events
    ]


def prepare(image: MemoryImage, reference: Reference, settings: Settings) -> Plan:
    """Write the files that a simulation reads, and say what it is to do with them; arguments as of run_images."""
    write_hex(settings.folder / IMAGE_FILE, image.constant_words)
    for number, (tensor, outputs) in enumerate(zip(reference.inputs, reference.outputs, strict=True)):
        words = image.words.copy()
        next(iter(image.tensors.values())).write(words, tensor)
        for name, output in outputs.items():
            image.tensors[name].write(words, ~output)
        start = image.activation_address
        write_hex(settings.folder / INPUT_FILE.format(number), words[start:], start)
    program = image.network_program
    return Plan(
        images=len(reference.inputs),
        program_address=program.address,
        jobs=len(program.jobs),
        output_address=image.activation_address,
        output_words=len(image.words) - image.activation_address,
        latency=settings.latency,
        cycle_limit=cycle_limit(image, reference.most_steps, settings),
        trace=settings.trace,
        pause=settings.pause,
        idle=settings.idle,
    )


def read_outputs(folder: Path, image: MemoryImage, number: int) -> dict[str, Tensor]:
    """Every layer's output as image `number` left it in memory."""
    start, words = image.activation_address, image.words.copy()
    words[start:] = read_hex(folder / OUTPUT_FILE.format(number), len(words) - start)
    return {program.name: image.tensors[program.name].read(words) for program in image.layer_programs}


def cycle_limit(image: MemoryImage, steps: int, settings: Settings) -> int:
    """Cycles that no sound run of the program needs.

    Several times what one lane alone would take for all the work of all lanes, one kind of work after the other.

    Args:
        image: Its program's jobs bound the work of predictor, loaders and outputs.
        steps: Steps of accumulation of the most demanding image, all lanes together.
        settings: How slow memory is.
    """
    cycles, latency = steps + len(image.words), settings.latency
    for job in image.network_program.jobs:
        fields = job.fields
        pixels = fields["output_rows"] * fields["output_width"]
        cycles += fields["segment"] * (fields["slices"] * fields["turns"] + fields["planes"])
        cycles += pixels * (fields["slices"] + fields["output_channels"] * (1 + fields["input_channels"])) + 100 * latency
        residuals = fields["residual"] * pixels * (fields["output_channels"] // CHANNELS_PER_WORD + 2)
        words = fields["table_words"] + fields["segment"] * fields["planes"] + residuals
        cycles += words * latency // LEAST_AHEAD
    return 4 * cycles * WAITS // (WAITS - max(settings.pause, settings.idle))


@contextmanager
def _following(events: Path, on_jobs: Callable[[int], None]) -> Iterator[None]:
    """Count the jobs in the events file while the simulation writes it."""
    ended = threading.Event()

    def follow() -> None:
        while not ended.wait(POLL_SECONDS):
            if events.is_file():
                on_jobs(events.read_text(encoding="utf-8").count("job_ended"))

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield
    finally:
        ended.set()
        follower.join()
