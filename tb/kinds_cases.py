"""Networks with a block of every kind, on images of odd sizes, with random weights, and how memory behaves while they run."""

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.contract.config import ArchonConfig, preset
from sw.bundle.network import IntegerNetwork
from sw.export.random_network import Survivors, random_network
from sw.spec import NetworkSpec, parse_spec
from tb import block_cases
from tb.fixed_cases import SHARED

TINY = preset("tiny")

VARIANTS: dict[str, ArchonConfig] = {
    "one_cluster_that_cuts_groups": dataclasses.replace(TINY, depths=dataclasses.replace(TINY.depths, output=8)),
    **{name: block_cases.VARIANTS[name] for name in SHARED[1:]},
    "two_lanes_kernel_five": block_cases.VARIANTS["two_lanes_kernel_five"],
}
"""Hardware that the cases run on; the first one has room for fewer outputs than some groups of fused blocks have."""

_UNFUSED = {"kind": "unfused", "kernel": 3, "groups": 1}
_SHUFFLED = {"kind": "unfused", "kernel": 3, "groups": 3, "inner_shuffle": True, "depthwise_relu": False, "output_relu": True}
_PAIR = {"kind": "pointwise_pair", "kernel": 3, "groups": 3, "inner_shuffle": True}
_BLOCKS: list[dict[str, object]] = [
    {**_UNFUSED, "in_channels": 6, "expanded_channels": 6, "out_channels": 6, "stride": 1, "expand": False},
    {**_UNFUSED, "in_channels": 6, "expanded_channels": 10, "out_channels": 6, "stride": 1, "residual": True},
    {**_SHUFFLED, "in_channels": 6, "expanded_channels": 12, "out_channels": 6, "stride": 1, "residual": True, "shuffle": True},
    {**_SHUFFLED, "in_channels": 6, "expanded_channels": 12, "out_channels": 15, "stride": 2, "average_pool_shortcut": True},
    {**_PAIR, "in_channels": 15, "expanded_channels": 33, "out_channels": 15, "stride": 1, "residual": True},
    {**_PAIR, "in_channels": 15, "expanded_channels": 24, "out_channels": 18, "stride": 2, "average_pool_shortcut": True},
    {"kernel": 3, "groups": 2, "in_channels": 18, "expanded_channels": 16, "out_channels": 10, "stride": 1, "residual": False,
     "shuffle": True},
]  # fmt: skip

_EXCITED = {"squeeze_and_excite": True, "squeezed_channels": 3}
_FUSED = {"kernel": 3, "groups": 2, "shuffle": True}
_EXCITED_BLOCKS: list[dict[str, object]] = [
    {**_UNFUSED, **_EXCITED, "in_channels": 6, "expanded_channels": 11, "out_channels": 6, "stride": 1, "residual": True},
    {**_FUSED, **_EXCITED, "in_channels": 6, "expanded_channels": 18, "out_channels": 6, "stride": 1, "residual": True},
    {**_FUSED, **_EXCITED, "in_channels": 6, "expanded_channels": 18, "out_channels": 20, "stride": 2, "residual": False},
    {**_UNFUSED, **_EXCITED, "in_channels": 20, "expanded_channels": 20, "out_channels": 9, "stride": 1, "expand": False},
]  # fmt: skip
"""Behind the last one comes the pool: there is no last pointwise layer."""


@dataclass(frozen=True)
class KindsCase:
    """One network and how external memory behaves while it runs.

    Args:
        name: For messages.
        height: Of the image.
        width: Of the image.
        stride: Of the stem.
        excited: Blocks with squeeze-and-excite instead of those without.
        survivors: Share of predicted ReLUs that survive.
        idle: As in tb.programs.Circumstances.
        back_pressure: As there.
        latency: As there.
        kernel: Of every other block.
    """

    name: str
    height: int
    width: int
    stride: int
    excited: bool = False
    survivors: float = 0.5
    idle: str = "never"
    back_pressure: str = "never"
    latency: tuple[int, int] = (1, 8)
    kernel: int = 3


CASES = (
    KindsCase("odd by even", 7, 10, 1, idle="rarely", back_pressure="rarely"),
    KindsCase("odd by odd, stride 2", 13, 9, 2, idle="bursts", back_pressure="mostly", latency=(1, 30)),
    KindsCase("one row, all survive", 1, 5, 1, survivors=1.0, back_pressure="bursts"),
    KindsCase("one column, none survives", 6, 1, 2, survivors=0.0, idle="mostly"),
    KindsCase("5x5, odd by even", 7, 10, 1, idle="rarely", back_pressure="rarely", kernel=5),
    KindsCase("5x5, odd by odd, stride 2", 13, 9, 2, idle="bursts", back_pressure="mostly", latency=(1, 30), kernel=5),
    KindsCase("gates, odd by even", 7, 6, 1, True, idle="rarely", back_pressure="rarely"),
    KindsCase(
        "gates, even by odd, stride 2", 8, 13, 2, True, survivors=1.0, idle="bursts", back_pressure="mostly", latency=(1, 30)
    ),
    KindsCase("gates, 5x5", 6, 7, 1, True, kernel=5),
    KindsCase("gates, one pixel", 2, 1, 2, True, back_pressure="bursts"),
)


def cases_of(config: ArchonConfig) -> list[KindsCase]:
    """Those whose kernel the hardware has."""
    return [case for case in CASES if case.kernel <= config.kernel]


def kinds_spec(case: KindsCase) -> NetworkSpec:
    """Unfused blocks of all baseline networks, pairs, fused blocks, residuals, shortcuts, gates; fits the preset tiny."""
    kind = _EXCITED_BLOCKS if case.excited else _BLOCKS
    blocks = [{**block, "kernel": case.kernel if index % 2 == 0 else 3} for index, block in enumerate(kind)]
    last: dict[str, object] = {} if case.excited else {"last_pointwise": {"channels": 12, "groups": 2}}
    return parse_spec({
        "name": "kinds", "height": case.height, "width": case.width, "channels": 3, "classes": 10,
        "stem": {"channels": 6, "kernel": 3, "stride": case.stride}, "sparsity": {"pointwise": 0.5, "depthwise": 0.3},
        "blocks": blocks, **last,
    })  # fmt: skip


def make_network(case: KindsCase, seed: int) -> tuple[IntegerNetwork, NDArray[np.uint8]]:
    """The network of a case, and two images (2, height, width, channels) for it, the second one of extreme pixels alone."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (2, case.height, case.width, 3)).astype(np.uint8)
    images[1] = np.where(images[1] < 128, 0, 255)
    survivors = Survivors(case.survivors, case.survivors)
    return random_network(kinds_spec(case), seed, survivors, images).network, images
