"""Fine-tuning with the hardware's numbers: quantised weights on the value path, int8 activations between blocks."""

from pathlib import Path
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from sw.datasets import ImageSet
from sw.networks.block import Block
from sw.networks.layers import MaskedLayer
from sw.networks.network import Network
from sw.networks.predictor import Survivors
from sw.quantize import fake_quantize
from sw.quantize.weights import value_path
from sw.train.export import export_layer
from sw.train.prediction import PredictionStage
from sw.train.stage import Stage

REFRESH = 50
"""Steps between two choices of the quantised weights; in between, the difference to the trained ones stays."""
SMALLEST_SCALE = 1e-9


class QuantizationStage(PredictionStage):
    """Trains everything but the layers before the blocks, with weights and activations quantised in the forward pass.

    Args:
        model: the network, with predictors, quantised.
        training: unused images of the stage before; kept for one way of making stages.
        constraint: ternarise the predictor's weights after each update.
        survivors: shares of survivors to keep to; None: as they come.
    """

    def __init__(self, model: Network, training: ImageSet, constraint: bool, survivors: Survivors | None = None) -> None:
        super().__init__(model, training, constraint, survivors)
        for block in model.blocks:
            for layer in block.value_layers():
                layer.trainable = True
                layer.weight.trainable = True

    def start_from(self, arrays: dict[str, NDArray[Any]], path: Path) -> None:
        """Take over the network with its predictors and their scales."""
        Stage.start_from(self, arrays, path)
        for block, following in zip(self.model.blocks, self.model.blocks[1:], strict=False):
            block.output_scale.assign(following.predictor.input_scale)
        self.model.blocks[-1].output_scale.assign(self.model.last_input_scale)
        self.after_epoch()

    def before_step(self, step: int, steps: int) -> None:  # noqa: ARG002 (as in Stage)
        """Choose the quantised weights anew from time to time."""
        if step % REFRESH == 0:
            self.after_epoch()

    def after_epoch(self) -> None:
        """Choose the quantised weights anew, so that what is evaluated is what will be exported."""
        for block in self.model.blocks:
            round_weights(block)


def round_weights(block: Block) -> None:
    """Set the block's rounding so that its layers apply the weights that the hardware will hold."""
    if block.predictor is None:
        return
    arrays: dict[str, NDArray[Any]] = {}
    for layer in block.value_layers():
        arrays |= export_layer(layer)
    rounded = fake_quantize(
        value_path(arrays, block.name, block.spec), float(ops.convert_to_numpy(block.predictor.input_scale))
    )
    weights = (rounded.expand_weight, rounded.depthwise_weight, rounded.project_weight)
    for layer, weight in zip(block.value_layers(), weights, strict=True):
        layer.rounding.assign(rounding(layer, weight, arrays[f"{layer.name}.scale"]))


def rounding(layer: MaskedLayer, folded: NDArray[np.float64], scale: NDArray[np.float32]) -> NDArray[np.float64]:
    """Difference between a quantised weight, given with BatchNorm's scale folded in, and the layer's own."""
    per_channel = scale.reshape(-1, *(1,) * (folded.ndim - 1)).astype(np.float64)
    usable = np.abs(per_channel) > SMALLEST_SCALE
    difference = folded / np.where(usable, per_channel, 1.0) - ops.convert_to_numpy(layer.masked())
    return np.where(usable, difference, 0.0)
