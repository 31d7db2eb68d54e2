"""Squeeze-and-excite: channels are multiplied by gates that come from their means."""

from typing import Any

import keras
from keras import ops

from hw.contract.numerics import HARD_SIGMOID_REACH
from sw.networks.layers import NamedLayer, he_deviation
from sw.networks.rounding import quantize_activation, quantize_gate

Tensor = Any

SCALES = ("squeeze", "reduce")


class Excitation(NamedLayer):
    """Input [N, H, W, C] times hard_sigmoid(excite relu(reduce mean over pixels)), a gate from 0 to 1 a channel.

    J. Hu, L. Shen, G. Sun, "Squeeze-and-Excitation Networks", CVPR 2018; the hard sigmoid is clamp((z + 3) / 6, 0, 1).

    Args:
        channels: C; excite_weight [C, R] and excite_bias [C].
        squeezed: R; reduce_weight [R, C] and reduce_bias [R].
        name: layer name.
        quantized: with int8 means and hidden activations, and gates of 7 bits.
    """

    def __init__(self, channels: int, squeezed: int, name: str, quantized: bool = False) -> None:
        super().__init__(name)
        for part, shape in (("reduce", (squeezed, channels)), ("excite", (channels, squeezed))):
            normal = keras.initializers.RandomNormal(stddev=he_deviation(shape))
            setattr(self, f"{part}_weight", self.add_weight(shape=shape, initializer=normal, name=f"{part}_weight"))
            setattr(self, f"{part}_bias", self.add_weight(shape=shape[:1], initializer="zeros", name=f"{part}_bias"))
        self.scales = {
            part: self.add_weight(shape=(), initializer="ones", name=f"{part}_scale", trainable=False)
            for part in SCALES
            if quantized
        }
        self.recorder: Any = None
        self.built = True

    def gates(self, x: Tensor) -> Tensor:
        """Gates [N, C] of x [N, H, W, C]."""
        means = self._rounded("squeeze", ops.mean(x, axis=(1, 2)))
        hidden = ops.matmul(means, ops.transpose(self.reduce_weight)) + self.reduce_bias
        hidden = self._rounded("reduce", ops.relu(hidden))
        z = ops.matmul(hidden, ops.transpose(self.excite_weight)) + self.excite_bias
        gates = ops.clip(z / (2 * HARD_SIGMOID_REACH) + 0.5, 0.0, 1.0)
        return quantize_gate(gates) if self.scales else gates

    def call(self, x: Tensor) -> Tensor:
        """Multiply every channel by its gate."""
        return x * self.gates(x)[:, None, None, :]

    def _rounded(self, part: str, x: Tensor) -> Tensor:
        if self.recorder is not None:
            self.recorder(part, x)
        return quantize_activation(x, self.scales[part]) if self.scales else x
