"""What a seed stands for: a network, the hardware that runs it, and how memory behaves."""

import random
from dataclasses import dataclass
from typing import get_args

from hw.contract.config import ArchonConfig
from sim.options import Bus
from tb.block_cases import VARIANTS
from tb.random_networks import RandomNetwork, draw_network

FAST_SHARE = 0.3
"""Of networks whose memory never lets them wait long."""

FAST_LATENCIES = (0, 1, 5, 20)
SLOW_LATENCIES = (100, 300)
"""Of memory, in cycles."""

PAUSES = (0, 20, 200)
"""As in sim.accelerator.Settings: of 256 cycles, how many memory waits."""

MOST_PIXELS = 500
"""Of an image: a network takes some seconds."""


@dataclass(frozen=True)
class Circumstances:
    """What a network is run on.

    Args:
        variant: Of tb.block_cases.VARIANTS: so few configurations that models are built once.
        bus: As in sim.options.Options.
        latency: As in sim.accelerator.Settings.
        pause: As there.
        idle: As there.
    """

    variant: str
    bus: Bus
    latency: int
    pause: int
    idle: int

    @property
    def config(self) -> ArchonConfig:
        """The variant's."""
        return VARIANTS[self.variant]


def draw_circumstances(seed: int) -> Circumstances:
    """Those of a seed."""
    rng = random.Random(f"circumstances {seed}")
    variant, bus = rng.choice(list(VARIANTS)), rng.choice(get_args(Bus))
    if rng.random() < FAST_SHARE:
        return Circumstances(variant, bus, rng.choice(FAST_LATENCIES), 0, 0)
    return Circumstances(variant, bus, rng.choice(FAST_LATENCIES + SLOW_LATENCIES), rng.choice(PAUSES), rng.choice(PAUSES))


def draw(seed: int) -> tuple[Circumstances, RandomNetwork]:
    """Everything that a seed decides.

    Raises:
        ArchonError: no network of the seed fits.
    """
    circumstances = draw_circumstances(seed)
    return circumstances, draw_network(circumstances.config, seed, most_pixels=MOST_PIXELS)


def describe(circumstances: Circumstances, drawn: RandomNetwork) -> str:
    """One line about what is run."""
    spec = drawn.network.spec
    memory = f"latency {circumstances.latency}, pause {circumstances.pause}, idle {circumstances.idle}"
    blocks = ", ".join(f"{block.kind} {block.in_channels}-{block.out_channels}" for block in spec.blocks)
    image = f"{spec.height}x{spec.width}x{spec.channels}"
    return f"{circumstances.variant}, {circumstances.bus}, {memory}; image {image}, stride {spec.stem.stride}; {blocks}"
