"""Training of the mask predictors on top of a pruned network whose value path is frozen."""

from pathlib import Path
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from hw.contract.numerics import ACTIVATION_BITS, LEVEL_MAX, signed_range
from sw.datasets import ImageSet, normalise
from sw.networks.block import Block
from sw.networks.fusion_network import FusionNetwork
from sw.networks.layers import MaskedLayer, linear_statistics
from sw.networks.predictor import Predictor, Survivors, ternarize, to_predictor_input
from sw.spec import NetworkSpec
from sw.train.stage import Stage

CALIBRATION_IMAGES = 256
ACTIVATION_PERCENTILE = 99.9
EXCESS_PERCENTILE = 99.5
SHIFT_MAX = 3
Array = NDArray[np.float32]


class PredictionStage(Stage):
    """Trains predictors, the last BatchNorm of each block, and what follows the blocks.

    Args:
        model: the network, with predictors.
        training: images to calibrate scales and shifts on (the first 256).
        constraint: ternarise the predictor's weights after each update, instead of only in the forward pass.
        survivors: shares of survivors to start from and to keep to; None: as they come.
    """

    def __init__(self, model: FusionNetwork, training: ImageSet, constraint: bool, survivors: Survivors | None = None) -> None:
        super().__init__(model)
        for block in model.blocks:
            if block.predictor is not None:
                block.predictor.survivors = survivors
        self.images = normalise(training.images[:CALIBRATION_IMAGES])
        self.constraint = constraint
        freeze_value_path(model)

    def start_from(self, arrays: dict[str, NDArray[Any]], path: Path) -> None:
        """Take over the pruned network, copy its layers into the predictors and calibrate these."""
        super().start_from(arrays, path)
        for block in self.model.blocks:
            copy_to_predictor(block)
        calibrate(self.model, self.images)

    def after_step(self) -> None:
        """Ternarise, if so chosen."""
        if self.constraint:
            for block in self.model.blocks:
                for layer in predictor_layers(block):
                    signs, alpha = ternarize(layer.masked())
                    layer.weight.assign(alpha * signs)


def predictor_layers(block: Block) -> list[MaskedLayer]:
    """The predictor's expand and depthwise layers."""
    return [] if block.predictor is None else [block.predictor.expand, block.predictor.depthwise]


def freeze_value_path(model: FusionNetwork) -> None:
    """Freeze the layers before the blocks, and in each block all but the predictor and the last BatchNorm."""
    for layer in (model.stem, model.first_pointwise, model.first_depthwise):
        layer.freeze()
    for block in model.blocks:
        block.expand.freeze()
        block.depthwise.freeze()
        block.project.weight.trainable = False


def copy_to_predictor(block: Block) -> None:
    """Start the predictor from the value path's weights, masks and BatchNorms."""
    for source, target in zip((block.expand, block.depthwise), predictor_layers(block), strict=True):
        target.weight.assign(source.masked())
        target.mask.assign(source.mask)
        for old, new in zip(source.norm.variables, target.norm.variables, strict=True):
            new.assign(old)


def scale_chains(spec: NetworkSpec) -> list[int]:
    """For the input of each block, and the output of the last: the first tensor with which it shares a scale.

    A residual block adds its input to its output, so both have one scale.
    """
    chains = [0]
    for index, block in enumerate(spec.blocks):
        chains.append(chains[index] if block.residual else index + 1)
    return chains


def activation_scales(model: FusionNetwork, images: Array) -> list[float]:
    """Scale of the int8 input of each block, and of the last block's output, from images [N, H, W, 3] normalised."""
    tensors = [model.front(images)]
    for block in model.blocks:
        tensors.append(ungated(block, tensors[-1]))
    largest = [float(np.percentile(np.abs(ops.convert_to_numpy(tensor)), ACTIVATION_PERCENTILE)) for tensor in tensors]
    chains = scale_chains(model.spec)
    shared = [max(x for x, other in zip(largest, chains, strict=True) if other == chain) for chain in chains]
    return [value / signed_range(ACTIVATION_BITS)[1] for value in shared]


def ungated(block: Block, inputs: Any) -> Any:
    """Output of a block as if it had no predictor."""
    predictor, block.predictor = block.predictor, None
    try:
        return block.call(inputs)
    finally:
        block.predictor = predictor


def calibrate(model: FusionNetwork, images: Array) -> None:
    """Set input scales, level shifts and BatchNorm statistics of all predictors, and those behind their gates.

    Scales come from the ungated network, all else block after block from gated inputs.
    """
    scales = activation_scales(model, images)
    model.last_input_scale.assign(scales[-1])
    x = model.front(images)
    for block, scale in zip(model.blocks, scales[:-1], strict=True):
        if block.predictor is not None:
            calibrate_predictor(block.predictor, x, scale)
            _set_statistics(block.project, *linear_statistics(block.gated(x), block.project.matrix(block.project.used())))
        x = block(x)


def calibrate_predictor(predictor: Predictor, x: Any, scale: float) -> None:
    """Set one predictor's scale, shift and statistics from its input [N, H, W, C]."""
    predictor.input_scale.assign(scale)
    signs, alpha = ternarize(predictor.expand.masked())
    quantized = predictor.input_step() * to_predictor_input(x, predictor.input_scale)
    _set_statistics(predictor.expand, *linear_statistics(quantized, predictor.expand.matrix(alpha * signs)))
    predictor.shift.assign(np.zeros(predictor.shift.shape, np.float32))
    survivors = predictor.survivors
    if survivors is not None:
        _lower(
            predictor.expand,
            ops.convert_to_numpy(predictor.excess(x)) * ops.convert_to_numpy(predictor.level()),
            survivors.first,
        )
    predictor.shift.assign(level_shifts(ops.convert_to_numpy(predictor.excess(x))))
    signs, alpha = ternarize(predictor.depthwise.masked())
    sums = ops.convert_to_numpy(predictor.depthwise.convolve(predictor.levels(predictor.excess(x)), alpha * signs))
    _set_statistics(predictor.depthwise, sums.mean((0, 1, 2)), sums.var((0, 1, 2)))
    if survivors is not None:
        scale, offset = predictor.depthwise.norm.folded()
        _lower(predictor.depthwise, sums * ops.convert_to_numpy(scale) + ops.convert_to_numpy(offset), survivors.second)


def _lower(layer: MaskedLayer, pre_activations: Array, share: float) -> None:
    """Lower the BatchNorm offsets of all channels alike until no more than a share of the pre-activations is positive."""
    beta = layer.norm.beta
    beta.assign(beta - max(0.0, float(np.quantile(pre_activations, 1 - share))))


def level_shifts(excess: Array) -> Array:
    """Per channel, the least shift 0..3 with which 15 levels reach the 99.5th percentile of the excess [N, H, W, E]."""
    high = np.percentile(excess, EXCESS_PERCENTILE, axis=(0, 1, 2))
    return np.clip(np.ceil(np.log2(np.maximum(high, 1) / LEVEL_MAX)), 0, SHIFT_MAX).astype(np.float32)


def _set_statistics(layer: MaskedLayer, mean: Any, variance: Any) -> None:
    layer.norm.moving_mean.assign(mean)
    layer.norm.moving_variance.assign(variance)
