"""The same as tb.network_tests on the accelerator on its buses: all that the host does, it does through sw.driver."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import cocotb
from pydantic import TypeAdapter

from hw.contract.activity import ACTIVITY, Unit
from hw.contract.axi import WORD_BYTES
from hw.contract.descriptor import REPORT
from sw.driver import Regions
from sw.program import read_hex, write_hex
from tb.axi_harness import AxiHarness
from tb.network_tests import EVENTS_FILE, IMAGE_FACTS, IMAGE_FILE, INPUT_FILE, OUTPUT_FILE, PLAN_VARIABLE, Plan

BASE = 0x12_3456_7000
"""Byte address of memory's word 0."""


def regions(plan: Plan) -> Regions:
    """Programs and tables may be read, activations written, too; reports lie behind, and rows of what units did."""
    first, reports = (BASE + word * WORD_BYTES for word in (plan.output_address, plan.output_address + plan.output_words))
    activity, rows = reports + plan.jobs * REPORT.words * WORD_BYTES, plan.jobs * len(Unit)
    written = (first, activity + rows * ACTIVITY.words * WORD_BYTES)
    return Regions(BASE, (BASE, reports), written, reports, plan.jobs, activity, rows)


@cocotb.test()
async def network(dut: Any) -> None:
    """Run the program on every image and leave all activations in files."""
    plan = TypeAdapter(Plan).validate_json(os.environ[PLAN_VARIABLE])
    harness = AxiHarness(dut, BASE)
    harness.memory.speed(plan.latency, plan.pause, plan.idle)
    await harness.reset()
    driver, words = harness.driver, plan.output_address + plan.output_words
    await driver.check()
    await driver.configure(regions(plan), plan.cycle_limit)
    await driver.load(read_hex(Path(IMAGE_FILE), plan.output_address))
    with Path(EVENTS_FILE).open("w", encoding="utf-8", buffering=1) as events:
        noted = 0

        async def note_finished_jobs() -> None:
            nonlocal noted
            ended = (await driver.snapshot())["jobs"] + image * plan.jobs
            for job in range(noted, ended):
                _note(events, {"job_ended": job})
            noted = max(noted, ended)

        harness.bus.on_wait = note_finished_jobs
        for image in range(plan.images):
            activations = read_hex(Path(INPUT_FILE.format(image)), words)[plan.output_address :]
            await driver.load(activations, plan.output_address)
            started = time.monotonic()
            done = await driver.run(plan.program_address)
            wall_seconds = time.monotonic() - started
            harness.memory.check()
            write_hex(Path(OUTPUT_FILE.format(image)), await driver.fetch(plan.output_address, plan.output_words))
            facts = (done.reports, done.activity, done.counters["cycles"], wall_seconds)
            _note(events, {"image": image, **dict(zip(IMAGE_FACTS, facts, strict=True))})


def _note(events: TextIO, facts: Mapping[str, object]) -> None:
    events.write(json.dumps(facts) + "\n")
