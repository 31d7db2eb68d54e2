"""The Keras model of a network description."""

from typing import Any

import keras
from keras import ops

from sw.networks.block import Block
from sw.networks.layers import Depthwise, MaskedLayer, Pointwise, Stem, shuffle_channels
from sw.networks.predictor import quantize_activation
from sw.spec import NetworkSpec

Tensor = Any


class FusionNetwork(keras.Model):
    """Stem, first pointwise and depthwise layers, bottleneck blocks, last pointwise layer, pooling, dense layer.

    Input [N, height, width, channels] float32, normalised; output logits [N, classes].

    Args:
        spec: the network.
        predicted: with predictors in its blocks.
        quantized: with int8 inputs and outputs of its blocks, and weights that can be rounded; needs predictors.

    Raises:
        ArchonError: the network has other blocks than fused ones, or no layers between stem and blocks.
    """

    def __init__(self, spec: NetworkSpec, predicted: bool = False, quantized: bool = False) -> None:
        super().__init__(name="network")
        self.spec = spec
        self.predicted = predicted
        self.quantized = quantized
        (first, depthwise), stem, last = spec.front, spec.stem, spec.head
        self.stem = Stem(spec.channels, stem.channels, stem.kernel, stem.stride, "stem")
        self.first_pointwise = Pointwise(stem.channels, first.channels, first.groups, "first_pointwise")
        self.first_depthwise = Depthwise(first.channels, depthwise.kernel, 1, "first_depthwise")
        self.blocks = [Block(block, f"blocks.{index}", predicted, quantized) for index, block in enumerate(spec.fused_blocks)]
        self.last_input_scale = self.add_weight(shape=(), initializer="ones", name="last_input_scale", trainable=False)
        self.last_pointwise = Pointwise(spec.blocks[-1].out_channels, last.channels, last.groups, "last_pointwise")
        self.dense = keras.layers.Dense(spec.classes, name="dense")
        self.dense.build((None, last.channels))
        self.built = True

    def front(self, images: Tensor, training: bool = False) -> Tensor:
        """Images to the input of the first block."""
        x = ops.relu(self.stem(images, training=training))
        x = ops.relu(self.first_pointwise(x, training=training))
        first_pointwise, _ = self.spec.front
        if first_pointwise.shuffle:
            x = shuffle_channels(x, first_pointwise.groups)
        x = self.first_depthwise(x, training=training)
        first = self.blocks[0].predictor
        return quantize_activation(x, first.input_scale) if self.quantized and first is not None else x

    def head(self, x: Tensor, training: bool = False) -> Tensor:
        """Output of the last block to logits."""
        x = ops.relu(self.last_pointwise(x, training=training))
        return self.dense(ops.mean(x, axis=(1, 2)))

    def call(self, images: Tensor, training: bool = False) -> Tensor:
        """Images to logits."""
        x = self.front(images, training)
        for block in self.blocks:
            x = block(x, training=training)
        return self.head(x, training)

    def masked_layers(self) -> list[MaskedLayer]:
        """Every convolution, in order."""
        layers: list[MaskedLayer] = [self.stem, self.first_pointwise, self.first_depthwise]
        for block in self.blocks:
            layers += block.masked_layers()
        return [*layers, self.last_pointwise]

    def named_variables(self) -> dict[str, Any]:
        """Every variable of the model under a name that does not depend on the stage."""
        named = {"dense.weight": self.dense.kernel, "dense.bias": self.dense.bias}
        for layer in self.masked_layers():
            named |= {f"{layer.name}.{v.name}": v for v in (layer.weight, layer.mask)}
            named |= {f"{layer.name}.{v.name}": v for v in layer.norm.variables}
        if self.predicted:
            named["last_pointwise.input_scale"] = self.last_input_scale
        for block in self.blocks:
            if block.output_scale is not None:
                named[f"{block.name}.output_scale"] = block.output_scale
                named |= {f"{layer.name}.rounding": layer.rounding for layer in block.value_layers()}
            if block.predictor is not None:
                own = (block.predictor.input_scale, block.predictor.shift)
                named |= {f"{block.predictor.name}.{v.name}": v for v in own}
        return named
