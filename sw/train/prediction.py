"""Training of the mask predictors on top of a pruned network whose value path is frozen."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from hw.contract.numerics import ACTIVATION_BITS, LEVEL_MAX, signed_range
from sw.datasets import ImageSet, normalise
from sw.networks.block import Block
from sw.networks.fused import FusedBlock
from sw.networks.layers import MaskedLayer, linear_statistics
from sw.networks.network import Network
from sw.networks.pair import PointwisePairBlock
from sw.networks.predictor import ExpandPredictor, Predictor, ternarize
from sw.spec import NetworkSpec
from sw.train.stage import FallingLimits, Stage

CALIBRATION_IMAGES = 256
ACTIVATION_PERCENTILE = 99.9
EXCESS_PERCENTILE = 99.5
SHIFT_MAX = 3
Array = NDArray[np.float32]


@dataclass(frozen=True)
class PredictorPlan:
    """How predictors are trained.

    Attributes:
        constraint: ternarise their weights after each update, instead of only in the forward pass.
        limits: on survivors; calibration starts from them. None: as they come.
        dense: let weights grow where pruning left none; the hardware adds all of a channel's inputs anyway.
        value_biases: keep b1 and b2 of fused blocks; stage quantized alone can drop them.
    """

    constraint: bool = False
    limits: FallingLimits | None = None
    dense: bool = False
    value_biases: bool = True


class PredictionStage(Stage):
    """Trains predictors, the BatchNorms behind their masks, squeeze-and-excite, and what follows the blocks.

    Args:
        model: the network, with predictors.
        training: images to calibrate scales and shifts on (the first 256).
        plan: how the predictors are trained.
    """

    def __init__(self, model: Network, training: ImageSet, plan: PredictorPlan) -> None:
        super().__init__(model, plan.limits)
        self.plan = plan
        self.images = normalise(training.images[:CALIBRATION_IMAGES])
        freeze_value_path(model)

    def makes(self, name: str) -> bool:
        """Predictors, and the scales of what they and other blocks read."""
        return ".predictor_" in name or ".predictor." in name or name.endswith(".input_scale")

    def start_from(self, arrays: dict[str, NDArray[Any]], path: Path) -> None:
        """Take over the pruned network, copy its layers into the predictors and calibrate these."""
        super().start_from(arrays, path)
        for block in self.model.blocks:
            copy_to_predictor(block)
        self.free_predictors()
        calibrate(self.model, self.images)

    def free_predictors(self) -> None:
        """Unmask the predictors if they are to be dense; those of channels that have no value left stay as they are."""
        if self.plan.dense:
            for block in self.model.blocks:
                for source, target in zip(block.value_layers(), predictor_layers(block), strict=False):
                    target.mask.assign(densified(ops.convert_to_numpy(source.mask), ops.convert_to_numpy(block.expand.mask)))

    def after_step(self) -> None:
        """Ternarise, if so chosen."""
        if self.plan.constraint:
            for block in self.model.blocks:
                for layer in predictor_layers(block):
                    signs, alpha = ternarize(layer.masked())
                    layer.weight.assign(alpha * signs)


def predictor_layers(block: Block) -> list[MaskedLayer]:
    """The predictor's convolutions."""
    return [] if block.predictor is None else list(block.predictor.masked_layers())


def densified(mask: Array, expand: Array) -> Array:
    """A mask [E, ...] of ones, but for channels without expand weights: the exporter folds these into a constant."""
    alive = expand.reshape(len(expand), -1).any(axis=1)
    return np.where(alive.reshape(-1, *(1,) * (mask.ndim - 1)), 1, mask).astype(np.float32)


def freeze_value_path(model: Network) -> None:
    """Freeze the layers before the blocks, and the value path of each block."""
    for layer in model.front_layers():
        layer.freeze()
    for block in model.blocks:
        block.freeze_value_path()


def copy_to_predictor(block: Block) -> None:
    """Start the predictor from the value path's weights, masks and BatchNorms."""
    # By way of numpy: on JAX, variables assigned from one another would share memory, and training gives memory away.
    for source, target in zip(block.value_layers(), predictor_layers(block), strict=False):
        target.weight.assign(ops.convert_to_numpy(source.masked()))
        target.mask.assign(ops.convert_to_numpy(source.mask))
        for old, new in zip(source.norm.variables, target.norm.variables, strict=True):
            new.assign(ops.convert_to_numpy(old))


def scale_chains(spec: NetworkSpec) -> list[int]:
    """For the input of each block, and the output of the last: the first tensor with which it shares a scale.

    A residual block adds its input to its output, so both have one scale.
    """
    chains = [0]
    for index, block in enumerate(spec.blocks):
        chains.append(chains[index] if block.residual else index + 1)
    return chains


def activation_scales(model: Network, images: Array) -> list[float]:
    """Scale of the int8 input of each block, and of the last block's output, from images [N, H, W, 3] normalised."""
    tensors = [model.front(images)]
    for block in model.blocks:
        tensors.append(ungated(block, tensors[-1]))
    scales, chains = [to_scale(tensor) for tensor in tensors], scale_chains(model.spec)
    return [max(scale for scale, other in zip(scales, chains, strict=True) if other == chain) for chain in chains]


def to_scale(tensor: Any) -> float:
    """Value of one int8 level of activations, nearly all of which fit."""
    magnitude = float(np.percentile(np.abs(ops.convert_to_numpy(tensor)), ACTIVATION_PERCENTILE))
    return (magnitude or 1.0) / signed_range(ACTIVATION_BITS)[1]


def ungated(block: Block, inputs: Any) -> Any:
    """Output of a block as if it had no predictor."""
    predictor, block.predictor = block.predictor, None
    try:
        return block.call(inputs)
    finally:
        block.predictor = predictor


def calibrate(model: Network, images: Array) -> None:
    """Set input scales, level shifts and BatchNorm statistics of all predictors, and those behind their gates.

    Scales come from the ungated network, all else block after block from gated inputs.
    """
    set_scales(model, activation_scales(model, images))
    x = model.front(images)
    for block in model.blocks:
        if isinstance(block.predictor, Predictor):
            calibrate_predictor(block.predictor, x)
        elif block.predictor is not None:
            calibrate_expand(block.predictor, x)
        if block.predictor is not None:
            set_gated_statistics(block, x)
        x = block(x)


def set_scales(model: Network, scales: list[float]) -> None:
    """Set the scales of the blocks' inputs and of the last one's output."""
    for variable, scale in zip([*(block.input_scale for block in model.blocks), model.last_input_scale], scales, strict=True):
        variable.assign(scale)


def set_gated_statistics(block: Block, x: Any) -> None:
    """Set the statistics of the BatchNorms that a predictor's masks change, from the block's input [N, H, W, C]."""
    if isinstance(block, FusedBlock):
        _set_statistics(block.project, *linear_statistics(block.gated(x), block.project.matrix(block.project.used())))
    if isinstance(block, PointwisePairBlock):
        reached = block.reached(x)
        _set_statistics(block.project, *linear_statistics(reached, block.project.matrix(block.project.used())))
        sums = block.depthwise.convolve(ops.relu(block.project(reached)), block.depthwise.used())
        _set_statistics(block.depthwise, *ops.moments(sums, (0, 1, 2)))


def calibrate_expand(predictor: ExpandPredictor, x: Any) -> None:
    """Set the statistics of a predictor's expand layer from its input [N, H, W, C], its scale known."""
    signs, alpha = ternarize(predictor.expand.masked())
    quantized = predictor.inputs(x)
    _set_statistics(predictor.expand, *linear_statistics(quantized, predictor.expand.matrix(alpha * signs)))
    if predictor.limited is not None:
        _lower(
            predictor.expand,
            ops.convert_to_numpy(predictor.excess(x)) * ops.convert_to_numpy(predictor.level()),
            predictor.limited.first,
        )


def calibrate_predictor(predictor: Predictor, x: Any) -> None:
    """Set one predictor's shift and statistics from its input [N, H, W, C], its scale known."""
    predictor.shift.assign(np.zeros(predictor.shift.shape, np.float32))
    calibrate_expand(predictor, x)
    survivors = predictor.limited
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
