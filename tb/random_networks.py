"""Random networks: blocks of every kind, strides, sizes, groups, sparsities and shares of survivors, from one seed."""

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.contract.config import ArchonConfig
from hw.contract.errors import ArchonError
from hw.contract.memory import IMAGE_CHANNELS
from hw.contract.taps import KERNELS
from sw.bundle.network import IntegerNetwork
from sw.export.random_network import Survivors, random_network
from sw.program import MemoryImage, network_image
from sw.spec import NetworkSpec, parse_spec
from sw.spec.blocks import FUSED, KINDS, UNFUSED

ATTEMPTS = 100
"""Networks that are drawn of a seed until one fits."""

GROUPS = (1, 1, 1, 2, 3, 4)
GATED_SHARE = 0.3
"""Of blocks that may have squeeze-and-excite."""
SHARES = (0.0, 0.2, 0.4, 0.6, 1.0)
"""Of survivors; 0 and 1 hold for every input."""

Values = dict[str, Any]
"""Of a section of a network's description."""


@dataclass(frozen=True)
class RandomNetwork:
    """A network that fits a configuration.

    Args:
        network: In integers.
        image: Its programs and tables.
        pixels: Two raw images (2, height, width, channels), the second one of extreme pixels alone.
        refused: Why networks that were drawn before it were refused, a sentence each.
    """

    network: IntegerNetwork
    image: MemoryImage
    pixels: NDArray[np.uint8]
    refused: tuple[str, ...] = ()


def draw_network(config: ArchonConfig, seed: int, *, most_pixels: int = 400, kinds: Sequence[str] = KINDS) -> RandomNetwork:
    """The first network of a seed that fits.

    Args:
        config: Of the hardware.
        seed: Of every choice.
        most_pixels: Of an image.
        kinds: Of blocks.

    Raises:
        ArchonError: none of ATTEMPTS networks fits.
    """
    refused: list[str] = []
    for attempt in range(ATTEMPTS):
        rng = random.Random(f"{seed} {attempt}")
        survivors = Survivors(rng.choice(SHARES), rng.choice(SHARES))
        kernels = [kernel for kernel in KERNELS if kernel <= config.kernel]
        spec = random_spec(rng, f"seed-{seed}", most_pixels, kinds, kernels)
        pixels = random_pixels(spec, rng)
        try:
            network = random_network(spec, rng.getrandbits(32), survivors, pixels).network
            return RandomNetwork(network, network_image(network, config), pixels, tuple(refused))
        except ArchonError as error:
            refused.append(str(error))
    raise ArchonError(f"seed {seed}: a network that fits is expected among {ATTEMPTS}, the last one was refused: {refused[-1]}")


def random_spec(
    rng: random.Random, name: str, most_pixels: int, kinds: Sequence[str] = KINDS, kernels: Sequence[int] = KERNELS
) -> NetworkSpec:
    """A description of some blocks between layers of every other kind."""
    width = min(rng.choice([1, rng.randint(2, 40), rng.randint(2, 16)]), most_pixels)
    height = rng.choice([1, rng.randint(2, 20), rng.randint(2, 16)])
    front, count = rng.random() < 0.5, rng.randint(1, 4)
    # groups[0] and groups[-1] are those of the layers around the blocks.
    groups = [rng.choice(GROUPS) for _ in range(count + 2)]
    most = rng.choice([8, 14, 24])
    channels = _multiple(rng, most, groups[0] if front else 1, groups[1])
    values: Values = {
        "name": name, "height": max(1, min(height, most_pixels // width)), "width": width,
        "channels": rng.randint(1, IMAGE_CHANNELS), "classes": rng.randint(1, 12),
        "stem": {"channels": channels, "kernel": 3, "stride": rng.choice([1, 2])},
        "sparsity": {"pointwise": rng.choice([0.0, 0.3, 0.6, 0.8, 0.95]), "depthwise": rng.choice([0.0, 0.3, 0.7])},
        "blocks": [],
    }  # fmt: skip
    if front:
        values["stem"]["channels"] = _multiple(rng, most, groups[0])
        values["first_pointwise"] = {"channels": channels, "groups": groups[0], "shuffle": _coin(rng)}
        values["first_depthwise"] = {"kernel": rng.choice(kernels)}
    for own, after in itertools.pairwise(groups[1:]):
        block = random_block_values(rng, rng.choice(kinds), channels, own, after, kernels)
        values["blocks"].append(block)
        channels = block["out_channels"]
    values["last_pointwise"] = {"channels": _multiple(rng, 24, groups[-1]), "groups": groups[-1]}
    return parse_spec(values)


def random_block_values(
    rng: random.Random, kind: str, channels: int, groups: int, after: int, kernels: Sequence[int] = KERNELS
) -> Values:
    """A block of a kind for so many input channels, whose outputs `after` groups can share."""
    stride = rng.choice([1, 1, 2])
    outputs = _multiple(rng, 16, groups, after)
    block: Values = {
        "kind": kind, "in_channels": channels, "expanded_channels": _multiple(rng, 48, groups), "out_channels": outputs,
        "kernel": rng.choice(kernels), "stride": stride, "groups": groups, "residual": False,
    }  # fmt: skip
    if stride == 1 and channels % after == 0 and _coin(rng):
        block |= {"residual": True, "out_channels": channels}
    elif kind != FUSED and outputs > channels and _coin(rng):
        block["average_pool_shortcut"] = True
    if kind in (FUSED, UNFUSED):
        block["shuffle"] = _coin(rng)
        if rng.random() < GATED_SHARE:
            block |= {"squeeze_and_excite": True, "squeezed_channels": rng.randint(1, 8)}
    if kind == UNFUSED:
        block |= {"depthwise_relu": _coin(rng), "output_relu": _coin(rng)}
        if rng.random() < 0.2:
            return block | {"expand": False, "expanded_channels": channels}
    if kind != FUSED:
        block["inner_shuffle"] = _coin(rng)
    return block


def random_pixels(spec: NetworkSpec, rng: random.Random) -> NDArray[np.uint8]:
    """Two images (2, height, width, channels), the second one of extreme pixels alone."""
    shape = (2, spec.height, spec.width, spec.channels)
    pixels = np.random.default_rng(rng.getrandbits(32)).integers(0, 256, shape).astype(np.uint8)
    pixels[1] = np.where(pixels[1] < 128, 0, 255)
    return pixels


def _multiple(rng: random.Random, most: int, *factors: int) -> int:
    """A multiple of all factors, `most` at most or else the least there is."""
    least = math.lcm(*factors)
    return least * rng.randint(1, max(1, most // least))


def _coin(rng: random.Random) -> bool:
    return rng.random() < 0.5
