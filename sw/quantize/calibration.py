"""Float execution on a few images, to find the scales of activations; no result of the integer network comes from here.

Activations are (images, height, width, channels) float32 in real values. Weights as in sw.quantize.value_path.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.contract import numerics
from sw.quantize.precision import Precision
from sw.quantize.predictor import QuantizedPredictor
from sw.quantize.value_path import Integers, ValuePath
from sw.spec import BlockSpec

Activations = NDArray[np.float32]


def taps(x: Activations, stride: int, kernel: int) -> list[Activations]:
    """The views in[stride * p + d] of all taps d, row by row from above left, with zeros around the image."""
    reach = kernel // 2
    padded = np.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    height, width = x.shape[1:3]
    return [
        padded[:, row : row + height : stride, column : column + width : stride]
        for row in range(kernel)
        for column in range(kernel)
    ]


def convolve(x: Activations, weight: NDArray[np.floating], stride: int) -> Activations:
    """Ordinary convolution; weight (K, C, k, k)."""
    window = np.concatenate(taps(x, stride, weight.shape[-1]), axis=-1)
    matrix = weight.transpose(2, 3, 1, 0).reshape(-1, len(weight)).astype(np.float32)
    return window @ matrix


def pointwise(x: Activations, weight: NDArray[np.generic]) -> Activations:
    """Grouped 1x1 convolution; weight (K, C/G)."""
    groups = x.shape[-1] // weight.shape[1]
    split = x.reshape(-1, groups, weight.shape[1]).transpose(1, 0, 2)
    parts = split @ weight.reshape(groups, -1, weight.shape[1]).astype(np.float32).transpose(0, 2, 1)
    return parts.transpose(1, 0, 2).reshape(*x.shape[:-1], len(weight))


def depthwise(x: Activations, weight: NDArray[np.generic], stride: int) -> Activations:
    """Depthwise convolution; weight (C, k, k)."""
    columns = weight.reshape(len(weight), -1).astype(np.float32).T
    views = taps(x, stride, weight.shape[-1])
    total = views[0] * columns[0]
    for view, column in zip(views[1:], columns[1:], strict=True):
        total += view * column
    return total


def shuffle(x: Activations, groups: int) -> Activations:
    """Output channel k * groups + g is channel k of group g."""
    split = x.reshape(*x.shape[:-1], groups, -1)
    return np.ascontiguousarray(np.swapaxes(split, -1, -2)).reshape(x.shape)


def rounded(x: Activations, scale: float) -> Activations:
    """Activations as int8 levels of `scale` hold them."""
    levels = numerics.saturate(np.rint(x / scale), numerics.ACTIVATION_BITS)
    return (levels * scale).astype(np.float32)


def predictor_inputs(x: Activations, scale: float, precision: Precision | None = None) -> Activations:
    """Inputs of the predictor, of 4 bits unless said otherwise, as float32 integers."""
    levels = numerics.saturate(np.rint(x / scale), numerics.ACTIVATION_BITS)
    return numerics.predictor_input(levels, (precision or Precision()).predictor_input).astype(np.float32)


@dataclass(frozen=True)
class Masks:
    """What the predictor decides."""

    levels: Activations
    """r1 (images, height, width, E): non-zero where the first ReLU survives."""
    survives: NDArray[np.bool_]
    """m2, at the block's output pixels."""


@dataclass(frozen=True)
class BlockTrace:
    """One block's run: its output before requantisation, unshuffled, and the shares of ReLUs that survived."""

    projected: Activations
    survivors_first: float
    survivors_second: float


def run_block(
    x: Activations,
    path: ValuePath,
    predictor: QuantizedPredictor,
    spec: BlockSpec,
    input_scale: float,
    precision: Precision | None = None,
) -> BlockTrace:
    """The value path gated by the integer predictor's masks, image by image to save memory."""
    traces = [
        run_gated(image[None], path, run_predictor(image[None], predictor, spec, input_scale, precision), spec) for image in x
    ]
    return BlockTrace(
        projected=np.concatenate([trace.projected for trace in traces]),
        survivors_first=float(np.mean([trace.survivors_first for trace in traces])),
        survivors_second=float(np.mean([trace.survivors_second for trace in traces])),
    )


def run_predictor(
    x: Activations, predictor: QuantizedPredictor, spec: BlockSpec, input_scale: float, precision: Precision | None = None
) -> Masks:
    """Both masks, from real activations."""
    sums = pointwise(predictor_inputs(x, input_scale, precision), predictor.expand_weight)
    levels = levels_of(sums, predictor.expand_threshold, predictor.level_shift)
    survives = depthwise(levels, predictor.depthwise_weight, spec.stride) > predictor.depthwise_threshold
    return Masks(levels, survives)


def levels_of(sums: Activations, threshold: Integers, shift: Integers) -> Activations:
    """`numerics.predictor_level` of sums - threshold; float32 holds these integers exactly, and is several times faster."""
    excess = (sums - threshold.astype(np.float32)) * np.exp2(-shift).astype(np.float32)
    return np.clip(np.ceil(excess), 0, numerics.LEVEL_MAX)


def run_gated(x: Activations, path: ValuePath, masks: Masks, spec: BlockSpec) -> BlockTrace:
    """The value path with given masks."""
    biases = [bias.astype(np.float32) for bias in (path.expand_bias, path.depthwise_bias, path.project_bias)]
    expanded = (pointwise(x, path.expand_weight) + biases[0]) * (masks.levels > 0)
    filtered = (depthwise(expanded, path.depthwise_weight, spec.stride) + biases[1]) * masks.survives
    return BlockTrace(
        projected=pointwise(filtered, path.project_weight) + biases[2],
        survivors_first=float((masks.levels > 0).mean()),
        survivors_second=float(masks.survives.mean()),
    )


def block_output(projected: Activations, x: Activations, spec: BlockSpec, output_scale: float) -> Activations:
    """Requantise, shuffle and add the residual."""
    out = rounded(projected, output_scale)
    if spec.shuffle:
        out = shuffle(out, spec.groups)
    return rounded(out + x, output_scale) if spec.residual else out
