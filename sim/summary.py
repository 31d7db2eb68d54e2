"""From what the golden model and the accelerator said to the report."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version as installed_version

import numpy as np

from sim.accelerator import ImageRun
from sim.activity import LayerUnit, mean_activity, wrong_sums
from sim.compare import COUNTERS, Comparison
from sim.hardware import Hardware
from sim.options import Options
from sim.reference import LayerFacts
from sim.report import FirstDifference, LayerReport, Report
from sw.datasets import Excerpt
from sw.program import MemoryImage

PACKAGES = ("amaranth", "cocotb", "numpy")
"""Packages whose version can change what is simulated."""


def measured_counts(run: ImageRun, image: MemoryImage) -> dict[str, dict[str, int]]:
    """For every layer: the counters, summed over its jobs, and the "cycles" that it took after the layer before.

    They end with its last job; the first layer's begin with its first job.
    """
    layer_of = {job.number: job.layer for job in image.network_program.jobs}
    counts, before = {}, min(report["start_cycle"] for report in run.reports) - 1
    for program in image.layer_programs:
        reports = [report for report in run.reports if layer_of[report["job"]] == program.name]
        sums = {name: sum(report[name] for report in reports) for name in COUNTERS}
        end = max(report["end_cycle"] for report in reports)
        counts[program.name] = {**sums, "cycles": end - before}
        before = end
    return counts


@dataclass(frozen=True)
class Evidence:
    """What was run and what came of it.

    Args:
        excerpt: The images.
        predictions: A class for each of them.
        runs: What the accelerator did for each of them.
        counts: Its counters, as by measured_counts.
        activity: Of each image, as by sim.activity.layer_units.
        discrepancies: Between counters of jobs, as by sim.activity.wrong_jobs.
        comparison: With the golden model.
        layers: What the golden model says of all layers.
    """

    excerpt: Excerpt
    predictions: Sequence[int]
    runs: Sequence[ImageRun]
    counts: Sequence[Mapping[str, Mapping[str, int]]]
    activity: Sequence[Sequence[LayerUnit]]
    discrepancies: Sequence[str]
    comparison: Comparison
    layers: Sequence[LayerFacts]


def make_report(
    network: str, options: Options, hardware: Hardware, evidence: Evidence, simulator: str, wall_seconds: float
) -> Report:
    """The report of a run.

    Args:
        network: Its name.
        options: As given, with the number of images filled in.
        hardware: That it ran on.
        evidence: What came of it.
        simulator: With its version.
        wall_seconds: Of the whole run.
    """
    labels = [int(label) for label in evidence.excerpt.labels]
    first, cycles = evidence.comparison.first, sum(run.cycles for run in evidence.runs)
    seconds = sum(run.wall_seconds for run in evidence.runs)
    report = Report(
        network=network,
        bundle=options.network,
        images=len(labels),
        image_indices=[int(index) for index in evidence.excerpt.indices],
        labels=labels,
        predictions=list(evidence.predictions),
        bit_exact=evidence.comparison.bit_exact,
        mismatches=evidence.comparison.mismatches,
        compared=evidence.comparison.compared,
        first_difference=FirstDifference(**asdict(first)) if first else None,
        accuracy=float(np.mean([guess == label for guess, label in zip(evidence.predictions, labels, strict=True)])),
        preset=hardware.preset,
        clusters=hardware.config.clusters,
        lanes=hardware.config.clusters * hardware.config.lanes,
        multipliers=hardware.config.multipliers,
        seed=options.seed,
        simulator=options.simulator,
        memory_latency=options.latency,
        clock_cycles_per_image=cycles / len(labels),
        wall_seconds=wall_seconds,
        simulation_seconds=seconds,
        simulated_cycles_per_second=cycles / seconds,
        versions=versions(simulator),
        command=options.command(),
        activity=mean_activity(evidence.activity),
        discrepancies=list(evidence.discrepancies),
        layers=layer_reports(evidence.layers, evidence.counts),
    )
    return report.model_copy(update={"discrepancies": [*report.discrepancies, *wrong_sums(report)]})


def layer_reports(layers: Sequence[LayerFacts], counts: Sequence[Mapping[str, Mapping[str, int]]]) -> list[LayerReport]:
    """All layers in order, counters as means over the images."""
    return [_layer_report(layer, counts) for layer in layers]


def versions(simulator: str) -> dict[str, str]:
    """Everything whose version can change what is simulated."""
    return {"python": platform.python_version(), "simulator": simulator} | {name: installed_version(name) for name in PACKAGES}


def _layer_report(layer: LayerFacts, counts: Sequence[Mapping[str, Mapping[str, int]]]) -> LayerReport:
    on_rtl = all(layer.cost.name in of_image for of_image in counts)

    def mean(counter: str) -> float | None:
        return float(np.mean([of_image[layer.cost.name][counter] for of_image in counts])) if on_rtl else None

    masks = layer.statistics
    return LayerReport(
        name=layer.cost.name,
        kind=layer.cost.kind,
        on="rtl" if on_rtl else "host",
        cycles=mean("cycles"),
        multiplications_dense=layer.cost.multiplications_dense,
        multiplications_pruned=layer.cost.multiplications_pruned,
        multiplications_executed=mean("multiplications"),
        additions_executed=mean("additions"),
        survivors_first=masks.first.survivor_share if masks else None,
        survivors_second=masks.second.survivor_share if masks else None,
        predictor_agreement_first=masks.first.agreement if masks else None,
        predictor_agreement_second=masks.second.agreement if masks else None,
    )
