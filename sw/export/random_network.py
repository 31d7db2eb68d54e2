"""Networks with random weights at the specified sparsities, and predictors set for given survivor shares.

They exercise the hardware like trained ones: weights are seeded, activations use the int8 range, and each layer's
thresholds are chosen on calibration images so that the asked share of its ReLUs survives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.contract.errors import ArchonError
from sw.bundle.network import AnyBlock, ExcitedBlock, FusedBlock
from sw.datasets import normalise
from sw.export.random_blocks import Maker, Traced
from sw.export.random_draw import (
    BIAS_DEVIATION,
    LEVELS_A_DEVIATION,
    RESIDUAL_SHARE,
    SMALLEST_DEVIATION,
    normalised,
    ordered_sums,
    share_thresholds,
    sparse,
    sparse_expand,
)
from sw.export.random_excitation import random_gates
from sw.quantize import ValuePath, calibration, quantize_value_path
from sw.quantize.assembly import Front, Head, fused_block, integer_network
from sw.quantize.calibration import Activations, Masks
from sw.quantize.dense import activation_scale, image_levels, quantize_dense
from sw.quantize.network import BlockReport, Quantized
from sw.quantize.predictor import QuantizedPredictor, level_shifts
from sw.spec import AnyBlockSpec, BlockSpec, NetworkSpec, SparsitySpec, UnfusedSpec

LEVEL_SHARE = 0.995
"""Share of excesses that the predictor's 15 levels reach."""

LEVEL_SHIFT_MAX = 3

DENSE = SparsitySpec(pointwise=0.0, depthwise=0.0)


@dataclass(frozen=True)
class Survivors:
    """Asked shares of ReLUs that survive, over all expanded channels and pixels."""

    first: float
    second: float

    def __post_init__(self) -> None:
        for name, share in (("first", self.first), ("second", self.second)):
            if not 0 <= share <= 1:
                raise ArchonError(f"survivors-{name} must be a share from 0 to 1, got {share}")


def random_network(spec: NetworkSpec, seed: int, survivors: Survivors, images: NDArray[np.uint8]) -> Quantized:
    """A seeded random network.

    Args:
        spec: shapes and sparsities.
        seed: of every random number.
        survivors: asked shares for every block.
        images: (N, height, width, 3) uint8 to calibrate on; a few are enough.

    Raises:
        ArchonError: the hardware's widths cannot hold the network.
    """
    random = np.random.default_rng(seed)
    front = _front(spec, random, images)
    x, scale = front.output, front.output_scale
    blocks: list[AnyBlock] = []
    reports: list[BlockReport] = []
    for index, block_spec in enumerate(spec.blocks, start=1):
        name = f"block {index}"
        try:
            block, x, scale, report = _any_block(name, block_spec, spec, random, survivors, x, scale)
        except ArchonError as error:
            raise ArchonError(f"{name}: {error}") from error
        blocks.append(block)
        if report is not None:
            reports.append(report)
    head = _head(spec, random, x, scale)
    return Quantized(integer_network(spec, front, tuple(blocks), head), tuple(reports), {})


def _any_block(
    name: str,
    spec: AnyBlockSpec,
    network: NetworkSpec,
    random: np.random.Generator,
    survivors: Survivors,
    x: Activations,
    scale: float,
) -> tuple[AnyBlock, Activations, float, BlockReport | None]:
    """A random block, its output on the calibration images, that output's scale, and its report if it predicts anything."""
    if isinstance(spec, BlockSpec) and spec.squeezed_channels is None:
        return _block(name, spec, network, random, survivors, x, scale)
    if isinstance(spec, BlockSpec):
        return _excited_block(name, spec, network, random, survivors, x, scale)
    source = Traced(x, scale)
    if isinstance(spec, UnfusedSpec):
        unfused, out = Maker(name, random, DENSE if spec.stays_dense else network.sparsity, source).unfused(spec)
        return unfused, out.x, out.scale, None
    pair, out, report = Maker(name, random, network.sparsity, source).pair(spec, survivors.first)
    return pair, out.x, out.scale, report


def _front(spec: NetworkSpec, random: np.random.Generator, images: NDArray[np.uint8]) -> Front:
    levels, image_scale = image_levels()
    x, stem = calibration.rounded(normalise(images), image_scale), spec.stem
    weight = sparse(random, (stem.channels, spec.channels, stem.kernel, stem.kernel), 0.0)
    weight, bias, x = normalised(random, weight, calibration.convolve(x, weight, stem.stride))
    x = np.maximum(x, 0)
    scale = activation_scale(x)
    quantized_stem = quantize_dense("stem", weight, bias, image_scale, scale)
    x = calibration.rounded(x, scale)
    if spec.first_pointwise is None:
        return Front(levels, quantized_stem, None, None, x, scale)

    first, depthwise = spec.front
    weight = sparse(random, (first.channels, stem.channels // first.groups), 0.0)
    weight, bias, x = normalised(random, weight, calibration.pointwise(x, weight))
    x = np.maximum(x, 0)
    first_scale = activation_scale(x)
    quantized_first = quantize_dense("first_pointwise", weight, bias, scale, first_scale)
    x = calibration.rounded(x, first_scale)
    if first.shuffle:
        x = calibration.shuffle(x, first.groups)

    weight = sparse(random, (first.channels, depthwise.kernel, depthwise.kernel), 0.0)
    weight, bias, x = normalised(random, weight, calibration.depthwise(x, weight, 1))
    scale = 1 / LEVELS_A_DEVIATION
    quantized_depthwise = quantize_dense("first_depthwise", weight, bias, first_scale, scale)
    return Front(levels, quantized_stem, quantized_first, quantized_depthwise, calibration.rounded(x, scale), scale)


def _head(spec: NetworkSpec, random: np.random.Generator, x: Activations, scale: float) -> Head:
    """Layers behind the blocks; logits of the calibration images are centred, so that no class wins them all."""
    last, weight, bias, outputs = spec.last_pointwise, None, None, x
    if last is not None:
        weight = sparse(random, (last.channels, spec.blocks[-1].out_channels // last.groups), spec.sparsity.pointwise)
        weight, bias, outputs = normalised(random, weight, calibration.pointwise(x, weight))
        outputs = np.maximum(outputs, 0)
    pooled = outputs.mean(axis=(0, 1, 2)).astype(np.float64)
    dense_weight = random.normal(size=(spec.classes, spec.pooled_channels))
    return Head(spec, x, scale, weight, bias, dense_weight, -dense_weight @ pooled)


def _block(
    name: str,
    spec: BlockSpec,
    network: NetworkSpec,
    random: np.random.Generator,
    survivors: Survivors,
    x: Activations,
    input_scale: float,
) -> tuple[FusedBlock, Activations, float, BlockReport]:
    """A random block, its output on the calibration images, that output's scale, and its report."""
    expanded, groups, sparsity = spec.expanded_channels, spec.groups, network.sparsity
    path = ValuePath(
        expand_weight=sparse_expand(random, spec, sparsity),
        expand_bias=random.normal(size=expanded) * BIAS_DEVIATION,
        depthwise_weight=sparse(random, (expanded, spec.kernel, spec.kernel), sparsity.depthwise),
        depthwise_bias=random.normal(size=expanded) * BIAS_DEVIATION,
        project_weight=sparse(random, (spec.out_channels, expanded // groups), sparsity.pointwise),
        project_bias=np.zeros(spec.out_channels),
    )
    predictor, masks = _predictor(path, spec, survivors, x, input_scale)
    trace = calibration.run_gated(x, path, masks, spec)
    # One factor for all channels keeps their differences, as training would; it brings the output to the wanted range.
    deviation = max(float(trace.projected.std()), SMALLEST_DEVIATION)
    wanted = float(x.std()) * RESIDUAL_SHARE if spec.residual else 1.0
    factor = wanted / deviation
    path.project_weight[:] *= factor
    path.project_bias[:] = random.normal(size=spec.out_channels) * BIAS_DEVIATION * wanted
    output_scale = input_scale if spec.residual else 1 / LEVELS_A_DEVIATION
    quantized = quantize_value_path(path, input_scale)
    projected = trace.projected * factor + path.project_bias.astype(np.float32)
    x = calibration.block_output(projected, x, spec, output_scale)
    report = BlockReport(name, 0, 0, trace.survivors_first, trace.survivors_second)
    return fused_block(name, quantized, predictor, output_scale), x, output_scale, report


def _excited_block(
    name: str,
    spec: BlockSpec,
    network: NetworkSpec,
    random: np.random.Generator,
    survivors: Survivors,
    x: Activations,
    input_scale: float,
) -> tuple[ExcitedBlock, Activations, float, BlockReport]:
    """As _block, with gates behind the projection."""
    fused, y, scale, report = _block(f"{name} fused", spec.fused_part, network, random, survivors, x, input_scale)
    gates = random_gates(name, random, spec.squeezed_channels or 0, y, scale)
    output_scale = input_scale if spec.residual else scale
    out = calibration.rounded(gates.times(y), output_scale)
    if spec.residual:
        out = calibration.rounded(out + x, output_scale)
    return ExcitedBlock(fused, gates.excitation(name, scale, output_scale)), out, output_scale, report


def _predictor(
    path: ValuePath, spec: BlockSpec, survivors: Survivors, x: Activations, input_scale: float
) -> tuple[QuantizedPredictor, Masks]:
    """Signs of the value path's weights, with thresholds for the asked shares, and the masks that they give."""
    expand = np.sign(path.expand_weight).astype(np.int64)
    depthwise = np.sign(path.depthwise_weight).astype(np.int64)
    sums = calibration.pointwise(calibration.predictor_inputs(x, input_scale), expand)
    ordered = ordered_sums(sums)
    first = share_thresholds(ordered, survivors.first)
    rank = min(len(ordered[0]) - 1, int(LEVEL_SHARE * len(ordered[0])))
    shifts = level_shifts(ordered[:, rank] - first, LEVEL_SHIFT_MAX)
    levels = calibration.levels_of(sums, first, shifts)
    filtered = calibration.depthwise(levels, depthwise, spec.stride)
    second = share_thresholds(ordered_sums(filtered), survivors.second)
    return QuantizedPredictor(expand, first, shifts, depthwise, second), Masks(levels, filtered > second)
