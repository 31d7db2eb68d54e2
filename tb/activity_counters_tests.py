"""Counters of what units do: random jobs, each cycle of which must be counted once for every unit, in the right state."""

from typing import Any

import cocotb
from cocotb.triggers import RisingEdge

from hw.contract.activity import (
    ACTIVITY,
    CLUSTER_UNITS,
    STATES,
    Observation,
    Unit,
    instances,
    observed,
)
from hw.contract.config import ArchonConfig
from tb.bench import Bench, configuration
from tb.streams import PATTERNS

JOBS = 40
LONGEST_JOB = 60

Cycle = dict[Unit, list[int]]
"""An Observation of each instance of every unit."""


def random_job(bench: Bench, config: ArchonConfig) -> list[Cycle]:
    """Cycles of a job; each unit works in some part of it, perhaps in none."""
    random, length = bench.random, bench.random.randrange(1, LONGEST_JOB)
    busy = {unit: random.random() * random.choice([0, 1]) for unit in CLUSTER_UNITS}
    part = {unit: sorted(random.choices(range(length + 1), k=2)) for unit in CLUSTER_UNITS}

    def seen(unit: Unit, cycle: int) -> int:
        start, end = part[unit]
        at_work = start <= cycle < end and random.random() < busy[unit]
        return random.choice([Observation.BUSY, Observation.BLOCKED]) if at_work else Observation.IDLE

    return [
        {unit: [seen(unit, cycle) for _ in range(instances(unit, config))] for unit in CLUSTER_UNITS} for cycle in range(length)
    ]


def expected_counts(number: int, cycles: list[Cycle], unit: Unit) -> dict[str, int]:
    """A unit's counts, from the whole job at once."""
    rows = [cycle[unit] for cycle in cycles]
    working = [number for number, row in enumerate(rows) if any(row)]
    first, last = (working[0], working[-1]) if working else (len(rows), -1)
    counts = dict.fromkeys(STATES, 0)
    for place, row in enumerate(rows):
        for seen in row:
            idle = "starved" if first <= place <= last else "drain"
            counts[{Observation.BUSY: "busy", Observation.BLOCKED: "blocked"}.get(Observation(seen), idle)] += 1
    return {"job": number, "unit": int(unit), **counts}


@cocotb.test()
@cocotb.parametrize(back_pressure=list(PATTERNS))
async def every_cycle_counts_once(dut: Any, back_pressure: str) -> None:
    """Jobs with pauses of any length between them, noise in the pauses; the end of a job waits for `ready`."""
    config = configuration()
    bench = Bench(dut, "activity", back_pressure=back_pressure)
    activity = bench.sink("activity", ACTIVITY)
    edge, random = RisingEdge(dut.clk), bench.random
    dut.ended.value = 0
    show(dut, random_job(bench, config)[0], active=False)
    await bench.reset()
    expected = []
    for number in range(JOBS):
        cycles = random_job(bench, config)
        for cycle in cycles:
            show(dut, cycle, active=True)
            await edge
        show(dut, random_job(bench, config)[0], active=False)
        dut.job.value = number
        await bench.until(lambda: dut.ready.value, "ready for the end of a job")
        dut.ended.value = 1
        await edge
        dut.ended.value, dut.job.value = 0, random.getrandbits(16)
        expected += [expected_counts(number, cycles, unit) for unit in CLUSTER_UNITS]
        await bench.cycles(random.choice([0, 0, 1, 5]))
    await bench.until(lambda: len(activity.items) >= len(expected), "the counts of all jobs")
    await bench.cycles(10)
    assert not dut.pending.value, "counts pending that nobody waits for"
    assert activity.items == expected


def show(dut: Any, cycle: Cycle, *, active: bool) -> None:
    """What is observed in a cycle."""
    values = {unit.label: [int(seen) for seen in states] for unit, states in cycle.items()}
    dut.observed.value = observed(CLUSTER_UNITS, configuration()).pack({"active": int(active), **values})
