"""Putting quantised parts together into the integer network's data classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.contract.errors import ArchonError
from sw.bundle.network import AnyBlock, DenseLayer, FusedBlock, IntegerNetwork, Requantization
from sw.quantize.calibration import Activations, pointwise, rounded
from sw.quantize.dense import WEIGHT_MAX, quantize_dense, requantization
from sw.quantize.predictor import QuantizedPredictor
from sw.quantize.scales import ScaleOf, measured
from sw.quantize.value_path import Floats, QuantizedValuePath
from sw.spec import NetworkSpec


def fused_block(name: str, path: QuantizedValuePath, predictor: QuantizedPredictor, output_scale: float) -> FusedBlock:
    """A block of the integer network; `output_scale` is the value of one level of its int8 output."""
    requantized = requantization(name, path.project_bias, path.output_scale, output_scale)
    return FusedBlock(
        expand_weight=path.expand_weight.astype(np.int8),
        expand_bias=path.expand_bias.astype(np.int32),
        depthwise_weight=path.depthwise_weight.astype(np.int8),
        depthwise_bias=path.depthwise_bias.astype(np.int32),
        project_weight=path.project_weight.astype(np.int32),
        requantization=requantized,
        predictor_expand_weight=predictor.expand_weight.astype(np.int8),
        predictor_expand_threshold=predictor.expand_threshold.astype(np.int32),
        predictor_level_shift=predictor.level_shift.astype(np.int8),
        predictor_depthwise_weight=predictor.depthwise_weight.astype(np.int8),
        predictor_depthwise_threshold=predictor.depthwise_threshold.astype(np.int32),
    )


@dataclass(frozen=True)
class Front:
    """The layers before the blocks, and what they make of the calibration images."""

    image_levels: NDArray[np.int8]
    stem: DenseLayer
    first_pointwise: DenseLayer | None
    first_depthwise: DenseLayer | None
    output: Activations
    output_scale: float


class Head:
    """The layers behind the blocks: last pointwise, if there is one, pooling, dense.

    Args:
        spec: the network.
        x: output of the last block on calibration images, real values.
        input_scale: value of one level of it.
        weight: last pointwise (L, K/G), BatchNorm folded in; none where the network has no such layer.
        bias: (L,), likewise.
        dense_weight: (classes, L), real.
        dense_bias: (classes,), real.
        scale_of: scales last_pointwise.output_scale and pool.output_scale.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        x: Activations,
        input_scale: float,
        weight: Floats | None,
        bias: Floats | None,
        dense_weight: Floats,
        dense_bias: Floats,
        scale_of: ScaleOf = measured,
    ) -> None:
        self.last_pointwise: DenseLayer | None = None
        activations, scale, channels = x, input_scale, spec.pooled_channels
        if weight is not None and bias is not None:
            activations = np.maximum(pointwise(x, weight) + bias.astype(np.float32), 0)
            scale = scale_of("last_pointwise.output_scale", activations)
            self.last_pointwise = quantize_dense("last_pointwise", weight, bias, input_scale, scale)
        pooled = rounded(activations, scale).mean(axis=(1, 2))
        pooled_scale = scale_of("pool.output_scale", pooled)
        shape = spec.block_shapes()[-1]
        unit = np.full(channels, scale / (shape.out_height * shape.out_width))
        self.pool: Requantization = requantization("pool", np.zeros(channels, dtype=np.int64), unit, pooled_scale)
        peak = float(np.abs(dense_weight).max())
        if peak == 0:
            raise ArchonError("dense: expected a weight other than zero, got none")
        weight_scale = peak / WEIGHT_MAX
        self.logit_scale = weight_scale * pooled_scale
        """Value of one unit of the integer logits."""
        self.dense_weight = np.rint(dense_weight / weight_scale).astype(np.int8)
        self.dense_bias = np.rint(dense_bias / self.logit_scale).astype(np.int32)


def integer_network(spec: NetworkSpec, front: Front, blocks: tuple[AnyBlock, ...], head: Head) -> IntegerNetwork:
    """The whole network, its shapes checked."""
    network = IntegerNetwork(
        spec=spec,
        image_levels=front.image_levels,
        stem=front.stem,
        first_pointwise=front.first_pointwise,
        first_depthwise=front.first_depthwise,
        blocks=blocks,
        last_pointwise=head.last_pointwise,
        pool=head.pool,
        dense_weight=head.dense_weight,
        dense_bias=head.dense_bias,
    )
    network.check()
    return network
