"""A block's value path one layer after the other, gated by the predicted masks (docs/numerics.md, "layer by layer").

Written independently of sw.golden.fused, so that the two can be held against each other. Arrays have the images last:
(channels, height, width, images).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.contract import numerics
from sw.bundle.network import FusedBlock
from sw.golden.exact import FloatType, exact_type
from sw.golden.predictor import Prediction
from sw.golden.statistics import BlockStatistics
from sw.golden.taps import depthwise_sums, padded
from sw.spec import BlockSpec

Predict = Callable[[int], Prediction]


@dataclass(frozen=True)
class LayerTypes:
    """Float types in which the sums of a block's layers are exact."""

    first: FloatType
    """z1 and z2."""
    project: FloatType
    """y."""


def layer_types(block: FusedBlock) -> LayerTypes:
    """From the weights' magnitudes: the largest z1, z2 and y for any activations and masks."""
    expanded, width = len(block.expand_weight), block.project_weight.shape[1]
    z1 = np.abs(block.expand_weight.astype(np.int64)).sum(axis=1) << (numerics.ACTIVATION_BITS - 1)
    z1 = z1 + np.abs(block.expand_bias.astype(np.int64))
    taps = np.abs(block.depthwise_weight.astype(np.int64)).reshape(expanded, -1).sum(axis=1)
    z2 = taps * z1 + np.abs(block.depthwise_bias.astype(np.int64))
    by_group = z2.astype(np.float64).reshape(-1, width)
    project = np.abs(block.project_weight.astype(np.float64)).reshape(len(by_group), -1, width)
    largest_y = (project @ by_group[:, :, None]).max(initial=0) + np.abs(block.requantization.bias.astype(np.float64)).max()
    return LayerTypes(exact_type(max(int(z1.max()), int(z2.max()))), exact_type(float(largest_y)))


def run_layerwise(
    block: FusedBlock,
    spec: BlockSpec,
    x: NDArray[np.int8],
    predict: Predict,
    statistics: BlockStatistics | None = None,
) -> NDArray[np.int8]:
    """The block's output.

    Args:
        block: integer weights.
        spec: of the block.
        x: int8 (C, H, W, N).
        predict: the masks of a group.
        statistics: what is to be counted along the way, if anything.

    Returns:
        int8 (K, output height, output width, N).
    """
    types = layer_types(block)
    outputs = [_group_output(block, spec, group, x, predict(group), types, statistics) for group in range(spec.groups)]
    if spec.shuffle:
        # Channel k of group g becomes channel k * G + g.
        out = np.stack(outputs, axis=1).reshape(spec.out_channels, *outputs[0].shape[1:])
    else:
        out = np.concatenate(outputs)
    return numerics.add_residual(out, x).astype(np.int8) if spec.residual else out


def _group_output(
    block: FusedBlock,
    spec: BlockSpec,
    group: int,
    x: NDArray[np.int8],
    masks: Prediction,
    types: LayerTypes,
    statistics: BlockStatistics | None,
) -> NDArray[np.int8]:
    """int8 (K/G, output height, output width, N) of one group, requantised."""
    columns = output_channels(spec, group)
    z1 = expanded_sums(block, spec, group, x, types.first)
    first = masks.first
    if statistics is not None:
        statistics.add_first(first, z1)
    np.multiply(z1, first, out=z1)
    z2 = filtered_sums(block, spec, group, z1)
    if statistics is not None:
        statistics.add_second(masks.survives, z2)
    np.multiply(z2, masks.survives, out=z2)
    weight = block.project_weight[columns].astype(types.project)
    a2 = z2.astype(types.project, copy=False).reshape(len(z2), -1)
    y = (weight @ a2).astype(np.int64)
    requantization = block.requantization
    biased = y + requantization.bias[columns].astype(np.int64)[:, None]
    out = numerics.requantize(biased, requantization.multiplier[columns, None], requantization.shift[columns, None])
    return out.astype(np.int8).reshape(len(weight), *z2.shape[1:])


def expanded_sums(
    block: FusedBlock, spec: BlockSpec, group: int, x: NDArray[np.int8], dtype: FloatType
) -> NDArray[np.floating]:
    """z1 of one group, (E/G, H, W, N) of `dtype`, from the block's input (C, H, W, N)."""
    inputs, rows = spec.in_channels // spec.groups, expanded_channels(spec, group)
    x_group = x[group * inputs : (group + 1) * inputs].astype(dtype).reshape(inputs, -1)
    z1 = block.expand_weight[rows].astype(dtype) @ x_group
    z1 += block.expand_bias[rows].astype(dtype)[:, None]
    return z1.reshape(-1, *x.shape[1:])


def filtered_sums(block: FusedBlock, spec: BlockSpec, group: int, a1: NDArray[np.number]) -> NDArray[np.number]:
    """z2 of one group, (E/G, output height, output width, N), from a1 (E/G, H, W, N), of its type."""
    rows, dtype = expanded_channels(spec, group), a1.dtype.type
    z2 = depthwise_sums(padded(a1, dtype, spec.kernel), block.depthwise_weight[rows], spec.stride)
    z2 += block.depthwise_bias[rows].astype(dtype)[:, None, None, None]
    return z2


def expanded_channels(spec: BlockSpec, group: int) -> slice:
    """The expanded channels of a group."""
    width = spec.expanded_channels // spec.groups
    return slice(group * width, (group + 1) * width)


def output_channels(spec: BlockSpec, group: int) -> slice:
    """The output channels of a group, before the shuffle."""
    width = spec.out_channels // spec.groups
    return slice(group * width, (group + 1) * width)
