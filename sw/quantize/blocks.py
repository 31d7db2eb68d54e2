"""Trained blocks of every kind to integers, each run on calibration images for the scales that are not known yet."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from hw.contract.taps import SMALL_KERNEL, SMALL_TAPS
from sw.bundle.network import AnyBlock, DenseLayer, ExcitedBlock, FusedBlock, PointwisePairBlock, Requantization, UnfusedBlock
from sw.quantize import calibration
from sw.quantize.assembly import fused_block
from sw.quantize.calibration import Activations
from sw.quantize.dense import quantize_dense, requantization
from sw.quantize.excitation import ExcitationPath, Gates, quantize_gates
from sw.quantize.pair import PairPath, constant_pair_channels, integer_pair, quantize_pair_path, with_constants
from sw.quantize.precision import Precision
from sw.quantize.predictor import constant_channels, quantize_expand, quantize_predictor
from sw.quantize.scales import Scales
from sw.quantize.value_path import quantize_value_path
from sw.quantize.weights import Arrays, find, folded, predictor_expand, predictor_layers, value_path
from sw.spec import AnyBlockSpec, BlockSpec, PointwisePairSpec, UnfusedSpec


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
class Tensor:
    """Activations of the calibration images as int8 holds them, real values, and the value of one level."""

    x: Activations
    scale: float


@dataclass(frozen=True)
class BlockQuantizer:
    """Quantises one block.

    Args:
        arrays: weights as sw.train exports them.
        index: of the block in the network, from 0.
        source: what it reads.
        output_scale: value of one level of what it writes.
        scales: of the tensors within it.
        precision: of the integers; the hardware's when left out.
    """

    arrays: Arrays
    index: int
    source: Tensor
    output_scale: float
    scales: Scales
    precision: Precision

    @property
    def name(self) -> str:
        """As in reports."""
        return f"block {self.index + 1}"

    @property
    def key(self) -> str:
        """As among the arrays."""
        return f"blocks.{self.index}"

    def quantized(self, spec: AnyBlockSpec) -> tuple[AnyBlock, Activations, BlockReport | None]:
        """The block, its output on the calibration images, and its report if it predicts anything.

        Raises:
            ArchonError: arrays that are missing or do not fit, or weights that no scale brings within the widths.
        """
        if isinstance(spec, UnfusedSpec):
            return *self._unfused(spec), None
        if isinstance(spec, PointwisePairSpec):
            return self._pair(spec)
        if spec.squeezed_channels is not None:
            return self._excited(spec, spec.squeezed_channels)
        block, projected, report = self._fused(self.name, spec, self.output_scale)
        return block, calibration.block_output(projected, self.source.x, spec, self.output_scale), report

    def _fused(self, name: str, spec: BlockSpec, output_scale: float | None) -> tuple[FusedBlock, Activations, BlockReport]:
        """The block; its output before requantisation; its report. Without an output scale the tensor is called "fused"."""
        input_scale, precision = self.source.scale, self.precision
        layers = predictor_layers(self.arrays, self.key, spec, input_scale, precision)
        predictor = quantize_predictor(*layers, precision)
        path = value_path(self.arrays, self.key, spec)
        constant = constant_channels(path, predictor)
        path = dataclasses.replace(path, project_bias=path.project_bias + constant.bias)
        quantized = quantize_value_path(path, input_scale, precision)
        trace = calibration.run_block(self.source.x, quantized.floats(), predictor, spec, input_scale, precision)
        report = BlockReport(name, constant.exact, constant.interior, trace.survivors_first, trace.survivors_second)
        scale = self.scales(f"{self.key}.fused_scale", trace.projected) if output_scale is None else output_scale
        return fused_block(name, quantized, predictor, scale), trace.projected, report

    def _excited(self, spec: BlockSpec, squeezed: int) -> tuple[ExcitedBlock, Activations, BlockReport]:
        part = spec.fused_part
        fused, projected, report = self._fused(f"{self.name} fused", part, None)
        scale = self.scales.used[f"{self.key}.fused_scale"]
        y = calibration.block_output(projected, self.source.x, part, scale)
        gates = self._gates(spec.out_channels, squeezed, Tensor(y, scale))
        out = self._with_residual(spec, gates.times(y))
        return ExcitedBlock(fused, gates.excitation(self.name, scale, self.output_scale)), out, report

    def _unfused(self, spec: UnfusedSpec) -> tuple[UnfusedBlock, Activations]:
        expand, excitation, x = None, None, self.source
        if spec.expand:
            weight, bias = self._folded("expand", (spec.expanded_channels, spec.in_channels // spec.groups))
            out = calibration.pointwise(x.x, weight) + bias.astype(np.float32)
            expand, x = self._layer("expand", weight, bias, x, np.maximum(out, 0))
            if spec.inner_shuffle:
                x = Tensor(calibration.shuffle(x.x, spec.groups), x.scale)
        weight, bias = self._folded("depthwise", (spec.expanded_channels, spec.kernel, spec.kernel))
        out = calibration.depthwise(x.x, weight, spec.stride) + bias.astype(np.float32)
        depthwise, x = self._layer("depthwise", weight, bias, x, np.maximum(out, 0) if spec.depthwise_relu else out)
        if spec.squeezed_channels is not None:
            gates = self._gates(spec.expanded_channels, spec.squeezed_channels, x)
            product = gates.times(x.x)
            scale = self.scales(f"{self.key}.product_scale", product)
            excitation = gates.excitation(self.name, x.scale, scale)
            x = Tensor(calibration.rounded(product, scale), scale)
        weight, bias = self._folded("project", (spec.own_channels, spec.expanded_channels // spec.groups))
        out = calibration.pointwise(x.x, weight) + bias.astype(np.float32)
        project = quantize_dense(f"{self.name} project", weight, bias, x.scale, self.output_scale)
        out = self._with_residual(spec, calibration.shuffle(out, spec.groups) if spec.shuffle else out)
        shortcut, out = self._with_shortcut(spec, out)
        out = np.maximum(out, 0) if spec.output_relu else out
        return UnfusedBlock(expand, depthwise, project, shortcut, excitation), out

    def _pair(self, spec: PointwisePairSpec) -> tuple[PointwisePairBlock, Activations, BlockReport]:
        name, x, expanded = f"{self.name} pair", self.source, spec.expanded_channels
        layer = predictor_expand(self.arrays, self.key, spec, x.scale, self.precision)
        signs, threshold = quantize_expand(layer, self.precision)
        first = self._folded("expand", (expanded, spec.in_channels // spec.groups))
        second = self._folded("project", (spec.own_channels, expanded // spec.groups))
        path = PairPath(*first, *second)
        constants = constant_pair_channels(spec, path, signs, threshold)
        quantized = quantize_pair_path(spec, with_constants(path, constants), x.scale, self.precision)
        survives = calibration.pointwise(calibration.predictor_inputs(x.x, x.scale, self.precision), signs) > threshold
        a1 = (calibration.pointwise(x.x, path.expand_weight) + path.expand_bias.astype(np.float32)) * survives
        a1 = calibration.shuffle(a1, spec.groups) if spec.inner_shuffle else a1
        y = np.maximum(calibration.pointwise(a1, path.project_weight) + path.project_bias.astype(np.float32), 0)
        scale = self.scales(f"{self.key}.pair_scale", y)
        pair = integer_pair(name, spec, quantized, signs, threshold, scale)
        report = BlockReport(name, constants.exact, constants.interior, float(survives.mean()), float((y > 0).mean()))
        y = calibration.rounded(y, scale)
        weight, bias = self._folded("depthwise", (spec.own_channels, spec.kernel, spec.kernel))
        out = calibration.depthwise(y, weight, spec.stride) + bias.astype(np.float32)
        depthwise = quantize_dense(f"{self.name} depthwise", weight, bias, scale, self.output_scale)
        shortcut, out = self._with_shortcut(spec, self._with_residual(spec, out))
        return PointwisePairBlock(pair, depthwise, shortcut), out, report

    def _folded(self, part: str, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        return folded(self.arrays, f"{self.key}.{part}", shape)

    def _layer(
        self, part: str, weight: np.ndarray, bias: np.ndarray, source: Tensor, out: Activations
    ) -> tuple[DenseLayer, Tensor]:
        scale = self.scales(f"{self.key}.{part}_scale", out)
        layer = quantize_dense(f"{self.name} {part}", weight, bias, source.scale, scale)
        return layer, Tensor(calibration.rounded(out, scale), scale)

    def _gates(self, channels: int, squeezed: int, x: Tensor) -> Gates:
        key = f"{self.key}.excitation."
        path = ExcitationPath(
            reduce_weight=find(self.arrays, f"{key}reduce_weight", (squeezed, channels)),
            reduce_bias=find(self.arrays, f"{key}reduce_bias", (squeezed,)),
            excite_weight=find(self.arrays, f"{key}excite_weight", (channels, squeezed)),
            excite_bias=find(self.arrays, f"{key}excite_bias", (channels,)),
        )
        return quantize_gates(self.name, path, x.x, x.scale, self.scales.within(key))

    def _with_residual(self, spec: AnyBlockSpec, out: Activations) -> Activations:
        out = calibration.rounded(out, self.output_scale)
        return calibration.rounded(out + self.source.x, self.output_scale) if spec.residual else out

    def _with_shortcut(
        self, spec: UnfusedSpec | PointwisePairSpec, out: Activations
    ) -> tuple[Requantization | None, Activations]:
        """The shortcut, if the block has one, and the block's output with it."""
        if not spec.average_pool_shortcut:
            return None, out
        ones = np.full((spec.in_channels, SMALL_KERNEL, SMALL_KERNEL), 1 / SMALL_TAPS)
        pooled = calibration.rounded(calibration.depthwise(self.source.x, ones, spec.stride), self.output_scale)
        unit = np.full(spec.in_channels, self.source.scale / SMALL_TAPS)
        nothing = np.zeros(spec.in_channels, dtype=np.int64)
        shortcut = requantization(f"{self.name} shortcut", nothing, unit, self.output_scale)
        return shortcut, np.concatenate([pooled, out], axis=-1)
