"""Fine-tuning with the hardware's numbers: quantised weights, int8 activations, and accuracy in exact integers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from hw.contract.errors import ArchonError
from sw.bundle.network import IntegerNetwork
from sw.datasets import ImageSet
from sw.networks.block import Block
from sw.networks.fused import FusedBlock
from sw.networks.integer_model import IntegerModel
from sw.networks.layers import MaskedLayer
from sw.networks.network import Network
from sw.networks.pair import PointwisePairBlock
from sw.quantize import fake_quantize
from sw.quantize.dense import rounded_weights
from sw.quantize.network import Quantized, quantize_network
from sw.quantize.pair import PairPath, fake_quantize_pair
from sw.quantize.precision import Precision
from sw.quantize.value_path import ValuePath
from sw.train import checkpoint
from sw.train.devices import gpu_count, predict
from sw.train.export import Arrays, export_weights
from sw.train.prediction import PredictionStage, PredictorPlan, activation_scales, set_scales, to_scale
from sw.train.stage import Stage

REFRESH = 50
"""Steps between two choices of the quantised weights; in between, the difference to the trained ones stays."""
SMALLEST_SCALE = 1e-9
INTEGER_IMAGES = 64
"""Training images on which the scales are found that the trained network does not hold: those outside the blocks."""
CPU_ELEMENTS, GPU_ELEMENTS = 2_500_000, 250_000_000
"""Numbers of 64 bits that a batch of integer inference has in its largest tensor: what caches hold, and what memory does."""


class QuantizationStage(PredictionStage):
    """Trains everything but the layers before the blocks, with weights and activations quantised in the forward pass.

    What is trained follows the integer network closely; what is evaluated is the integer network itself.

    Args:
        model: the network, quantised, with predictors where it has fused blocks.
        training: images to find scales on (the first ones).
        plan: how the predictors are trained.
        precision: of weights and of the predictor's inputs; the hardware's when left out. For other inputs, `keras` alone of
            the kernels (sw.train.kernel) has predictors whose levels are coarser than those of the hardware.

    Raises:
        ArchonError: images of another size than the network's.
    """

    def __init__(self, model: Network, training: ImageSet, plan: PredictorPlan, precision: Precision | None = None) -> None:
        spec, size = model.spec, training.images.shape[1:]
        if size != (spec.height, spec.width, spec.channels):
            expected = f"{spec.height} x {spec.width} x {spec.channels}"
            raise ArchonError(f"stage quantized: expected images of the network's size, {expected}, got {size}")
        super().__init__(model, training, plan)
        for block in model.blocks:
            for layer in block.value_layers():
                layer.trainable = True
                layer.weight.trainable = True
            if block.excitation is not None:
                block.excitation.trainable = True
            if not plan.value_biases:
                block.drop_biases()
        self.pixels = training.images[:INTEGER_IMAGES]
        self.integers: IntegerModel | None = None
        self.precision = precision or Precision()
        for block in model.blocks:
            if block.predictor is not None:
                block.predictor.input_bits = self.precision.predictor_input

    def makes(self, name: str) -> bool:
        """Rounding, and the scales of all tensors; of those that come with predictors only where there are none."""
        if name.endswith(".input_scale"):
            return not self.model.predicted
        return name.endswith((".rounding", "_scale"))

    def start_from(self, arrays: dict[str, NDArray[Any]], path: Path) -> None:
        """Take over the network and find the scales that it has not got yet.

        Raises:
            ArchonError: the network cannot be held in integers.
        """
        Stage.start_from(self, arrays, path)
        self.free_predictors()
        source = Network(self.model.spec, predicted=self.model.predicted)
        checkpoint.assign(source.named_variables(), arrays, path)
        if not source.predicted:
            set_scales(self.model, activation_scales(source, self.images))
        for block, following in zip(self.model.blocks, self.model.blocks[1:], strict=False):
            block.output_scale.assign(_value(following.input_scale))
        self.model.blocks[-1].output_scale.assign(_value(self.model.last_input_scale))
        set_inner_scales(self.model, source, self.images)
        self.after_epoch()
        self.quantized()

    def before_step(self, step: int, steps: int) -> None:
        """Choose the quantised weights anew from time to time."""
        super().before_step(step, steps)
        if step % REFRESH == 0:
            self.after_epoch()

    def after_epoch(self) -> None:
        """Choose the quantised weights anew."""
        for block in self.model.blocks:
            round_weights(block, self.precision)

    def quantized(self) -> Quantized:
        """The integer network of the weights as they are."""
        return quantize_network(export_weights(self.model), self.model.spec, self.pixels, self.precision)

    def inference(self) -> Callable[[NDArray[np.uint8]], NDArray[Any]]:
        """Images to the logits of the integer network."""
        network = self.quantized().network
        if self.integers is None:
            self.integers = IntegerModel(network, self.precision.predictor_input)
        self.integers.load(network)
        return integer_inference(self.integers, network)

    def weights(self) -> Arrays:
        """Weights with all scales, so that the exporter makes the integers that were evaluated."""
        scales = {name: np.asarray(scale) for name, scale in self.quantized().scales.items()}
        return scales | export_weights(self.model)


def integer_inference(model: IntegerModel, network: IntegerNetwork) -> Callable[[NDArray[np.uint8]], NDArray[Any]]:
    """Images [N, H, W, 3] to the logits [N, classes] of a model, with the network in it, some at a time."""
    batch = integer_batch(network)

    def logits(images: NDArray[np.uint8]) -> NDArray[Any]:
        parts = [images[start : start + batch] for start in range(0, len(images), batch)]
        return np.concatenate([predict(model, part) for part in parts])

    return logits


def integer_batch(network: IntegerNetwork) -> int:
    """Images that are run together."""
    largest = max(
        (layer.block.expanded_channels if layer.block else layer.output.channels) * layer.source.pixels
        for layer in network.spec.layers
    )
    return max(1, (GPU_ELEMENTS if gpu_count() else CPU_ELEMENTS) // largest)


def set_inner_scales(model: Network, source: Network, images: NDArray[np.float32]) -> None:
    """Set the scales of the tensors within blocks, from the network as it was before quantisation."""
    x = source.front(images)
    for block, float_block in zip(model.blocks, source.blocks, strict=True):
        float_block.recorder = _setter(block.scales)
        if block.excitation is not None and float_block.excitation is not None:
            float_block.excitation.recorder = _setter(block.excitation.scales)
        x = float_block.call(x)


def _setter(scales: dict[str, Any]) -> Callable[[str, Any], None]:
    def record(part: str, tensor: Any) -> None:
        scales[part].assign(to_scale(tensor))

    return record


def round_weights(block: Block, precision: Precision | None = None) -> None:
    """Set the block's rounding so that its layers apply the weights that the hardware will hold."""
    folded = {layer: _folded(layer) for layer in block.value_layers()}
    weights = {layer: rounded_weights(weight) for layer, (weight, _) in folded.items()}
    if isinstance(block, FusedBlock):
        parts = [array for layer in (block.expand, block.depthwise, block.project) for array in folded[layer]]
        floats = fake_quantize(ValuePath(*parts), _value(block.input_scale), precision)
        weights = {
            block.expand: floats.expand_weight,
            block.depthwise: floats.depthwise_weight,
            block.project: floats.project_weight,
        }
    if isinstance(block, PointwisePairBlock):
        path = PairPath(*folded[block.expand], *folded[block.project])
        pair = fake_quantize_pair(block.spec, path, _value(block.input_scale), precision)
        weights |= {block.expand: pair.expand_weight, block.project: pair.project_weight}
    for layer, weight in weights.items():
        layer.rounding.assign(rounding(layer, weight, ops.convert_to_numpy(layer.norm.folded()[0])))


def _folded(layer: MaskedLayer) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weight with BatchNorm's scale multiplied in, and BatchNorm's offset."""
    scale, offset = (ops.convert_to_numpy(tensor).astype(np.float64) for tensor in layer.norm.folded())
    weight = ops.convert_to_numpy(layer.masked()).astype(np.float64)
    return weight * scale.reshape(-1, *(1,) * (weight.ndim - 1)), offset


def _value(variable: Any) -> float:
    return float(ops.convert_to_numpy(variable))


def rounding(layer: MaskedLayer, folded: NDArray[np.float64], scale: NDArray[np.float32]) -> NDArray[np.float64]:
    """Difference between a quantised weight, given with BatchNorm's scale folded in, and the layer's own."""
    per_channel = scale.reshape(-1, *(1,) * (folded.ndim - 1)).astype(np.float64)
    usable = np.abs(per_channel) > SMALLEST_SCALE
    difference = folded / np.where(usable, per_channel, 1.0) - ops.convert_to_numpy(layer.masked())
    return np.where(usable, difference, 0.0)
