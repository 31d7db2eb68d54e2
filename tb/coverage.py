"""Functional coverage: which layers ran under which conditions, and which combinations of them are meant to have run.

A test bench samples a layer after it has run, and only runs that pass are counted; CROSSES says what.
"""

import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, get_args

from hw.contract.config import ArchonConfig
from hw.contract.taps import KERNELS, SMALL_KERNEL
from sw.golden.statistics import BlockStatistics, MaskStatistics
from sw.program import MemoryImage, PlacedBlock
from sw.spec import Kind, LayerShape

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
    "kind": get_args(Kind),
    "stride": ("1", "2"),
    "kernel": tuple(map(str, (1, *KERNELS))),
    "groups": ("1", "several"),
    "remainder": ("0", "1", "more"),
    "stall": ("none", "latency", "back-pressure", "idle"),
    "residual": ("no", "yes"),
    "shuffle": ("no", "yes"),
    "tensor": ("whole", "part"),
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

groups: those that jobs have. remainder: channels of a job's input modulo the lanes of a cluster. stall: never, memory's latency
of LONG_LATENCY or more, sinks that hold back, sources that pause. tensor: whether halves are concatenated to the output. bands:
whether a group's rows are cut into jobs. half: of the table memories. turns, slices: of a job. first, second: survivors of the
ReLUs of a block. values: of weights or activations. size: of the input, one pixel, one row or column, an odd
or only even sides.
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


SEES_A_PIXEL = {"pointwise", "fused pointwise pair", "relu", "scale", "dense"}
"""Kinds of layers that see one pixel at a time."""
SEES_A_WINDOW = {"depthwise", "fused block"}
"""Kinds that have a choice of windows."""
STRIDED = {"depthwise", "fused block", "average pool", "pool", "image"}
"""Kinds with strides; the image unit takes the stem's."""
GROUPED = {"fused block", "fused pointwise pair", "pointwise"}
"""Kinds that have a choice of groups, and of shuffling their outputs."""
ADDS = {"fused block", "pointwise", "depthwise", "scale"}
"""Kinds that a residual can be added to."""
JOINED = {"average pool", "pointwise", "depthwise"}
"""Kinds whose outputs can be concatenated with others."""
CHANNEL_BY_CHANNEL = {"depthwise", "average pool", "relu", "scale", "pool"}
"""Kinds whose jobs have one turn, since lanes give their sums one by one."""


def _only(kinds: set[str], axis: str, value: str) -> Callable[[Mapping[str, str]], bool]:
    """Applies where a layer of another kind has this value."""
    return lambda values: values[axis] == value and values["kind"] not in kinds


def _kernels(kind: str) -> set[str]:
    return {"1"} if kind in SEES_A_PIXEL else {"3", "5"} if kind in SEES_A_WINDOW else {"3"}


KERNEL = Rule(
    "depthwise layers and fused blocks have windows of 3x3 or 5x5, pools and the image unit of 3x3, the others see one pixel",
    lambda values: values["kernel"] not in _kernels(values["kind"]),
)
STRIDE = Rule(
    "layers that see one pixel have stride 1, and so has the stem, whose stride the image unit takes",
    _only(STRIDED, "stride", "2"),
)
POOL = Rule(
    "the pool sees every pixel in one of its windows, with stride 2",
    lambda values: values["kind"] == "pool" and values["stride"] == "1",
)
GROUPS = Rule("only fused and pointwise layers have a choice of groups", _only(GROUPED, "groups", "several"))
NO_LANES = Rule("the image unit has no lanes", lambda values: values["kind"] == "image" and values["remainder"] != "0")
ALL_BYTES = Rule(
    "the stem reads all bytes of the windows' words, as many as there are lanes or a multiple",
    lambda values: values["kind"] == "convolution" and values["remainder"] != "0",
)
NO_TABLES = Rule("the image unit has no tables, and takes an image as a whole", lambda values: values["kind"] == "image")
ONE_PIXEL = Rule("a dense layer sees one pixel", lambda values: values["kind"] == "dense" and values["size"] != "pixel")
ONE_ROW = Rule("a dense layer has one row", lambda values: values["kind"] == "dense" and values["bands"] == "cut")
ONE_TURN = Rule(
    "layers that filter each channel have one turn",
    lambda values: values["turns"] == "several" and values["kind"] in CHANNEL_BY_CHANNEL,
)
ONE_SLICE = Rule(
    "a relu takes an expanded channel a lane, which is one slice in every preset",
    lambda values: values["slices"] == "several" and values["kind"] == "relu",
)
RESIDUAL = Rule("a residual needs stride 1", lambda values: values["residual"] == "yes" and values["stride"] == "2")
ADDED = Rule("residuals are added to what a block's last layer gives", _only(ADDS, "residual", "yes"))
SHUFFLED = Rule("only fused and pointwise layers are shuffled", _only(GROUPED, "shuffle", "yes"))
PART = Rule("only a shortcut and the last layer of its block are concatenated", _only(JOINED, "tensor", "part"))
SHORTCUT = Rule(
    "the average pool is a half of a block's output",
    lambda values: values["kind"] == "average pool" and values["tensor"] == "whole",
)
EITHER = Rule("a block has a residual or a shortcut", lambda values: values["residual"] == "yes" and values["tensor"] == "part")

CROSSES: tuple[Cross, ...] = (
    Cross(
        "layers",
        ("kind", "stride", "kernel", "groups", "remainder", "stall"),
        (KERNEL, STRIDE, POOL, GROUPS, NO_LANES, ALL_BYTES),
    ),
    Cross("sizes", ("kind", "size"), (ONE_PIXEL,)),
    Cross("cuts", ("kind", "bands", "half"), (NO_TABLES, ONE_ROW)),
    Cross("order", ("kind", "barrier")),
    Cross("turns", ("kind", "turns"), (NO_TABLES, ONE_TURN)),
    Cross("slices", ("kind", "slices"), (NO_TABLES, ONE_SLICE)),
    Cross(
        "outputs",
        ("kind", "stride", "groups", "residual", "shuffle", "tensor"),
        (STRIDE, POOL, GROUPS, RESIDUAL, ADDED, SHUFFLED, PART, SHORTCUT, EITHER),
    ),
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


@dataclass(frozen=True)
class LayerRun:
    """A layer that has run.

    Args:
        kind: One of AXES["kind"].
        shape: Of its input: channels, height, width.
        jobs: Those that ran.
        kernel: Of its window, where it has one.
        shuffle: Whether output channels were shuffled.
        part: Whether its output is a part of a tensor.
        extreme: Whether weights or activations were the largest and smallest.
        statistics: Survivors of a block.
    """

    kind: str
    shape: tuple[int, ...]
    jobs: Sequence[JobRun]
    kernel: int = 3
    shuffle: bool = False
    part: bool = False
    extreme: bool = False
    statistics: BlockStatistics | None = None

    def samples(self, config: ArchonConfig, stall: Sequence[str]) -> Iterator[Sample]:
        """What each of its jobs showed on a configuration, with these values of the axis `stall`."""
        several = self.kind in GROUPED and len({job.group for job in self.jobs}) > 1
        of_layer: Sample = {
            "kind": [self.kind],
            "kernel": ["1" if self.kind in SEES_A_PIXEL else str(max(self.kernel, SMALL_KERNEL))],
            "groups": [_choice(several, "several", "1")],
            "stall": list(stall),
            "shuffle": [_choice(self.shuffle, "yes", "no")],
            "tensor": [_choice(self.part, "part", "whole")],
            "values": [_choice(self.extreme, "extreme", "any")],
            "size": [_size(self.shape[1], self.shape[2])],
        }
        if self.statistics is not None:
            of_layer["first"] = [_share(self.statistics.first)]
            of_layer["second"] = [_share(self.statistics.second)]
        for job in self.jobs:
            yield of_layer | (_job(job.fields, config) if self.kind != "image" else _image_job(job.fields))


def stalls(case: Circumstances) -> list[str]:
    """The values of the axis `stall` that a case shows."""
    return shown_stalls(latency=case.latency[1], held=case.back_pressure != "never", idle=case.idle != "never")


def shown_stalls(*, latency: int, held: object, idle: object) -> list[str]:
    """The values of the axis `stall` that memory of a latency shows, where requests and writes, or its words, wait at times."""
    shown = {"latency": latency >= LONG_LATENCY, "back-pressure": held, "idle": idle}
    return [name for name, holds in shown.items() if holds] or ["none"]


def sample_layer(layer: LayerRun, config: ArchonConfig, case: Circumstances) -> None:
    """Write down what a layer showed, if coverage is collected.

    Args:
        layer: That ran.
        config: Of the hardware that ran it.
        case: How the agents behaved.
    """
    assert layer.kind in AXES["kind"], f"coverage: one of the kinds {', '.join(AXES['kind'])} expected, got {layer.kind}"
    if not os.environ.get(FOLDER_VARIABLE):
        return
    with Path(SAMPLES_FILE).open("a", encoding="utf-8") as samples:
        samples.writelines(json.dumps(sample) + "\n" for sample in layer.samples(config, stalls(case)))


def sample_block(
    item: PlacedBlock,
    image: MemoryImage,
    config: ArchonConfig,
    case: Circumstances,
    *,
    extreme: bool = False,
    statistics: BlockStatistics | None = None,
) -> None:
    """Write down what a block showed; arguments as of LayerRun and sample_layer."""
    jobs = [job for job in image.network_program.jobs if job.layer == item.name]
    spec, shape = item.spec, (item.spec.in_channels, item.height, item.width)
    run = LayerRun("fused block", shape, jobs, spec.kernel, spec.shuffle, extreme=extreme, statistics=statistics)
    sample_layer(run, config, case)


def network_runs(
    layers: Iterable[LayerShape], image: MemoryImage, statistics: Mapping[str, BlockStatistics]
) -> Iterator[LayerRun]:
    """The layers of a network that runs; their kernels are those of their blocks, the statistics by name."""
    for layer in layers:
        jobs, shape = [job for job in image.network_program.jobs if job.layer == layer.name], layer.source.shape
        part = layer.target is not None
        survivors = statistics.get(layer.name) if layer.kind == "fused block" else None  # a pair predicts no second ReLU
        yield LayerRun(layer.kind, shape, jobs, layer.kernel, layer.shuffle, part, statistics=survivors)


def hit_points(cross: Cross, samples: Iterable[Sample]) -> set[Point]:
    """The combinations that any sample shows."""
    return {point for sample in samples for point in cross.hits(sample)}


def _job(fields: Mapping[str, int], config: ArchonConfig) -> Sample:
    return _image_job(fields) | {
        "remainder": [("0", "1", "more")[min(fields["input_channels"] % config.lanes, 2)]],
        "residual": [_choice(fields["residual"], "yes", "no")],
        "half": [str(fields["half"])],
        "bands": [_choice(fields["input_rows"] < fields["input_height"], "cut", "whole")],
        "turns": [_choice(fields["turns"] > 1, "several", "1")],
        "slices": [_choice(fields["slices"] > 1, "several", "1")],
    }


def _image_job(fields: Mapping[str, int]) -> Sample:
    return {
        "stride": [_choice(fields["stride_two"], "2", "1")],
        "barrier": [_choice(fields["barrier"], "yes", "no")],
        "remainder": ["0"],
        "residual": ["no"],
    }


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
