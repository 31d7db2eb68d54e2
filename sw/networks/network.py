"""The Keras model of a network description."""

from typing import Any

import keras
from keras import ops

from sw.networks.block import Block
from sw.networks.fused import FusedBlock
from sw.networks.layers import Depthwise, MaskedLayer, Pointwise, Stem, shuffle_channels
from sw.networks.pair import PointwisePairBlock
from sw.networks.rounding import quantize_activation
from sw.networks.unfused import UnfusedBlock
from sw.spec import AnyBlockSpec, BlockSpec, NetworkSpec, PointwisePairSpec

Tensor = Any


def make_block(spec: AnyBlockSpec, name: str, predicted: bool = False, quantized: bool = False) -> Block:
    """The block of a specification's kind; arguments as the kinds have them."""
    if isinstance(spec, BlockSpec):
        return FusedBlock(spec, name, predicted, quantized)
    if isinstance(spec, PointwisePairSpec):
        return PointwisePairBlock(spec, name, predicted, quantized)
    return UnfusedBlock(spec, name, predicted, quantized)


class Network(keras.Model):
    """Stem, first pointwise and depthwise layers if there are any, blocks, last pointwise layer if there is one, pool, dense.

    Input [N, height, width, channels] float32, normalised; output logits [N, classes].

    Args:
        spec: the network.
        predicted: with predictors in those of its blocks that can have one.
        quantized: with int8 inputs and outputs of its blocks, and weights that can be rounded.
    """

    def __init__(self, spec: NetworkSpec, predicted: bool = False, quantized: bool = False) -> None:
        super().__init__(name="network")
        self.spec = spec
        self.predicted = predicted
        self.quantized = quantized
        stem, last = spec.stem, spec.last_pointwise
        self.stem = Stem(spec.channels, stem.channels, stem.kernel, stem.stride, "stem")
        self.first_pointwise: Pointwise | None = None
        self.first_depthwise: Depthwise | None = None
        if spec.first_pointwise is not None and spec.first_depthwise is not None:
            first = spec.first_pointwise
            self.first_pointwise = Pointwise(stem.channels, first.channels, first.groups, "first_pointwise")
            self.first_depthwise = Depthwise(first.channels, spec.first_depthwise.kernel, 1, "first_depthwise")
        self.blocks = [make_block(block, f"blocks.{index}", predicted, quantized) for index, block in enumerate(spec.blocks)]
        self.last_input_scale = self.add_weight(shape=(), initializer="ones", name="last_input_scale", trainable=False)
        self.last_pointwise: Pointwise | None = None
        if last is not None:
            self.last_pointwise = Pointwise(spec.blocks[-1].out_channels, last.channels, last.groups, "last_pointwise")
        self.dense = keras.layers.Dense(spec.classes, name="dense")
        self.dense.build((None, spec.pooled_channels))
        self.built = True

    @property
    def scaled(self) -> bool:
        """Whether the blocks' inputs and the last one's output have scales."""
        return self.predicted or self.quantized

    @property
    def last_scale_name(self) -> str:
        """What last_input_scale is called in files: the input scale of what reads the last block's output."""
        return f"{'pool' if self.last_pointwise is None else 'last_pointwise'}.input_scale"

    def front(self, images: Tensor, training: bool = False) -> Tensor:
        """Images to the input of the first block."""
        x = ops.relu(self.stem(images, training=training))
        if self.first_pointwise is not None and self.first_depthwise is not None:
            x = ops.relu(self.first_pointwise(x, training=training))
            if self.spec.first_pointwise is not None and self.spec.first_pointwise.shuffle:
                x = shuffle_channels(x, self.first_pointwise.groups)
            x = self.first_depthwise(x, training=training)
        return quantize_activation(x, self.blocks[0].input_scale) if self.quantized else x

    def head(self, x: Tensor, training: bool = False) -> Tensor:
        """Output of the last block to logits."""
        if self.last_pointwise is not None:
            x = ops.relu(self.last_pointwise(x, training=training))
        return self.dense(ops.mean(x, axis=(1, 2)))

    def call(self, images: Tensor, training: bool = False) -> Tensor:
        """Images to logits."""
        x = self.front(images, training)
        for block in self.blocks:
            x = block(x, training=training)
        return self.head(x, training)

    def front_layers(self) -> list[MaskedLayer]:
        """The convolutions before the blocks."""
        return [layer for layer in (self.stem, self.first_pointwise, self.first_depthwise) if layer is not None]

    def masked_layers(self) -> list[MaskedLayer]:
        """Every convolution, in order."""
        layers = self.front_layers()
        for block in self.blocks:
            layers += block.masked_layers()
        return layers if self.last_pointwise is None else [*layers, self.last_pointwise]

    def named_variables(self) -> dict[str, Any]:
        """Every variable of the model under a name that does not depend on the stage."""
        named = {"dense.weight": self.dense.kernel, "dense.bias": self.dense.bias}
        for layer in self.masked_layers():
            named |= {f"{layer.label}.{v.name}": v for v in (layer.weight, layer.mask)}
            named |= {f"{layer.label}.{v.name}": v for v in layer.norm.variables}
            if layer.rounding is not None:
                named[f"{layer.label}.rounding"] = layer.rounding
        if self.scaled:
            named[self.last_scale_name] = self.last_input_scale
        for block in self.blocks:
            named |= block.named_variables()
        return named
