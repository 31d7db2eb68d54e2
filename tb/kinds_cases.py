"""Networks with a block of every kind, on images of odd sizes, with random weights, and how memory behaves while they run."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.contract.config import ArchonConfig
from sw.bundle.network import IntegerNetwork
from sw.export.random_network import Survivors, random_network
from sw.spec import NetworkSpec, parse_spec
from tb import block_cases
from tb.fixed_cases import SHARED

VARIANTS: dict[str, ArchonConfig] = {name: block_cases.VARIANTS[name] for name in SHARED}

_UNFUSED = {"kind": "unfused", "kernel": 3, "groups": 1}
_SHUFFLED = {"kind": "unfused", "kernel": 3, "groups": 3, "inner_shuffle": True, "depthwise_relu": False, "output_relu": True}
_PAIR = {"kind": "pointwise_pair", "kernel": 3, "groups": 3, "inner_shuffle": True}
_BLOCKS = [
    {**_UNFUSED, "in_channels": 6, "expanded_channels": 6, "out_channels": 6, "stride": 1, "expand": False},
    {**_UNFUSED, "in_channels": 6, "expanded_channels": 10, "out_channels": 6, "stride": 1, "residual": True},
    {**_SHUFFLED, "in_channels": 6, "expanded_channels": 12, "out_channels": 6, "stride": 1, "residual": True, "shuffle": True},
    {**_SHUFFLED, "in_channels": 6, "expanded_channels": 12, "out_channels": 15, "stride": 2, "average_pool_shortcut": True},
    {**_PAIR, "in_channels": 15, "expanded_channels": 33, "out_channels": 15, "stride": 1, "residual": True},
    {**_PAIR, "in_channels": 15, "expanded_channels": 24, "out_channels": 18, "stride": 2, "average_pool_shortcut": True},
    {"kernel": 3, "groups": 2, "in_channels": 18, "expanded_channels": 16, "out_channels": 10, "stride": 1, "residual": False,
     "shuffle": True},
]  # fmt: skip


@dataclass(frozen=True)
class KindsCase:
    """One network and how external memory behaves while it runs.

    Args:
        name: For messages.
        height: Of the image.
        width: Of the image.
        stride: Of the stem.
        survivors: Share of predicted ReLUs that survive.
        idle: As in tb.programs.Circumstances.
        back_pressure: As there.
        latency: As there.
    """

    name: str
    height: int
    width: int
    stride: int
    survivors: float = 0.5
    idle: str = "never"
    back_pressure: str = "never"
    latency: tuple[int, int] = (1, 8)


CASES = (
    KindsCase("odd by even", 7, 10, 1, idle="rarely", back_pressure="rarely"),
    KindsCase("odd by odd, stride 2", 13, 9, 2, idle="bursts", back_pressure="mostly", latency=(1, 30)),
    KindsCase("one row, all survive", 1, 5, 1, survivors=1.0, back_pressure="bursts"),
    KindsCase("one column, none survives", 6, 1, 2, survivors=0.0, idle="mostly"),
)


def kinds_spec(height: int, width: int, stride: int) -> NetworkSpec:
    """Unfused blocks of both baseline networks, pairs, a fused block, residuals and shortcuts; fits the preset tiny."""
    return parse_spec({
        "name": "kinds", "height": height, "width": width, "channels": 3, "classes": 10, "blocks": _BLOCKS,
        "stem": {"channels": 6, "kernel": 3, "stride": stride}, "last_pointwise": {"channels": 12, "groups": 2},
        "sparsity": {"pointwise": 0.5, "depthwise": 0.3},
    })  # fmt: skip


def make_network(case: KindsCase, seed: int) -> tuple[IntegerNetwork, NDArray[np.uint8]]:
    """The network of a case, and two images (2, height, width, channels) for it, the second one of extreme pixels alone."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (2, case.height, case.width, 3)).astype(np.uint8)
    images[1] = np.where(images[1] < 128, 0, 255)
    survivors = Survivors(case.survivors, case.survivors)
    return random_network(kinds_spec(case.height, case.width, case.stride), seed, survivors, images).network, images
