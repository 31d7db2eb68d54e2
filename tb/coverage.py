"""Functional coverage: which layers ran under which conditions, and which combinations of them are meant to have run.

A test bench samples a layer after it has run, and only runs that pass are counted; CROSSES says what.
"""

import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hw.contract.config import ArchonConfig
from sw.golden.statistics import BlockStatistics, MaskStatistics
from sw.program import MemoryImage, PlacedBlock

FOLDER_VARIABLE = "ARCHON_COVERAGE"
"""Set while coverage is collected, to the folder of the records."""
SAMPLES_FILE = "samples.jsonl"
"""In the working directory of a simulation: one JSON object a sample."""

LONG_LATENCY = 30
"""Cycles of a read from which on its latency counts as a stall; queues of the smallest preset hold less."""

Sample = dict[str, list[str]]
"""Axis to the values that a layer's run showed; several of one axis count each."""

Point = tuple[str, ...]
"""A value for each axis of a cross."""

AXES: dict[str, tuple[str, ...]] = {
    "kind": ("fused", "pointwise", "convolution", "depthwise", "pool", "dense", "image"),
    "stride": ("1", "2"),
    "kernel": ("1", "3", "5"),
    "groups": ("1", "several"),
    "remainder": ("0", "1", "more"),
    "stall": ("none", "latency", "back-pressure", "idle"),
    "residual": ("no", "yes"),
    "shuffle": ("no", "yes"),
    "bands": ("whole", "cut"),
    "half": ("0", "1"),
    "barrier": ("no", "yes"),
    "turns": ("1", "several"),
    "slices": ("1", "several"),
    "first": ("none", "some", "all"),
    "second": ("none", "some", "all"),
    "values": ("any", "extreme"),
    "size": ("pixel", "line", "odd", "even"),
}
"""What is told apart.

remainder: channels of a group's input modulo the lanes of a cluster. stall: never, memory's latency of LONG_LATENCY or more,
sinks that hold back, sources that pause. bands: whether a group's rows are cut into jobs. half: of the table memories. turns,
slices: of a job. first, second: survivors of the ReLUs of a block. values: of weights or activations. size: of the input: one
pixel, one row or column, an odd or only even sides.
"""


@dataclass(frozen=True)
class Rule:
    """Combinations that cannot be, and why."""

    reason: str
    applies: Callable[[Mapping[str, str]], bool]


@dataclass(frozen=True)
class Cross:
    """Combinations of the values of some axes, without those that a rule rules out."""

    name: str
    axes: tuple[str, ...]
    rules: tuple[Rule, ...] = ()

    def points(self) -> Iterator[tuple[Point, Rule | None]]:
        """Every combination, with the first rule that it breaks."""
        for point in itertools.product(*(AXES[axis] for axis in self.axes)):
            values = dict(zip(self.axes, point, strict=True))
            yield point, next((rule for rule in self.rules if rule.applies(values)), None)

    def hits(self, sample: Sample) -> Iterator[Point]:
        """The combinations that a sample shows; none where it lacks one of the axes."""
        yield from itertools.product(*(sample.get(axis, []) for axis in self.axes))


ONE_PIXEL_KINDS = {"pointwise", "pool", "dense"}


def _kernel(values: Mapping[str, str]) -> bool:
    kernels = {"1"} if values["kind"] in ONE_PIXEL_KINDS else {"3"} if values["kind"] == "image" else {"3", "5"}
    return values["kernel"] not in kernels


KERNEL = Rule("pointwise, pool and dense layers look at one pixel, the image unit at 3x3, the others at 3x3 or 5x5", _kernel)
STRIDE = Rule(
    "pointwise, pool and dense layers have stride 1",
    lambda values: values["stride"] == "2" and values["kind"] in ONE_PIXEL_KINDS,
)
GROUPS = Rule(
    "only fused and pointwise layers have a choice of groups",
    lambda values: values["groups"] == "several" and values["kind"] not in {"fused", "pointwise"},
)
NO_LANES = Rule("the image unit has no lanes", lambda values: values["kind"] == "image" and values["remainder"] != "0")
NO_TABLES = Rule("the image unit has no tables, and takes an image as a whole", lambda values: values["kind"] == "image")
ONE_PIXEL = Rule("a dense layer sees one pixel", lambda values: values["kind"] == "dense" and values["size"] != "pixel")
ONE_ROW = Rule("a dense layer has one row", lambda values: values["kind"] == "dense" and values["bands"] == "cut")
RESIDUAL = Rule("a residual needs stride 1", lambda values: values["residual"] == "yes" and values["stride"] == "2")

CROSSES: tuple[Cross, ...] = (
    Cross("layers", ("kind", "stride", "kernel", "groups", "remainder", "stall"), (KERNEL, STRIDE, GROUPS, NO_LANES)),
    Cross("sizes", ("kind", "size"), (ONE_PIXEL,)),
    Cross("cuts", ("kind", "bands", "half"), (NO_TABLES, ONE_ROW)),
    Cross("order", ("kind", "barrier")),
    Cross("tables", ("kind", "turns", "slices"), (NO_TABLES,)),
    Cross("blocks", ("stride", "groups", "residual", "shuffle"), (RESIDUAL,)),
    Cross("survivors", ("first", "second", "values")),
)
"""What is reported: for each cross, how many of its possible combinations ran."""


class Circumstances(Protocol):
    """How the agents behaved (tb.programs.Circumstances)."""

    @property
    def idle(self) -> str:
        """Pattern of the sources."""
        ...

    @property
    def back_pressure(self) -> str:
        """Pattern of the sinks."""
        ...

    @property
    def latency(self) -> tuple[int, int]:
        """Least and greatest latency of a read, in cycles."""
        ...


class JobRun(Protocol):
    """A job of a layer (sw.program.Job)."""

    @property
    def group(self) -> int:
        """Of the layer."""
        ...

    @property
    def fields(self) -> Mapping[str, int]:
        """Of its descriptor."""
        ...


def stalls(case: Circumstances) -> list[str]:
    """The values of the axis `stall` that a case shows."""
    shown = {
        "latency": case.latency[1] >= LONG_LATENCY,
        "back-pressure": case.back_pressure != "never",
        "idle": case.idle != "never",
    }
    return [name for name, holds in shown.items() if holds] or ["none"]


def sample_layer(
    kind: str,
    shape: tuple[int, ...],
    jobs: Sequence[JobRun],
    config: ArchonConfig,
    case: Circumstances,
    *,
    extreme: bool = False,
    shuffle: bool = False,
    statistics: BlockStatistics | None = None,
) -> None:
    """Write down what a layer showed, if coverage is collected.

    Args:
        kind: One of AXES["kind"].
        shape: Of its input: channels, height, width.
        jobs: Those that ran.
        config: Of the hardware that ran them.
        case: How the agents behaved.
        extreme: Whether weights or activations were the largest and smallest.
        shuffle: Whether output channels were shuffled.
        statistics: Survivors of a block.
    """
    assert kind in AXES["kind"], f"coverage: one of the kinds {', '.join(AXES['kind'])} expected, got {kind}"
    if not os.environ.get(FOLDER_VARIABLE):
        return
    for sample in _samples(kind, shape, jobs, config, case, extreme=extreme):
        if kind == "fused":
            sample["shuffle"] = [_choice(shuffle, "yes", "no")]
        if statistics is not None:
            sample["first"], sample["second"] = [_share(statistics.first)], [_share(statistics.second)]
        with Path(SAMPLES_FILE).open("a", encoding="utf-8") as samples:
            samples.write(json.dumps(sample) + "\n")


def sample_block(
    item: PlacedBlock,
    image: MemoryImage,
    config: ArchonConfig,
    case: Circumstances,
    *,
    extreme: bool = False,
    statistics: BlockStatistics | None = None,
) -> None:
    """Write down what a block showed; arguments as of sample_layer."""
    jobs = [job for job in image.network_program.jobs if job.layer == item.name]
    shape = (item.spec.in_channels, item.height, item.width)
    shuffle = item.spec.shuffle
    sample_layer("fused", shape, jobs, config, case, extreme=extreme, shuffle=shuffle, statistics=statistics)


def hit_points(cross: Cross, samples: Iterable[Sample]) -> set[Point]:
    """The combinations that any sample shows."""
    return {point for sample in samples for point in cross.hits(sample)}


def _samples(
    kind: str,
    shape: tuple[int, ...],
    jobs: Sequence[JobRun],
    config: ArchonConfig,
    case: Circumstances,
    *,
    extreme: bool,
) -> Iterator[Sample]:
    groups = len({job.group for job in jobs})
    for job in jobs:
        fields = job.fields
        sample: Sample = {
            "kind": [kind],
            "stride": [_choice(fields["stride_two"], "2", "1")],
            "kernel": ["1" if kind in ONE_PIXEL_KINDS else _choice(fields["kernel_five"], "5", "3")],
            "stall": stalls(case),
            "values": [_choice(extreme, "extreme", "any")],
            "size": [_size(shape[1], shape[2])],
            "barrier": [_choice(fields["barrier"], "yes", "no")],
        }
        several = groups > 1 and kind in {"fused", "pointwise"}
        sample["groups"] = [_choice(several, "several", "1")]
        remainder = 0 if kind == "image" else fields["input_channels"] % config.lanes
        sample["remainder"] = [("0", "1", "more")[min(remainder, 2)]]
        if kind != "image":
            sample["half"] = [str(fields["half"])]
            sample["bands"] = [_choice(fields["input_rows"] < fields["input_height"], "cut", "whole")]
            sample["turns"] = [_choice(fields["turns"] > 1, "several", "1")]
            sample["slices"] = [_choice(fields["slices"] > 1, "several", "1")]
        if kind == "fused":
            sample["residual"] = [_choice(fields["residual"], "yes", "no")]
        yield sample


def _choice(holds: object, yes: str, no: str) -> str:
    return yes if holds else no


def _size(height: int, width: int) -> str:
    if height == width == 1:
        return "pixel"
    if 1 in {height, width}:
        return "line"
    return _choice(height % 2 or width % 2, "odd", "even")


def _share(counted: MaskStatistics) -> str:
    if counted.survivors == 0:
        return "none"
    return _choice(counted.survivors == counted.decisions, "all", "some")
