"""Numbers as the hardware holds them, in floats: rounded forward, with straight-through gradients."""

from typing import Any

from keras import ops

from hw.contract.numerics import ACTIVATION_BITS, GATE_BITS, signed_range

Tensor = Any


def straight_through(value: Tensor, surrogate: Tensor) -> Tensor:
    """Exactly `value` forward, the gradient of `surrogate` backward."""
    return ops.stop_gradient(value) + (surrogate - ops.stop_gradient(surrogate))


def round_half_away(x: Tensor) -> Tensor:
    """Nearest integer, halves away from zero."""
    return ops.sign(x) * ops.floor(ops.abs(x) + 0.5)


def to_activation(x: Tensor, scale: Tensor) -> Tensor:
    """Real value to int8 activation, as a float: clip(round(x / scale), -128, 127)."""
    low, high = signed_range(ACTIVATION_BITS)
    clipped = ops.clip(x / scale, low, high)
    return straight_through(round_half_away(clipped), clipped)


def quantize_activation(x: Tensor, scale: Tensor) -> Tensor:
    """Real value to the nearest one that an int8 activation stands for."""
    return scale * to_activation(x, scale)


def quantize_gate(gate: Tensor) -> Tensor:
    """A gate of squeeze-and-excite, 0 to 1, to the nearest of the levels 0..127 of 1/128."""
    return quantize_activation(gate, 2.0**-GATE_BITS)
