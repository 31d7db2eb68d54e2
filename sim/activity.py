"""From the counters of every job to what the units did in every layer, and whether it all adds up."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hw.contract.activity import STATES, WORK, Unit, discrepancies, instances, sources
from hw.contract.config import ArchonConfig
from sim.accelerator import ImageRun
from sim.report import Report, UnitActivity
from sw.program import MemoryImage


@dataclass(frozen=True)
class LayerUnit:
    """What all instances of a unit did in a layer of one image: instances times the layer's cycles, by state."""

    layer: str
    unit: Unit
    instances: int
    cycles: int
    states: Mapping[str, int]


def wrong_jobs(run: ImageRun, image: MemoryImage, config: ArchonConfig) -> list[str]:
    """What does not reconcile in any job, as sentences."""
    units = list(sources(config).values()) if config.counters else []
    jobs = {job.number: job for job in image.network_program.jobs}
    sentences = []
    for report in run.reports if units else ():
        counts = [row for row in run.activity if row["job"] == report["job"]]
        sentences += discrepancies(report, counts, units[jobs[report["job"]].fields["cluster"]], config)
    return sentences


def layer_units(run: ImageRun, image: MemoryImage, config: ArchonConfig, cycles: Mapping[str, int]) -> list[LayerUnit]:
    """Every layer, and every unit that had a part in it.

    Where a cluster has no job of the layer, because it ended earlier or has none at all, its units are drained.

    Args:
        run: What the accelerator did.
        image: Its program says which layer a job belongs to.
        config: Of the accelerator.
        cycles: Of each layer, as by sim.summary.measured_counts.
    """
    if not config.counters:
        return []
    units = list(sources(config).values())
    found = []
    for program in image.layer_programs:
        jobs = {job.number: job for job in image.network_program.jobs if job.layer == program.name}
        kinds = {units[job.fields["cluster"]] for job in jobs.values()}
        for unit in sorted({unit for kind in kinds for unit in kind}):
            count = instances(unit, config) * sum(unit in kind for kind in units if kind in kinds)
            rows = [row for row in run.activity if row["unit"] == unit and row["job"] in jobs]
            states = {state: sum(row[state] for row in rows) for state in STATES}
            states["drain"] += count * cycles[program.name] - sum(states.values())
            found.append(LayerUnit(program.name, unit, count, count * cycles[program.name], states))
    return found


def mean_activity(images: Sequence[Sequence[LayerUnit]]) -> list[UnitActivity]:
    """Means over images, which all have the same layers and units."""

    def mean(numbers: Sequence[int]) -> float:
        return sum(numbers) / len(numbers)

    return [
        UnitActivity(
            layer=rows[0].layer,
            unit=rows[0].unit.label,
            instances=rows[0].instances,
            cycles=mean([row.cycles for row in rows]),
            **{state: mean([row.states[state] for row in rows]) for state in STATES},
        )
        for rows in zip(*images, strict=True)
    ]


def wrong_sums(report: Report) -> list[str]:
    """What does not reconcile in a report, as sentences: the states of a unit in a layer, its cycles, its work."""
    return [sentence for row in report.activity for sentence in _wrong_row(report, row)]


def _wrong_row(report: Report, row: UnitActivity) -> Iterator[str]:
    def total(mean: float | None) -> int:
        """Over all images; means were made of whole numbers."""
        return round((mean or 0) * report.images)

    layer = next((layer for layer in report.layers if layer.name == row.layer), None)
    where, states = f"layer {row.layer}, {row.unit}", {state: total(getattr(row, state)) for state in STATES}
    if layer is None:
        yield f"{where}: the report has no such layer"
        return
    if sum(states.values()) != total(row.cycles):
        yield f"{where}: busy, starved, blocked and drain must add up to {total(row.cycles)} cycles, got {sum(states.values())}"
    if total(row.cycles) != row.instances * total(layer.cycles):
        yield f"{where}: {row.instances * total(layer.cycles)} cycles are expected, got {total(row.cycles)}"
    if min(states.values()) < 0:
        yield f"{where}: its jobs took more cycles than the layer, which took {total(layer.cycles)}"
    if WORK.get(Unit[row.unit.upper()]) == "multiplications" and states["busy"] != total(layer.multiplications_executed):
        yield f"{where}: {total(layer.multiplications_executed)} busy cycles are expected, got {states['busy']}"
