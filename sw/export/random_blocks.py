"""Random blocks of the kinds that are more than one layer, layer after layer on calibration images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hw.contract.taps import SMALL_KERNEL, SMALL_TAPS
from sw.bundle.blocks import PointwisePair, PointwisePairBlock, UnfusedBlock
from sw.bundle.network import DenseLayer, Requantization
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
    without_lost_weights,
)
from sw.export.random_excitation import random_gates
from sw.quantize import calibration
from sw.quantize.calibration import Activations
from sw.quantize.dense import activation_scale, quantize_dense, requantization
from sw.quantize.network import BlockReport
from sw.quantize.pair import PairPath, integer_pair, quantize_pair_path
from sw.quantize.value_path import Floats
from sw.spec import PointwisePairSpec, SparsitySpec, UnfusedSpec


@dataclass(frozen=True)
class Traced:
    """A tensor on the calibration images, rounded, and the value of one of its levels."""

    x: Activations
    scale: float


@dataclass
class Maker:
    """Makes the layers of one block.

    Args:
        name: of the block.
        random: of all its numbers.
        sparsity: of the block's layers.
        source: the block's input.
    """

    name: str
    random: np.random.Generator
    sparsity: SparsitySpec
    source: Traced

    def unfused(self, spec: UnfusedSpec) -> tuple[UnfusedBlock, Traced]:
        """A block whose layers run one after the other, and its output."""
        expand, x = None, self.source
        if spec.expand:
            shape = (spec.expanded_channels, spec.in_channels // spec.groups)
            weight, bias, out = self._drawn(shape, self.sparsity.pointwise, x.x, calibration.pointwise)
            expand, x = self._layer("expand", weight, bias, x, np.maximum(out, 0))
            if spec.inner_shuffle:
                x = Traced(calibration.shuffle(x.x, spec.groups), x.scale)
        weight, bias, out = self._filter(spec.expanded_channels, spec, x.x)
        depthwise, x = self._layer("depthwise", weight, bias, x, np.maximum(out, 0) if spec.depthwise_relu else out)
        excitation = None
        if spec.squeezed_channels is not None:
            gates = random_gates(self.name, self.random, spec.squeezed_channels, x.x, x.scale)
            excitation = gates.excitation(self.name, x.scale, x.scale)
            x = Traced(calibration.rounded(gates.times(x.x), x.scale), x.scale)
        shape = (spec.own_channels, spec.expanded_channels // spec.groups)
        weight, bias, out = self._drawn(shape, self.sparsity.pointwise, x.x, calibration.pointwise, self._wanted(spec))
        if spec.shuffle:
            out = calibration.shuffle(out, spec.groups)
        shortcut, joined, scale = self._joined(spec, out, relu=spec.output_relu)
        project = quantize_dense(f"{self.name} project", weight, bias, x.scale, scale)
        return UnfusedBlock(expand, depthwise, project, shortcut, excitation), joined

    def pair(self, spec: PointwisePairSpec, share: float) -> tuple[PointwisePairBlock, Traced, BlockReport]:
        """A fused pair of pointwise layers and a depthwise layer, its output, and the pair's report.

        Args:
            spec: of the block.
            share: of first ReLUs that survive.
        """
        pair, x, report = self._pair(spec, share)
        weight, bias, out = self._filter(spec.own_channels, spec, x.x, self._wanted(spec))
        shortcut, joined, scale = self._joined(spec, out, relu=False)
        depthwise = quantize_dense(f"{self.name} depthwise", weight, bias, x.scale, scale)
        return PointwisePairBlock(pair, depthwise, shortcut), joined, report

    def _drawn(
        self,
        shape: tuple[int, ...],
        zeros: float,
        x: Activations,
        run: Callable[[Activations, Floats], Activations],
        deviation: float = 1.0,
    ) -> tuple[Floats, Floats, Activations]:
        """Weights, biases and outputs of such a deviation."""
        weight = sparse(self.random, shape, zeros)
        weight, bias, out = normalised(self.random, weight, run(x, weight))
        return weight * deviation, bias * deviation, out * np.float32(deviation)

    def _filter(
        self, channels: int, spec: UnfusedSpec | PointwisePairSpec, x: Activations, deviation: float = 1.0
    ) -> tuple[Floats, Floats, Activations]:
        def run(x: Activations, weight: Floats) -> Activations:
            return calibration.depthwise(x, weight, spec.stride)

        return self._drawn((channels, spec.kernel, spec.kernel), self.sparsity.depthwise, x, run, deviation)

    def _layer(self, part: str, weight: Floats, bias: Floats, source: Traced, out: Activations) -> tuple[DenseLayer, Traced]:
        scale = activation_scale(out)
        layer = quantize_dense(f"{self.name} {part}", weight, bias, source.scale, scale)
        return layer, Traced(calibration.rounded(out, scale), scale)

    def _wanted(self, spec: UnfusedSpec | PointwisePairSpec) -> float:
        """Deviation of what the block's last layer gives."""
        return max(SMALLEST_DEVIATION, float(self.source.x.std()) * RESIDUAL_SHARE) if spec.residual else 1.0

    def _joined(
        self, spec: UnfusedSpec | PointwisePairSpec, out: Activations, *, relu: bool
    ) -> tuple[Requantization | None, Traced, float]:
        """Shortcut, the block's output with it, and the scale that it and the block's own outputs have."""
        if spec.residual:
            scale = self.source.scale
            total = calibration.rounded(calibration.rounded(out, scale) + self.source.x, scale)
            return None, Traced(np.maximum(total, 0) if relu else total, scale), scale
        out = np.maximum(out, 0) if relu else out
        if not spec.average_pool_shortcut:
            scale = 1 / LEVELS_A_DEVIATION
            return None, Traced(calibration.rounded(out, scale), scale), scale
        ones = np.full((spec.in_channels, SMALL_KERNEL, SMALL_KERNEL), 1 / SMALL_TAPS)
        pooled = calibration.depthwise(self.source.x, ones, spec.stride)
        joined = np.concatenate([np.maximum(pooled, 0) if relu else pooled, out], axis=-1)
        scale = activation_scale(joined)
        unit = np.full(spec.in_channels, self.source.scale / SMALL_TAPS)
        shortcut = requantization(f"{self.name} shortcut", np.zeros(spec.in_channels, dtype=np.int64), unit, scale)
        return shortcut, Traced(calibration.rounded(joined, scale), scale), scale

    def _pair(self, spec: PointwisePairSpec, share: float) -> tuple[PointwisePair, Traced, BlockReport]:
        x, groups, expanded = self.source, spec.groups, spec.expanded_channels
        first = sparse_expand(self.random, spec, self.sparsity)
        first_bias = without_lost_weights(first, self.random.normal(size=expanded) * BIAS_DEVIATION)
        second = sparse(self.random, (spec.own_channels, expanded // groups), self.sparsity.pointwise)
        ternary = np.sign(first).astype(np.int64)
        sums = calibration.pointwise(calibration.predictor_inputs(x.x, x.scale), ternary)
        threshold = share_thresholds(ordered_sums(sums), share)
        survives = sums > threshold
        a1 = (calibration.pointwise(x.x, first) + first_bias.astype(np.float32)) * survives
        if spec.inner_shuffle:
            a1 = calibration.shuffle(a1, groups)
        y = calibration.pointwise(a1, second)
        factor = 1 / max(float(y.std()), SMALLEST_DEVIATION)
        bias = self.random.normal(size=spec.own_channels) * BIAS_DEVIATION
        out = np.maximum(y * factor + bias.astype(np.float32), 0)
        scale = activation_scale(out)
        quantized = quantize_pair_path(spec, PairPath(first, first_bias, second * factor, bias), x.scale)
        pair = integer_pair(f"{self.name} pair", spec, quantized, ternary, threshold, scale)
        report = BlockReport(f"{self.name} pair", 0, 0, float(survives.mean()), float((out > 0).mean()))
        return pair, Traced(calibration.rounded(out, scale), scale), report
