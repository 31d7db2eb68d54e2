"""A block's value path fused (docs/numerics.md, "fused"): the matrix A of every pixel, then one multiplication an entry.

Written independently of sw.golden.layerwise, so that the two can be held against each other. One image at a time; per tap, A
of all pixels is one matrix product of masks and the constants W2 * D * W1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.contract import numerics
from sw.bundle.bounds import largest_sums
from sw.bundle.network import FusedBlock
from sw.golden.counting import BlockCounts, count_block
from sw.golden.exact import FloatType, exact_type
from sw.golden.predictor import Prediction
from sw.spec import BlockSpec

Predict = Callable[[int], Prediction]


@dataclass(frozen=True)
class _Group:
    """One group's weights as float64 or `accumulator`, symbols as in docs/numerics.md, and its part of the image."""

    window: NDArray[np.float64]
    """x[c, s * p + d]: (taps, pixels, C), taps by row and column."""
    expand: NDArray[np.floating]
    """W1 (E, C)."""
    depthwise: NDArray[np.floating]
    """D (E, taps)."""
    project: NDArray[np.floating]
    """W2 (E, K)."""
    bias_products: NDArray[np.float64]
    """D * b1 (E, taps)."""
    depthwise_bias: NDArray[np.float64]
    """b2 (E,)."""


def run_fused(
    block: FusedBlock, spec: BlockSpec, x: NDArray[np.int8], predict: Predict
) -> tuple[NDArray[np.int8], BlockCounts]:
    """Output and exact operation counts of one block for one image.

    Args:
        block: integer weights.
        spec: of the block.
        x: int8 (C, H, W).
        predict: the masks of a group, with one image.

    Returns:
        int8 (K, output height, output width), and the counts.
    """
    entries, total = largest_sums(block)
    accumulator = exact_type(int(entries.max(initial=0)))
    exact_type(int(total.max(initial=0)))  # the sums below are float64
    height, width = (-(-size // spec.stride) for size in x.shape[1:])
    out = np.zeros((spec.out_channels, height * width), dtype=np.int8)
    survives = np.zeros((spec.expanded_channels, height * width), dtype=np.bool_)
    masked_taps = np.zeros((spec.expanded_channels, height * width), dtype=np.int8)
    touched = 0
    expanded, outputs = spec.expanded_channels // spec.groups, spec.out_channels // spec.groups
    for group in range(spec.groups):
        rows = slice(group * expanded, (group + 1) * expanded)
        prediction = predict(group)
        first = _windows(prediction.levels[..., 0], spec) != 0
        survives[rows] = prediction.survives[..., 0].reshape(expanded, -1)
        kernel = block.depthwise_weight[rows].reshape(expanded, -1) != 0
        masked_taps[rows] = sum(first[d] & kernel[:, d, None] for d in range(len(first)))
        weights = _group(block, spec, group, x, accumulator)
        y, entries_touched = _fused_sums(weights, first, survives[rows])
        touched += entries_touched
        for k in range(outputs):
            source = group * outputs + k
            target = k * spec.groups + group if spec.shuffle else source
            parts = block.requantization
            sums = y[:, k].astype(np.int64) + int(parts.bias[source])
            out[target] = numerics.requantize(sums, parts.multiplier[source], parts.shift[source])
    if spec.residual:
        out = numerics.add_residual(out, x.reshape(out.shape)).astype(np.int8)
    return out.reshape(-1, height, width), count_block(block, survives, masked_taps, touched)


def _windows(framed: NDArray[np.number], spec: BlockSpec) -> NDArray[np.number]:
    """(channels, H + k - 1, W + k - 1) to (k * k, channels, output pixels), taps by row and column."""
    views = np.lib.stride_tricks.sliding_window_view(framed, (spec.kernel, spec.kernel), axis=(1, 2))
    views = views[:, :: spec.stride, :: spec.stride]
    return np.ascontiguousarray(views.transpose(3, 4, 0, 1, 2)).reshape(spec.kernel**2, len(framed), -1)


def _group(block: FusedBlock, spec: BlockSpec, group: int, x: NDArray[np.int8], accumulator: FloatType) -> _Group:
    inputs, outputs = spec.in_channels // spec.groups, spec.out_channels // spec.groups
    expanded = spec.expanded_channels // spec.groups
    rows = slice(group * expanded, (group + 1) * expanded)
    reach = spec.kernel // 2
    framed = np.pad(x[group * inputs : (group + 1) * inputs], ((0, 0), (reach, reach), (reach, reach)))
    depthwise = block.depthwise_weight[rows].reshape(expanded, -1)
    return _Group(
        window=_windows(framed, spec).transpose(0, 2, 1).astype(np.float64),
        expand=block.expand_weight[rows].astype(accumulator),
        depthwise=depthwise.astype(accumulator),
        project=block.project_weight[group * outputs : (group + 1) * outputs].T.astype(accumulator),
        bias_products=depthwise.astype(np.float64) * block.expand_bias[rows].astype(np.float64)[:, None],
        depthwise_bias=block.depthwise_bias[rows].astype(np.float64),
    )


def _fused_sums(group: _Group, first: NDArray[np.bool_], survives: NDArray[np.bool_]) -> tuple[NDArray[np.float64], int]:
    """Y without b3 (pixels, K), exact integers, and the number of touched entries of A.

    Args:
        group: weights and activations.
        first: m1 under each tap (taps, E, pixels).
        survives: m2 (E, pixels).
    """
    pixels, (inputs, outputs) = survives.shape[1], (group.expand.shape[1], group.project.shape[1])
    bias = np.zeros(survives.shape) + group.depthwise_bias[:, None]
    y = np.zeros((pixels, outputs))
    touched = 0
    for d in range(len(first)):
        used = np.flatnonzero(group.depthwise[:, d])
        active = np.ascontiguousarray((first[d, used] & survives[used]).T)
        constants = group.project[used][:, :, None] * group.depthwise[used, d][:, None, None] * group.expand[used][:, None, :]
        masks = active.astype(group.expand.dtype)
        constants = constants.reshape(len(used), outputs * inputs)
        entries = (masks @ constants).reshape(pixels, outputs, inputs)
        y += (entries.astype(np.float64) @ group.window[d][:, :, None])[:, :, 0]
        contributors = masks.astype(np.float32) @ (constants != 0).astype(np.float32)
        touched += int(np.count_nonzero(contributors))
        bias += first[d] * group.bias_products[:, d, None]
    y += (bias * survives).T @ group.project.astype(np.float64)
    return y, touched
