"""The fusible bottleneck block."""

from typing import Any

import keras
from keras import ops

from sw.networks.layers import Depthwise, MaskedLayer, Pointwise, shuffle_channels
from sw.networks.predictor import Predictor, straight_through
from sw.spec import BlockSpec

Tensor = Any


class Block(keras.layers.Layer):
    """Expand 1x1, ReLU, depthwise, ReLU, project 1x1, shuffle, and the residual if the block has one.

    With a predictor, each ReLU becomes a gate: what the predictor says survives passes as it is, the rest is zero.
    Input [N, H, W, C], output [N, ceil(H / stride), ceil(W / stride), K].

    Args:
        spec: shape of the block.
        name: layer name; its three layers are called NAME.expand, NAME.depthwise and NAME.project.
        predicted: with a predictor.
    """

    def __init__(self, spec: BlockSpec, name: str, predicted: bool = False) -> None:
        super().__init__(name=name)
        self.spec = spec
        self.expand = Pointwise(spec.in_channels, spec.expanded_channels, spec.groups, f"{name}.expand")
        self.depthwise = Depthwise(spec.expanded_channels, spec.kernel, spec.stride, f"{name}.depthwise")
        self.project = Pointwise(spec.expanded_channels, spec.out_channels, spec.groups, f"{name}.project")
        self.predictor = Predictor(spec, name) if predicted else None
        self.built = True

    def masked_layers(self) -> list[MaskedLayer]:
        """The block's convolutions, in order; the predictor's last."""
        layers: list[MaskedLayer] = [self.expand, self.depthwise, self.project]
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
        return x + inputs if self.spec.residual else x

    def _gated(self, predictor: Predictor, inputs: Tensor, training: bool) -> Tensor:
        r1, s2 = predictor(inputs, training=training)
        z1 = self.expand(inputs, training=training)
        a1 = ops.where(r1 > 0, z1, 0.0)
        z2 = self.depthwise(ops.stop_gradient(a1), training=training)
        return straight_through(ops.where(s2 > 0, z2, 0.0), ops.relu(s2))
