"""Blocks, images and memory behaviour that the whole accelerator is tested with."""

import dataclasses
import itertools
import random
from dataclasses import dataclass

from hw.contract.config import ArchonConfig, preset
from hw.contract.taps import KERNELS
from sw.golden.random_block import Survivors
from sw.spec import BlockSpec

TINY = preset("tiny")

VARIANTS: dict[str, ArchonConfig] = {
    "one_cluster_two_lanes": TINY,
    "three_clusters_one_lane": dataclasses.replace(TINY.with_lanes(1), clusters=3, slice_channels=2, table_halves=1),
    "two_clusters_four_lanes": dataclasses.replace(
        TINY, clusters=2, lanes=4, slice_channels=8, row_store_banks=8, pixel_tile=1, counters=False
    ),
    "two_clusters_eight_lanes": dataclasses.replace(TINY, clusters=2, lanes=8, adder_rows=2, slice_channels=16, pixel_tile=4),
    "two_lanes_kernel_five": dataclasses.replace(TINY, kernel=5),
    "two_clusters_four_lanes_kernel_five": dataclasses.replace(TINY, clusters=2, lanes=4, adder_rows=2, kernel=5),
}
"""Hardware that the cases run on; every case fits every variant that has its kernels."""


SHARES: tuple[Survivors, ...] = ("none", "some", "all")
"""Survivors of a ReLU."""


@dataclass(frozen=True)
class BlockCase:
    """One program of one or more blocks and how external memory behaves while it runs.

    Args:
        name: For messages.
        blocks: (groups, input channels, expanded channels, output channels, stride, residual, shuffle) of each block;
            channels of one group.
        height: Rows of the first block's input.
        width: Columns of the first block's input.
        masks: Survivors of the first and the second ReLU.
        extreme: Largest and smallest weights and activations instead of any.
        sparsity: Share of zeros among the weights.
        idle: Pattern of the read data stream.
        back_pressure: Pattern of the read request, write and report streams.
        latency: Least and greatest latency of a read, in cycles.
        kernels: Of the blocks; 3 of those left out.
    """

    name: str
    blocks: tuple[tuple[int, int, int, int, int, bool, bool], ...]
    height: int
    width: int
    masks: tuple[Survivors, Survivors] = ("some", "some")
    extreme: bool = False
    sparsity: float = 0.6
    idle: str = "never"
    back_pressure: str = "never"
    latency: tuple[int, int] = (1, 8)
    kernels: tuple[int, ...] = ()

    def specs(self) -> list[BlockSpec]:
        """The specifications of the blocks."""
        return [
            BlockSpec(
                in_channels=groups * inputs, expanded_channels=groups * expanded, out_channels=groups * outputs,
                kernel=kernel, stride=stride, groups=groups, residual=residual, shuffle=shuffle,
            )
            for (groups, inputs, expanded, outputs, stride, residual, shuffle), kernel in zip(
                self.blocks, itertools.chain(self.kernels, itertools.repeat(3)), strict=False
            )
        ]  # fmt: skip


DIRECTED: tuple[BlockCase, ...] = (
    BlockCase("plain", ((1, 4, 12, 4, 1, False, False),), 4, 4),
    BlockCase("odd sizes", ((1, 3, 13, 5, 1, False, False),), 7, 5, latency=(1, 100)),
    BlockCase("stride 2, odd", ((1, 4, 11, 6, 2, False, False),), 7, 5, idle="rarely"),
    BlockCase("stride 2, even", ((3, 2, 7, 3, 2, False, True),), 6, 8, back_pressure="rarely"),
    BlockCase("four groups, residual, shuffle", ((4, 2, 9, 2, 1, True, True),), 5, 4, back_pressure="mostly"),
    BlockCase("three groups that share words", ((3, 3, 10, 3, 1, True, False),), 4, 5, idle="mostly"),
    BlockCase("one pixel", ((1, 5, 8, 3, 1, False, False),), 1, 1, latency=(100, 100)),
    BlockCase("one row", ((1, 2, 9, 2, 1, True, False),), 1, 9),
    BlockCase("one column", ((1, 2, 9, 2, 2, False, False),), 9, 1, back_pressure="bursts"),
    BlockCase("no first survivors", ((1, 4, 12, 4, 1, True, False),), 4, 5, ("none", "some")),
    BlockCase("no second survivors", ((4, 2, 8, 3, 1, False, True),), 4, 3, ("some", "none")),
    BlockCase("all survive", ((1, 4, 16, 4, 1, False, False),), 4, 4, ("all", "all")),
    BlockCase("all of the second survive", ((3, 1, 9, 2, 1, False, True),), 5, 3, ("some", "all")),
    BlockCase("extreme weights", ((1, 4, 10, 4, 1, True, False),), 4, 4, ("all", "all"), extreme=True, sparsity=0.0),
    *(
        BlockCase(
            f"extreme weights, {first} and {second} survive",
            ((3, 2, 10, 4, 2, False, True),), 3, 5, (first, second), extreme=True,
        )
        for first in SHARES for second in SHARES
    ),
    BlockCase("nine channels", ((1, 9, 12, 5, 1, False, False),), 3, 4, idle="bursts", latency=(1, 40)),
    BlockCase(
        # The first cluster has fewer rows than the others and then little to load: without the barrier it would read
        # rows that are not there yet.
        "chain in which clusters end apart",
        ((1, 6, 20, 2, 1, False, False), (2, 1, 3, 1, 1, False, False)),
        5, 9, ("all", "all"), sparsity=0.3, latency=(1, 1),
    ),
    BlockCase(
        "chain",
        ((1, 3, 9, 4, 1, False, False), (4, 1, 6, 2, 2, False, True), (4, 2, 6, 2, 1, True, True)),
        5, 6, idle="rarely", back_pressure="rarely", latency=(1, 30),
    ),
    BlockCase("5x5", ((1, 4, 12, 4, 1, False, False),), 6, 7, kernels=(5,)),
    BlockCase("5x5, stride 2, odd", ((1, 3, 11, 5, 2, False, False),), 9, 7, idle="rarely", kernels=(5,)),
    BlockCase("5x5, stride 2, even", ((3, 2, 7, 3, 2, False, True),), 8, 6, back_pressure="mostly", kernels=(5,)),
    BlockCase("5x5, groups, residual, shuffle", ((4, 2, 9, 2, 1, True, True),), 5, 4, latency=(1, 60), kernels=(5,)),
    BlockCase("5x5, one pixel", ((1, 5, 8, 3, 1, False, False),), 1, 1, ("all", "all"), kernels=(5,)),
    BlockCase("5x5, one row", ((1, 2, 9, 2, 1, True, False),), 1, 9, idle="bursts", kernels=(5,)),
    BlockCase("5x5, one column", ((1, 2, 9, 2, 2, False, False),), 9, 1, kernels=(5,)),
    BlockCase("5x5, two rows and columns", ((1, 2, 17, 2, 1, False, False),), 2, 2, ("all", "some"), kernels=(5,)),
    BlockCase("5x5, all survive", ((1, 4, 16, 4, 1, False, False),), 4, 5, ("all", "all"), sparsity=0.2, kernels=(5,)),
    BlockCase("5x5, none survives", ((1, 4, 9, 4, 1, True, False),), 4, 5, ("none", "all"), kernels=(5,)),
    BlockCase(
        "5x5, extreme", ((1, 4, 10, 4, 1, True, False),), 5, 5, ("all", "all"), extreme=True, sparsity=0.0, kernels=(5,)
    ),
    BlockCase(
        "5x5 and 3x3 in turns",
        (
            (1, 4, 9, 4, 1, True, False), (1, 4, 13, 6, 2, False, False), (2, 3, 8, 2, 1, False, True),
            (4, 1, 9, 1, 1, True, True),
        ),
        8, 7, idle="rarely", back_pressure="rarely", latency=(1, 30), kernels=(5, 3, 5, 3),
    ),
)  # fmt: skip


def directed(config: ArchonConfig) -> list[BlockCase]:
    """The directed cases whose kernels the hardware has."""
    return [case for case in DIRECTED if max(case.kernels, default=3) <= config.kernel]


def random_case(seed: int, kernel: int = 3) -> BlockCase:
    """A case with every choice drawn from the seed, the kernel's up to `kernel`."""
    rng = random.Random(seed)
    groups, stride = rng.choice([1, 1, 3, 4]), rng.choice([1, 1, 2])
    inputs, expanded = rng.randint(1, 6 if groups == 1 else 3), rng.randint(3, 20)
    residual = stride == 1 and rng.random() < 0.5
    outputs = inputs if residual else rng.randint(1, 5)
    height, width = rng.randint(1, 7), rng.randint(1, 6)
    share: list[Survivors] = ["some", "some", "some", "all", "none"]
    return BlockCase(
        f"random {seed}",
        ((groups, inputs, expanded, outputs, stride, residual, rng.random() < 0.5),),
        height,
        width,
        (rng.choice(share), rng.choice(share)),
        extreme=rng.random() < 0.2,
        sparsity=rng.choice([0.3, 0.6, 0.6, 0.9]),
        idle=rng.choice(["never", "rarely", "mostly", "bursts"]),
        back_pressure=rng.choice(["never", "rarely", "mostly", "bursts"]),
        latency=(1, rng.choice([1, 10, 100])),
        kernels=(rng.choice([size for size in KERNELS if size <= kernel]),),
    )
