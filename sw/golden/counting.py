"""What counts as a multiplication, an addition and a step; the RTL's report counters must equal these numbers exactly.

Of one block and one image, over all output pixels p, with m1_d the first mask under tap d (0 outside the image):

- A pair (e, c) exists where W1[e,c] != 0 and the column W2[:,e] is not all zero. It works at pixel p when e survives
  there (m2[e,p] = 1), and then adds every term, a signed power of two, of W2[:,e] (`numerics.signed_powers`).
- steps: of all working pairs that add something, one for every one or two terms of a weight of W2
  (`numerics.accumulation_steps`). A pair adds something where a tap d with m1_d = 1 has D[e,d] != 0, or where it owns biases
  (below). A step updates all taps at once, in one cycle of an adder row of a lane.
- additions: for every term, the taps d with m1_d = 1 and D[e,d] * W1[e,c] != 0, each one added to an entry of A; and one more,
  added to the bias accumulator, for every term of the one pair of e that owns e's biases. An e has an owner when it has a
  pair and b2[e] or any D[e,d] * b1[e] is not zero.
- multiplications: touched entries (p, k, c, d) of A. An entry is touched when at least one surviving e with m1_d = 1 has
  W2[k,e] * D[e,d] * W1[e,c] != 0; terms that cancel to zero touch it all the same. It is multiplied by one activation.

A layer that is not fused multiplies, at every output pixel, its weights that are not zero and whose taps lie inside the
image. The stem's windows are a tensor of their own, whose zeros outside the image count as inside; the pool has a weight of 1
for every pixel, an average pool for every tap, a ReLU of its own and a layer that multiplies by gates for every activation.
Steps and additions of such a layer load its weights, and depend on how it is cut into jobs (sw.program).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.contract import numerics
from hw.contract.taps import SMALL_KERNEL
from sw.bundle.network import DenseLayer, FusedBlock, IntegerNetwork, Part
from sw.spec import LayerShape

Integers = NDArray[np.int64]

ANY_SHIFT = 64


@dataclass(frozen=True)
class BlockCounts:
    """Of one block and one image, as defined above."""

    multiplications: int
    additions: int
    steps: int

    def __add__(self, other: BlockCounts) -> BlockCounts:
        return BlockCounts(
            self.multiplications + other.multiplications, self.additions + other.additions, self.steps + other.steps
        )


@dataclass(frozen=True)
class ChannelWork:
    """Per expanded channel (E,), what one surviving pixel of it costs."""

    steps: Integers
    """Steps of each of its pairs."""
    pairs: Integers
    """How many there are."""
    owned: NDArray[np.bool_]
    """Whether one of them owns biases."""
    terms: Integers
    """Terms of all its pairs."""
    bias_additions: Integers
    """Terms added to the bias accumulator."""


def channel_work(block: FusedBlock) -> ChannelWork:
    """Work of every expanded channel at a pixel where it survives."""
    expanded, width = len(block.expand_weight), block.project_weight.shape[1]
    groups = expanded // width
    values, index = np.unique(block.project_weight, return_inverse=True)
    steps_of = [numerics.accumulation_steps(int(value), ANY_SHIFT) for value in values]
    lengths = np.array([(len(steps), sum(map(len, steps))) for steps in steps_of], dtype=np.int64)
    steps, terms = lengths[index.reshape(-1)].T.reshape(2, groups, -1, width).sum(axis=2).reshape(2, -1)
    # A column that is all zero has no terms, so its pairs, which do not exist, count for nothing below.
    pairs = np.count_nonzero(block.expand_weight, axis=1)
    bias_products = block.depthwise_weight.reshape(expanded, -1).astype(np.int64) * block.expand_bias[:, None]
    owned = (pairs > 0) & (bias_products.any(axis=1) | (block.depthwise_bias != 0))
    return ChannelWork(steps, pairs, owned, terms * pairs, terms * owned)


def count_block(block: FusedBlock, survives: NDArray[np.bool_], masked_taps: NDArray[np.integer], touched: int) -> BlockCounts:
    """The counts of one image.

    Args:
        block: integer weights.
        survives: m2 (E, pixels).
        masked_taps: (E, pixels), the taps with m1_d = 1 and D[e,d] != 0.
        touched: touched entries of A over all pixels.
    """
    work = channel_work(block)
    pixels = np.count_nonzero(survives, axis=1)
    taps = (masked_taps * survives).sum(axis=1, dtype=np.int64)
    additions = work.terms @ taps + work.bias_additions @ pixels
    touching = np.count_nonzero(survives & (masked_taps != 0), axis=1)
    steps = work.steps @ (touching * work.pairs + (pixels - touching) * work.owned)
    return BlockCounts(touched, int(additions), int(steps))


def fixed_multiplications(network: IntegerNetwork) -> dict[str, int]:
    """By name of the layers that are not fused (NetworkSpec.layers), the multiplications of one image."""
    parts = network.parts()
    return {
        layer.name: _multiplications(layer, parts.get(layer.name))
        for layer in network.spec.layers
        if layer.kind not in {"fused block", "fused pointwise pair"}
    }


def _multiplications(layer: LayerShape, part: Part | None) -> int:
    pixels, channels = layer.output.pixels, layer.output.channels
    if isinstance(part, DenseLayer) and layer.kind != "depthwise":
        return int(np.count_nonzero(part.weight)) * pixels
    if layer.kind == "pool":
        return channels * layer.source.pixels
    if layer.kind in {"relu", "scale"}:
        return channels * pixels
    if layer.kind == "average pool":
        weights = np.full((SMALL_KERNEL, SMALL_KERNEL), channels)
    elif isinstance(part, DenseLayer):
        weights = np.count_nonzero(part.weight, axis=0)
    else:
        return 0
    rows, columns = (_inside(size, layer.stride, layer.kernel) for size in (layer.source.height, layer.source.width))
    return int(rows @ weights @ columns)


def _inside(size: int, stride: int, kernel: int) -> Integers:
    """(kernel,): at how many output rows (or columns) a kernel row lies inside the image."""
    places = np.arange(0, size, stride)[None, :] + np.arange(kernel)[:, None] - kernel // 2
    return np.count_nonzero((places >= 0) & (places < size), axis=1)
