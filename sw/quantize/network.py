"""Trained weights to the integer network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.contract.errors import ArchonError
from sw.bundle.network import IntegerNetwork
from sw.datasets import normalise
from sw.quantize import calibration
from sw.quantize.assembly import Front, Head, integer_network
from sw.quantize.blocks import BlockQuantizer, BlockReport, Tensor
from sw.quantize.calibration import Activations
from sw.quantize.dense import image_levels, quantize_dense
from sw.quantize.precision import Precision
from sw.quantize.scales import Scales
from sw.quantize.weights import Arrays, find, folded, scale_of
from sw.spec import NetworkSpec

__all__ = ["HAS_SCALES", "BlockReport", "Quantized", "quantize_front", "quantize_network"]


HAS_SCALES = "pool.output_scale"
"""This scale is among weights that come with all of them."""


@dataclass(frozen=True)
class Quantized:
    """The integer network, what was done to its blocks, and the scales that were chosen, by their names among the weights."""

    network: IntegerNetwork
    blocks: tuple[BlockReport, ...]
    scales: dict[str, float]


def quantize_network(
    arrays: Arrays, spec: NetworkSpec, images: NDArray[np.uint8], precision: Precision | None = None
) -> Quantized:
    """Quantise the weights of stage pred or quantized.

    Args:
        arrays: weights as sw.train exports them.
        spec: the network.
        images: (N, height, width, 3) uint8, to find the scales that do not come with the weights; a hundred are enough.
        precision: of the integers; the hardware's when left out.

    Raises:
        ArchonError: arrays that are missing or do not fit, or weights that no scale brings within the widths.
    """
    last = "pool" if spec.last_pointwise is None else "last_pointwise"
    names = [*(f"blocks.{index}" for index in range(len(spec.blocks))), last]
    inputs = [scale_of(arrays, f"{name}.input_scale") for name in names]
    scales = Scales(arrays)
    front = quantize_front(arrays, spec, images, scales)
    x, blocks, reports = front.output, [], []
    for index, block_spec in enumerate(spec.blocks):
        name, (input_scale, output_scale) = f"block {index + 1}", inputs[index : index + 2]
        if block_spec.residual and not np.isclose(input_scale, output_scale, rtol=1e-5):
            raise ArchonError(f"{name}: a residual needs one scale before and after, got {input_scale}, {output_scale}")
        quantizer = BlockQuantizer(arrays, index, Tensor(x, input_scale), output_scale, scales, precision or Precision())
        try:
            block, x, report = quantizer.quantized(block_spec)
        except ArchonError as error:
            raise ArchonError(f"{name}: {error}") from error
        blocks.append(block)
        if report is not None:
            reports.append(report)
    head = _quantize_head(arrays, spec, x, inputs[-1], scales)
    return Quantized(integer_network(spec, front, tuple(blocks), head), tuple(reports), scales.used)


def quantize_front(arrays: Arrays, spec: NetworkSpec, images: NDArray[np.uint8], scales: Scales | None = None) -> Front:
    """Quantise stem, first pointwise and first depthwise layer, as far as there are any."""
    scales = scales or Scales(arrays)
    levels, image_scale = image_levels()
    x, stem, input_scale = (
        calibration.rounded(normalise(images), image_scale),
        spec.stem,
        scale_of(arrays, "blocks.0.input_scale"),
    )
    weight, bias = folded(arrays, "stem", (stem.channels, spec.channels, stem.kernel, stem.kernel))
    x = np.maximum(calibration.convolve(x, weight, stem.stride) + bias.astype(np.float32), 0)
    stem_scale = input_scale if spec.first_pointwise is None else scales("stem.output_scale", x)
    quantized_stem = quantize_dense("stem", weight, bias, image_scale, stem_scale)
    x = calibration.rounded(x, stem_scale)
    if spec.first_pointwise is None:
        return Front(levels, quantized_stem, None, None, x, stem_scale)

    first, depthwise = spec.front
    weight, bias = folded(arrays, "first_pointwise", (first.channels, stem.channels // first.groups))
    x = np.maximum(calibration.pointwise(x, weight) + bias.astype(np.float32), 0)
    first_scale = scales("first_pointwise.output_scale", x)
    quantized_first = quantize_dense("first_pointwise", weight, bias, stem_scale, first_scale)
    x = calibration.rounded(x, first_scale)
    if first.shuffle:
        x = calibration.shuffle(x, first.groups)

    kernel = depthwise.kernel
    weight, bias = folded(arrays, "first_depthwise", (first.channels, kernel, kernel))
    x = calibration.depthwise(x, weight, 1) + bias.astype(np.float32)
    quantized_depthwise = quantize_dense("first_depthwise", weight, bias, first_scale, input_scale)
    x = calibration.rounded(x, input_scale)
    return Front(levels, quantized_stem, quantized_first, quantized_depthwise, x, input_scale)


def _quantize_head(arrays: Arrays, spec: NetworkSpec, x: Activations, input_scale: float, scales: Scales) -> Head:
    last, weight, bias = spec.last_pointwise, None, None
    if last is not None:
        weight, bias = folded(arrays, "last_pointwise", (last.channels, spec.blocks[-1].out_channels // last.groups))
    dense_weight = find(arrays, "dense.weight", (spec.classes, spec.pooled_channels))
    return Head(spec, x, input_scale, weight, bias, dense_weight, find(arrays, "dense.bias", (spec.classes,)), scales)
