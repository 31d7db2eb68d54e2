"""What the units of the accelerator do in every cycle of a job: states, counters, and how they leave the accelerator.

docs/report.md defines the four states; every cycle of a job counts in one of them, for each unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum

from hw.contract.config import ArchonConfig
from hw.contract.descriptor import JOB_BITS
from hw.contract.layout import Field, Layout


class Unit(IntEnum):
    """A unit that is observed, by its number in ACTIVITY."""

    TABLE_LOADER = 0
    ACTIVATION_LOADER = 1
    RESIDUAL_READER = 2
    EXPAND_PREDICTOR = 3
    DEPTHWISE_PREDICTOR = 4
    SURVIVOR_SCAN = 5
    ACCUMULATORS = 6
    MULTIPLIERS = 7
    REDUCTION = 8
    REQUANTIZER = 9
    READ_PORT = 10
    WRITE_PORT = 11
    IMAGE_LOADER = 12
    IMAGE_WINDOWS = 13

    @property
    def label(self) -> str:
        """Its name in layouts and reports."""
        return self.name.lower()


LANE_UNITS = (Unit.SURVIVOR_SCAN, Unit.ACCUMULATORS, Unit.MULTIPLIERS)
"""Units of lanes: one in each, or one in each adder row of it."""

WORK = {Unit.MULTIPLIERS: "multiplications", Unit.ACCUMULATORS: "steps"}
"""Units that are busy exactly as many cycles as a job's report counts of this."""

CLUSTER_UNITS: tuple[Unit, ...] = tuple(unit for unit in Unit if unit not in (Unit.IMAGE_LOADER, Unit.IMAGE_WINDOWS))
"""Units of a cluster, in the order in which their counts come."""

IMAGE_UNITS: tuple[Unit, ...] = (Unit.READ_PORT, Unit.WRITE_PORT, Unit.IMAGE_LOADER, Unit.IMAGE_WINDOWS)
"""Units of the image unit."""


class Observation(IntEnum):
    """What can be seen of a unit in one cycle; whether IDLE is starved or drain shows only later in the job."""

    IDLE = 0
    BUSY = 1
    BLOCKED = 2


OBSERVATION_BITS = 2

STATES = ("busy", "starved", "blocked", "drain")
"""Of a unit in one cycle, as counted."""

COUNT_BITS = 32
"""Of one count: instances times the cycles of a job must stay below."""

ACTIVITY = Layout(
    "activity",
    (Field("job", JOB_BITS), Field("unit", 4), *(Field(state, COUNT_BITS) for state in STATES)),
)
"""The cycles that a unit spent in each state during a job, over all its instances. They add up to
end_cycle - start_cycle + 1 of the job's report, times the instances. A job has one for each of its units."""


def lane_instances(unit: Unit, config: ArchonConfig) -> int:
    """How many of LANE_UNITS there are in a lane."""
    return config.adder_rows if unit is Unit.ACCUMULATORS else 1


def instances(unit: Unit, config: ArchonConfig) -> int:
    """How many of a unit there are in a cluster or in the image unit; of a lane's, those of lane 0 come first."""
    return config.lanes * lane_instances(unit, config) if unit in LANE_UNITS else 1


def lane_observed(config: ArchonConfig) -> Layout:
    """One cycle of a lane: an Observation of each instance of its units."""
    fields = (Field(unit.label, OBSERVATION_BITS, count=lane_instances(unit, config)) for unit in LANE_UNITS)
    return Layout("lane_observed", tuple(fields))


def observed(units: Sequence[Unit], config: ArchonConfig) -> Layout:
    """One cycle of a cluster or the image unit: whether it counts for a job, and an Observation of each instance of its units.

    A bit that means nothing where the configuration has no counters.
    """
    seen = units if config.counters else ()
    fields = (Field(unit.label, OBSERVATION_BITS, count=instances(unit, config)) for unit in seen)
    return Layout("observed", (Field("active", 1), *fields))


def sources(config: ArchonConfig) -> dict[str, tuple[Unit, ...]]:
    """Everything that runs jobs, by name, in the order of the numbers in job descriptors, and its units."""
    clusters = {f"cluster {index}": CLUSTER_UNITS for index in range(config.clusters)}
    return {**clusters, "image unit": IMAGE_UNITS}


def observed_bits(config: ArchonConfig) -> int:
    """All sources side by side, the first one lowest."""
    return sum(observed(units, config).width for units in sources(config).values())


def discrepancies(
    report: Mapping[str, int], counts: Sequence[Mapping[str, int]], units: Sequence[Unit], config: ArchonConfig
) -> list[str]:
    """What does not reconcile in a job, as sentences; nothing where all is well.

    Args:
        report: The job's, as unpacked by descriptor.REPORT.
        counts: The job's, as unpacked by ACTIVITY.
        units: Of what ran it.
        config: Of the accelerator.
    """
    found, job = {Unit(row["unit"]): row for row in counts}, f"job {report['job']}"
    if sorted(row["unit"] for row in counts) != sorted(units):
        names, others = (sorted(Unit(number).label for number in numbers) for numbers in (units, (r["unit"] for r in counts)))
        return [f"{job}: counts of the units {', '.join(names)} are expected, got {', '.join(others) or 'none'}"]
    cycles, sentences = report["end_cycle"] - report["start_cycle"] + 1, []
    for unit, row in found.items():
        total, expected = sum(row[state] for state in STATES), cycles * instances(unit, config)
        if total != expected:
            sentences.append(f"{job}, {unit.label}: the states' cycles must add up to {expected}, got {total}")
    for unit, counter in WORK.items():
        if unit in found and found[unit]["busy"] != report[counter]:
            sentences.append(f"{job}, {unit.label}: {report[counter]} busy cycles are expected, got {found[unit]['busy']}")
    return sentences
