"""All layers of a network on one image after the other; Python touches the design a few times an image.

The test only carries: what came out is compared with the golden model by the one who started it (sim.accelerator).
Files lie in the working directory: IMAGE_FILE, and for image n INPUT_FILE before and OUTPUT_FILE after.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import cocotb
from cocotb.triggers import ClockCycles, RisingEdge
from cocotb.utils import get_sim_time
from pydantic import TypeAdapter

from tb.bench import PERIOD_NS
from tb.harness import Harness

IMAGE_FILE = "image.hex"
INPUT_FILE = "input_{}.hex"
OUTPUT_FILE = "output_{}.hex"
EVENTS_FILE = "events.jsonl"
"""One JSON object a line: {"job_ended"} (cycle) as jobs end, {"image"} with IMAGE_FACTS after an image."""

IMAGE_FACTS = ("reports", "activity", "cycles", "wall_seconds")

STATES_FILE = "states.txt"
"""Where tb/harness.v writes what the units do, one change a line: cycle since reset, observations (hexadecimal)."""

PLAN_VARIABLE = "ARCHON_PLAN"


@dataclass(frozen=True)
class Plan:
    """What the simulation is to do.

    Args:
        images: How many images, numbered from 0.
        program_address: Word address of the program, the same for all images.
        jobs: Jobs of the program.
        output_address: First word of the activations that are written out after an image.
        output_words: How many.
        latency: Cycles between a read request and its first word.
        cycle_limit: Cycles after which an image is given up.
        trace: Record what the units do in STATES_FILE.
        pause: Of 256 cycles, the average number in which memory takes no request and no write.
        idle: Of 256 cycles, the average number in which it hands over no word.
    """

    images: int
    program_address: int
    jobs: int
    output_address: int
    output_words: int
    latency: int
    cycle_limit: int
    trace: bool = False
    pause: int = 0
    idle: int = 0

    def environment(self) -> dict[str, str]:
        """The variable that carries the plan into the simulation."""
        return {PLAN_VARIABLE: TypeAdapter(Plan).dump_json(self).decode()}


@cocotb.test()
async def network(dut: Any) -> None:
    """Run the program on every image and leave all activations in files."""
    plan = TypeAdapter(Plan).validate_json(os.environ[PLAN_VARIABLE])
    harness = Harness(dut)
    harness.memory.speed(plan.latency, plan.pause, plan.idle)
    await harness.reset()
    await harness.memory.load(Path(IMAGE_FILE).resolve())
    dut.record.value = plan.trace
    with Path(EVENTS_FILE).open("w", encoding="utf-8", buffering=1) as events:
        cocotb.start_soon(_note_finished_jobs(dut, events))
        for image in range(plan.images):
            await harness.memory.load(Path(INPUT_FILE.format(image)).resolve())
            start, started = get_sim_time("ns"), time.monotonic()
            reports = await harness.run(plan.program_address, plan.jobs, plan.cycle_limit)
            cycles = round((get_sim_time("ns") - start) / PERIOD_NS)
            wall_seconds = time.monotonic() - started
            await harness.memory.dump(Path(OUTPUT_FILE.format(image)).resolve(), plan.output_address, plan.output_words)
            facts = (reports, harness.activity, cycles, wall_seconds)
            _note(events, {"image": image, **dict(zip(IMAGE_FACTS, facts, strict=True))})
            harness.activity.clear()
    dut.record.value = 0
    await ClockCycles(dut.clk, 3)


async def _note_finished_jobs(dut: Any, events: TextIO) -> None:
    """Reports seldom come back to back, and the image's event has them all: this is for the progress shown meanwhile."""
    while True:
        await RisingEdge(dut.report__valid)
        _note(events, {"job_ended": get_sim_time("ns") / PERIOD_NS})


def _note(events: TextIO, facts: Mapping[str, object]) -> None:
    events.write(json.dumps(facts) + "\n")
