"""Whole programs on the simulated accelerator without cocotb: a C++ main function toggles the clock of the same model."""

import dataclasses
import subprocess
from typing import Any

from hw.contract.activity import ACTIVITY
from hw.contract.descriptor import REPORT
from hw.contract.layout import Layout
from sim.accelerator import ImageRun, Settings, prepare, read_outputs
from sim.model import Design, Model, SimulationFailedError
from sim.reference import Reference
from sim.toolchain import REPOSITORY
from sw.program import MemoryImage

MAIN_SOURCE = REPOSITORY / "tb" / "harness.cpp"


def plain_design(harness: Design) -> Design:
    """The design of sim.harness.harness_design with the C++ main function."""
    return dataclasses.replace(harness, main=MAIN_SOURCE)


def run_plain(model: Model, image: MemoryImage, reference: Reference, settings: Settings) -> list[ImageRun]:
    """The same as sim.accelerator.run_images, on a model of plain_design.

    Raises:
        SimulationFailedError: the program did not come to its end.
    """
    plan = prepare(image, reference, settings)
    numbers = [plan.images, plan.program_address, plan.jobs, plan.output_address, plan.output_words, plan.latency]
    command = [str(model.directory / model.toplevel), *map(str, [*numbers, plan.cycle_limit])]
    done = subprocess.run(command, cwd=settings.folder, capture_output=True, text=True, check=False)
    lines = [line.split() for line in done.stdout.splitlines() if line[:1].isdigit()]
    if done.returncode or len(lines) != plan.images:
        said = (done.stderr or done.stdout).strip() or "nothing"
        raise SimulationFailedError(f"{len(lines)} of {plan.images} images were run; {command[0]} said: {said}")
    return [
        ImageRun(
            read_outputs(settings.folder, image, number),
            _unpacked(REPORT, reports),
            _unpacked(ACTIVITY, activity),
            int(cycles),
            float(seconds),
        )
        for number, ((cycles, seconds, *reports), activity) in enumerate(map(_parts, lines))
    ]


def _parts(line: list[str]) -> tuple[list[str], list[str]]:
    """What comes before the semicolon, and what after."""
    place = line.index(";")
    return line[:place], line[place + 1 :]


def _unpacked(layout: Layout, numbers: list[str]) -> list[dict[str, int]]:
    fields: list[Any] = [layout.unpack(int(number, 16)) for number in numbers]
    return fields
