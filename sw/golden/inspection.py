"""What a block's predictor does to real images: where activations survive, and how much of the output its errors weigh.

Of a fused block, with z1 and z2 as in docs/numerics.md, "layer by layer", and r[k] = multiplier / 2**shift of output channel k,
so that all channels count in steps of the block's int8 output:

- c2[k,e,p] = r[k] W2[k,e] z2[e,p] is what channel e contributes to output k at pixel p where the second ReLU survives. z2 comes
  from the first activations as predicted.
- c1[k,e,d,p] = r[k] W2[k,e] m2[e,p] D[e,d] z1[e, s p + d] is what the first activation under tap d contributes where the first
  ReLU survives.

The weight of a ReLU's false positives is the sum of |c| where the mask is 1 and the pre-activation is not above zero: what is
in the output, but should not be. That of its false negatives is the sum where the mask is 0 and the pre-activation is above
zero: what is missing. Both are shares of the sum of |c| wherever the mask is 1 or the pre-activation is above zero.

In a pair of pointwise layers one ReLU is predicted, and c[k,e,p] = r[k] W2[k,e] z1[e,p].
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sw.bundle.blocks import PointwisePair, pair_as_block, pair_inputs
from sw.bundle.network import FusedBlock
from sw.golden.layerwise import expanded_channels, expanded_sums, filtered_sums, layer_types, output_channels
from sw.golden.predictor import predict_group
from sw.golden.statistics import MaskStatistics
from sw.golden.taps import depthwise_sums, padded
from sw.spec import BlockSpec, PointwisePairSpec

Activations = NDArray[np.int8]
Array = NDArray[np.number]
Floats = NDArray[np.float64]


@dataclass
class ErrorWeight:
    """Sums of |contribution| by what a ReLU's prediction was, in steps of the block's output."""

    true_positives: float = 0.0
    false_positives: float = 0.0
    """In the output, but should not be."""
    false_negatives: float = 0.0
    """Missing in the output."""

    @property
    def total(self) -> float:
        """What the shares are parts of."""
        return self.true_positives + self.false_positives + self.false_negatives

    @property
    def false_positive_share(self) -> float:
        """Of the total, what is too much; 0 where nothing contributes."""
        return self.false_positives / self.total if self.total else 0.0

    @property
    def false_negative_share(self) -> float:
        """Of the total, what is missing; 0 where nothing contributes."""
        return self.false_negatives / self.total if self.total else 0.0


@dataclass
class ReluInspection:
    """One predicted ReLU over all images."""

    statistics: MaskStatistics = field(default_factory=MaskStatistics)
    """Decisions against the signs in the block with exact ReLUs throughout: of the second ReLU, behind an exact first one."""
    weight: ErrorWeight = field(default_factory=ErrorWeight)
    """Of wrong decisions, as defined above."""
    maps: list[Floats] = field(default_factory=list)
    """Of every batch, `survivors`."""

    @property
    def survivors(self) -> Floats:
        """Share of expanded channels that survive at each pixel: (N, height, width)."""
        return np.concatenate(self.maps)


class BlockInspection:
    """The predicted ReLUs of a fused block or a pair of pointwise layers, over all images."""

    def __init__(self) -> None:
        self.first = ReluInspection()
        self.second: ReluInspection | None = None
        """None where the second ReLU is exact, as in a pair."""


def inspect_block(block: FusedBlock, spec: BlockSpec, found: BlockInspection, x: Activations) -> None:
    """Add what a fused block does on images, x int8 (C, H, W, N)."""
    first, second = found.first, found.second or ReluInspection()
    found.second = second
    dtype = layer_types(block).first
    survivors: list[tuple[Array, Array]] = []
    for group in range(spec.groups):
        prediction, reach = predict_group(block, spec, group, x), _reach(block, spec, group)
        m1, m2 = prediction.first, prediction.survives
        z1 = expanded_sums(block, spec, group, x, dtype)
        first.statistics.add(m1, z1)
        second.statistics.add(m2, filtered_sums(block, spec, group, np.maximum(z1, 0)))
        kernel = np.abs(block.depthwise_weight[expanded_channels(spec, group)])
        passed_on = (depthwise_sums(padded(part, dtype, spec.kernel), kernel, spec.stride) * m2 for part in _split(z1, m1))
        _add_weight(first.weight, reach, passed_on)
        _add_weight(second.weight, reach, _split(filtered_sums(block, spec, group, z1 * m1), m2))
        survivors.append((m1.sum(axis=0), m2.sum(axis=0)))
    for relu, counts in zip((first, second), zip(*survivors, strict=True), strict=True):
        relu.maps.append(_map(counts, spec.expanded_channels))


def inspect_pair(pair: PointwisePair, spec: PointwisePairSpec, found: BlockInspection, x: Activations) -> None:
    """Add what a pair of pointwise layers does on images, x int8 (C, H, W, N)."""
    block, shape = pair_as_block(pair, spec)
    repeated = np.tile(x, (pair_inputs(spec), 1, 1, 1))
    relu, dtype, survivors = found.first, layer_types(block).first, []
    for group in range(shape.groups):
        mask = predict_group(block, shape, group, repeated).first
        z1 = expanded_sums(block, shape, group, repeated, dtype)
        relu.statistics.add(mask, z1)
        _add_weight(relu.weight, _reach(block, shape, group), _split(z1, mask))
        survivors.append(mask.sum(axis=0))
    relu.maps.append(_map(survivors, shape.expanded_channels))


def _reach(block: FusedBlock, spec: BlockSpec, group: int) -> Floats:
    """(E/G,): the sum over outputs k of |r[k] W2[k,e]|."""
    columns = output_channels(spec, group)
    parts = block.requantization.part(columns)
    factors = np.ldexp(parts.multiplier.astype(np.float64), -parts.shift.astype(np.int32))
    return np.abs(block.project_weight[columns].astype(np.float64)).T @ factors


def _split(z: Array, mask: NDArray[np.bool_]) -> tuple[Array, Array, Array]:
    """|z| of true positives, false positives and false negatives, 0 elsewhere."""
    positive = z > 0
    return z * (mask & positive), -z * (mask & ~positive), z * (positive & ~mask)


def _add_weight(weight: ErrorWeight, reach: Floats, parts: Iterable[Array]) -> None:
    right, too_much, missing = (float(reach @ part.reshape(len(part), -1).sum(axis=1, dtype=np.float64)) for part in parts)
    weight.true_positives += right
    weight.false_positives += too_much
    weight.false_negatives += missing


def _map(survivors: Sequence[Array], channels: int) -> Floats:
    """(N, height, width): of the groups' numbers of survivors (height, width, N), the share of all channels."""
    return np.moveaxis(np.sum(survivors, axis=0) / channels, -1, 0)
