"""The fusible bottleneck block."""

from typing import Any

import keras
from keras import ops

from sw.networks.layers import Depthwise, MaskedLayer, Pointwise, shuffle_channels
from sw.networks.predictor import Predictor, quantize_activation, straight_through
from sw.spec import BlockSpec

Tensor = Any


class Block(keras.layers.Layer):
    """Expand 1x1, ReLU, depthwise, ReLU, project 1x1, shuffle, and the residual if the block has one.

    With a predictor, each ReLU becomes a gate: what the predictor says survives passes as it is, the rest is zero; the
    gradient goes to the predictor and, where the value path is quantised to be trained, to that as well.
    Input [N, H, W, C], output [N, ceil(H / stride), ceil(W / stride), K].

    Args:
        spec: shape of the block.
        name: layer name; its three layers are called NAME.expand, NAME.depthwise and NAME.project.
        predicted: with a predictor.
        quantized: with int8 activations and a value path whose weights can be rounded and trained; needs a predictor.
    """

    def __init__(self, spec: BlockSpec, name: str, predicted: bool = False, quantized: bool = False) -> None:
        super().__init__(name=name)
        self.spec = spec
        self.expand = Pointwise(spec.in_channels, spec.expanded_channels, spec.groups, f"{name}.expand")
        self.depthwise = Depthwise(spec.expanded_channels, spec.kernel, spec.stride, f"{name}.depthwise")
        self.project = Pointwise(spec.expanded_channels, spec.out_channels, spec.groups, f"{name}.project")
        self.predictor = Predictor(spec, name) if predicted else None
        self.output_scale: Any = None
        if quantized:
            self.output_scale = self.add_weight(shape=(), initializer="ones", name="output_scale", trainable=False)
            for layer in self.value_layers():
                layer.enable_rounding()
        self.built = True

    def value_layers(self) -> list[MaskedLayer]:
        """Expand, depthwise and project."""
        return [self.expand, self.depthwise, self.project]

    def masked_layers(self) -> list[MaskedLayer]:
        """The block's convolutions, in order; the predictor's last."""
        layers = self.value_layers()
        return layers if self.predictor is None else [*layers, self.predictor.expand, self.predictor.depthwise]

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Run the block."""
        if self.predictor is None:
            x = ops.relu(self.expand(inputs, training=training))
            x = ops.relu(self.depthwise(x, training=training))
        else:
            x = self._gated(self.predictor, inputs, training)
        x = self.project(x, training=training)
        if self.spec.shuffle:
            x = shuffle_channels(x, self.spec.groups)
        if self.output_scale is not None:
            x = quantize_activation(x, self.output_scale)
        if self.spec.residual:
            x = x + inputs
            if self.output_scale is not None:
                x = quantize_activation(x, self.output_scale)
        return x

    def _gated(self, predictor: Predictor, inputs: Tensor, training: bool) -> Tensor:
        r1, s2 = predictor(inputs, training=training)
        z1 = self.expand(inputs, training=training)
        a1 = ops.where(r1 > 0, z1, 0.0)
        a2 = ops.where(s2 > 0, self.depthwise(a1, training=training), 0.0)
        if self.output_scale is None:
            return straight_through(a2, ops.relu(s2))
        return a2 + straight_through(ops.zeros_like(s2), ops.relu(s2))
