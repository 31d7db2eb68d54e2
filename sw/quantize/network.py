"""Trained weights to the integer network."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.contract.config import Widths
from hw.contract.errors import ArchonError
from sw.bundle.network import FusedBlock, IntegerNetwork
from sw.datasets import normalise
from sw.quantize import calibration
from sw.quantize.assembly import Front, Head, fused_block, integer_network
from sw.quantize.calibration import Activations
from sw.quantize.dense import activation_scale, image_levels, quantize_dense
from sw.quantize.predictor import constant_channels, quantize_predictor
from sw.quantize.value_path import quantize_value_path
from sw.quantize.weights import Arrays, find, folded, predictor_layers, scale_of, value_path
from sw.spec import NetworkSpec


@dataclass(frozen=True)
class BlockReport:
    """What quantisation did to one block."""

    name: str
    constant_exact: int
    """Expanded channels without expand weights, folded into b3 exactly."""
    constant_interior: int
    """Likewise, exact except where the depthwise window meets the border."""
    survivors_first: float
    survivors_second: float


@dataclass(frozen=True)
class Quantized:
    """The integer network and what was done to its blocks."""

    network: IntegerNetwork
    blocks: tuple[BlockReport, ...]


def quantize_network(arrays: Arrays, spec: NetworkSpec, images: NDArray[np.uint8], widths: Widths | None = None) -> Quantized:
    """Quantise the weights of stage pred or quantized.

    Args:
        arrays: weights as sw.train exports them.
        spec: the network.
        images: (N, height, width, 3) uint8, to find the scales that training does not store; a hundred are enough.
        widths: bit widths of the hardware; the contract's when left out.

    Raises:
        ArchonError: blocks that are not fused, arrays that are missing or do not fit, or weights that no scale brings within
            the widths.
    """
    fused_blocks = spec.fused_blocks
    front = quantize_front(arrays, spec, images)
    names = [f"blocks.{index}" for index in range(len(fused_blocks))]
    scales = [scale_of(arrays, f"{name}.input_scale") for name in [*names, "last_pointwise"]]
    x, blocks, reports = front.output, [], []
    for index, block_spec in enumerate(fused_blocks):
        name, (input_scale, output_scale) = f"block {index + 1}", scales[index : index + 2]
        if block_spec.residual and not np.isclose(input_scale, output_scale, rtol=1e-5):
            raise ArchonError(f"{name}: a residual needs one scale before and after, got {input_scale}, {output_scale}")
        try:
            block, trace, report = _quantize_block(arrays, spec, index, x, input_scale, output_scale, widths)
        except ArchonError as error:
            raise ArchonError(f"{name}: {error}") from error
        blocks.append(block)
        reports.append(report)
        x = calibration.block_output(trace, x, block_spec, output_scale)
    head = _quantize_head(arrays, spec, x, scales[-1])
    network = integer_network(spec, front, tuple(blocks), head)
    return Quantized(network, tuple(reports))


def quantize_front(arrays: Arrays, spec: NetworkSpec, images: NDArray[np.uint8]) -> Front:
    """Quantise stem, first pointwise and first depthwise layer; scales between them from the images."""
    levels, image_scale = image_levels()
    x = calibration.rounded(normalise(images), image_scale)
    (first, depthwise), stem = spec.front, spec.stem
    weight, bias = folded(arrays, "stem", (stem.channels, spec.channels, stem.kernel, stem.kernel))
    x = np.maximum(calibration.convolve(x, weight, stem.stride) + bias.astype(np.float32), 0)
    stem_scale = activation_scale(x)
    quantized_stem = quantize_dense("stem", weight, bias, image_scale, stem_scale)
    x = calibration.rounded(x, stem_scale)

    weight, bias = folded(arrays, "first_pointwise", (first.channels, stem.channels // first.groups))
    x = np.maximum(calibration.pointwise(x, weight) + bias.astype(np.float32), 0)
    first_scale = activation_scale(x)
    quantized_first = quantize_dense("first_pointwise", weight, bias, stem_scale, first_scale)
    x = calibration.rounded(x, first_scale)
    if first.shuffle:
        x = calibration.shuffle(x, first.groups)

    kernel = depthwise.kernel
    weight, bias = folded(arrays, "first_depthwise", (first.channels, kernel, kernel))
    scale = scale_of(arrays, "blocks.0.input_scale")
    x = calibration.depthwise(x, weight, 1) + bias.astype(np.float32)
    quantized_depthwise = quantize_dense("first_depthwise", weight, bias, first_scale, scale)
    return Front(levels, quantized_stem, quantized_first, quantized_depthwise, calibration.rounded(x, scale), scale)


def _quantize_block(
    arrays: Arrays,
    spec: NetworkSpec,
    index: int,
    x: Activations,
    input_scale: float,
    output_scale: float,
    widths: Widths | None,
) -> tuple[FusedBlock, Activations, BlockReport]:
    """The block, its output on the calibration images before requantisation, and its report."""
    block_spec, name = spec.fused_blocks[index], f"blocks.{index}"
    predictor = quantize_predictor(*predictor_layers(arrays, name, block_spec, input_scale), widths)
    path = value_path(arrays, name, block_spec)
    constant = constant_channels(path, predictor)
    path = dataclasses.replace(path, project_bias=path.project_bias + constant.bias)
    quantized = quantize_value_path(path, input_scale, widths)
    trace = calibration.run_block(x, quantized.floats(), predictor, block_spec, input_scale)
    report = BlockReport(f"block {index + 1}", constant.exact, constant.interior, trace.survivors_first, trace.survivors_second)
    return fused_block(f"block {index + 1}", quantized, predictor, output_scale), trace.projected, report


def _quantize_head(arrays: Arrays, spec: NetworkSpec, x: Activations, input_scale: float) -> Head:
    last = spec.head
    weight, bias = folded(arrays, "last_pointwise", (last.channels, spec.blocks[-1].out_channels // last.groups))
    dense_weight = find(arrays, "dense.weight", (spec.classes, last.channels))
    return Head(spec, x, input_scale, weight, bias, dense_weight, find(arrays, "dense.bias", (spec.classes,)))
