"""A fused pair of pointwise layers, with the ReLU between them predicted (docs/numerics.md, "Pairs of pointwise layers").

Layer by layer it is written out here; fused it is the block of sw.bundle.blocks.pair_as_block. Arrays have the images last:
(channels, height, width, images).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hw.contract import numerics
from sw.bundle.blocks import PointwisePair, pair_as_block, pair_inputs
from sw.golden.counting import BlockCounts
from sw.golden.exact import exact_type
from sw.golden.fused import run_fused
from sw.golden.predictor import predict_group
from sw.golden.statistics import BlockStatistics
from sw.spec import PointwisePairSpec

Activations = NDArray[np.int8]


def run_pair(pair: PointwisePair, spec: PointwisePairSpec, x: Activations) -> tuple[Activations, BlockCounts]:
    """Fused, one image: int8 (C, H, W) to int8 (K, H, W) behind the second ReLU, and the counts."""
    block, shape = pair_as_block(pair, spec)
    repeated = np.tile(x, (pair_inputs(spec), 1, 1))
    images_last = repeated[..., None]
    out, counts = run_fused(block, shape, repeated, lambda group: predict_group(block, shape, group, images_last))
    return np.maximum(out, 0), counts


def run_pair_layerwise(
    pair: PointwisePair, spec: PointwisePairSpec, x: Activations, statistics: BlockStatistics | None = None
) -> Activations:
    """Layer by layer: int8 (C, H, W, N) to int8 (K, H, W, N) behind the second ReLU."""
    groups, expanded = spec.groups, spec.expanded_channels
    x4 = numerics.predictor_input(x)
    survives = _grouped(pair.predictor_expand_weight, x4, groups) > pair.predictor_expand_threshold[:, None]
    z1 = _grouped(pair.expand_weight, x, groups) + pair.expand_bias.astype(np.int64)[:, None]
    if statistics is not None:
        statistics.add_first(survives, z1)
    a1 = z1 * survives
    if spec.inner_shuffle:
        a1 = a1.reshape(groups, expanded // groups, -1).swapaxes(0, 1).reshape(expanded, -1)
    parts = pair.requantization
    y = _grouped(pair.project_weight, a1, groups) + parts.bias.astype(np.int64)[:, None]
    if statistics is not None:
        statistics.add_second(y > 0, y)  # the second ReLU is exact
    out = numerics.requantize(y, parts.multiplier[:, None], parts.shift[:, None])
    return np.maximum(out, 0).astype(np.int8).reshape(-1, *x.shape[1:])


def _grouped(weight: NDArray[np.integer], x: NDArray[np.integer], groups: int) -> NDArray[np.int64]:
    """Sums (channels, pixels) of a grouped 1x1 convolution; weight (channels, inputs of a group)."""
    split = x.reshape(groups, weight.shape[1], -1)
    rows = weight.reshape(groups, -1, weight.shape[1])
    largest = int(np.abs(weight.astype(np.int64)).sum(axis=1).max()) * max(1, int(np.abs(split.astype(np.int64)).max()))
    dtype = exact_type(largest)
    return (rows.astype(dtype) @ split.astype(dtype)).astype(np.int64).reshape(len(weight), -1)
