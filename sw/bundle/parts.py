"""Integer layers and fused blocks: checked numpy arrays.

Symbols as in docs/numerics.md: C, E, K input, expanded and output channels, G groups; E rows are group-major (group g owns
rows g * E/G and on), so do K rows before the shuffle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.contract import numerics
from hw.contract.errors import ArchonError
from sw.spec import BlockSpec


def expect_array(name: str, array: NDArray[np.generic], dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    """Raise ArchonError, naming the array, unless it has this type and shape."""
    if array.dtype != dtype or array.shape != shape:
        raise ArchonError(f"{name}: expected {np.dtype(dtype).name} {shape}, got {array.dtype.name} {array.shape}")


def expect_range(name: str, array: NDArray[np.generic], low: int, high: int) -> None:
    """Raise ArchonError, naming the array, unless all its values are low..high."""
    if array.size and (array.min() < low or array.max() > high):
        got = int(array.min()) if array.min() < low else int(array.max())
        raise ArchonError(f"{name}: expected values in {low}..{high}, got {got}")


@dataclass(frozen=True)
class Requantization:
    """Per output channel: int8 = saturate(round((accumulator + bias) * multiplier / 2**shift))."""

    bias: NDArray[np.int32]
    multiplier: NDArray[np.int32]
    shift: NDArray[np.int8]

    def part(self, channels: slice) -> Requantization:
        """Of some of the channels."""
        return Requantization(self.bias[channels], self.multiplier[channels], self.shift[channels])

    def check(self, name: str, channels: int) -> None:
        """Raise ArchonError unless all three are (channels,) and in range."""
        expect_array(f"{name}.bias", self.bias, np.int32, (channels,))
        expect_array(f"{name}.multiplier", self.multiplier, np.int32, (channels,))
        expect_array(f"{name}.shift", self.shift, np.int8, (channels,))
        expect_range(f"{name}.multiplier", self.multiplier, 0, (1 << numerics.MULTIPLIER_BITS) - 1)
        expect_range(f"{name}.shift", self.shift, 0, numerics.MULTIPLIER_SHIFT_MAX)


@dataclass(frozen=True)
class DenseLayer:
    """A layer that is not fused: convolution, pointwise or depthwise, int8 weights, requantised; ReLU clamps below at 0."""

    weight: NDArray[np.int8]
    requantization: Requantization

    def check(self, name: str, shape: tuple[int, ...]) -> None:
        """Raise ArchonError, naming the array, unless the weight has this shape and the rest fits it."""
        expect_array(f"{name}.weight", self.weight, np.int8, shape)
        self.requantization.check(name, shape[0])


@dataclass(frozen=True)
class Scaling:
    """Multiplies channels by gates: int8 = saturate(round(activation * weight * gate / 2**shift)), one rounding."""

    weight: NDArray[np.int8]
    """(C,), what is left of the scales when the power of two is taken out."""
    shift: NDArray[np.int8]
    """(C,)."""

    def check(self, name: str, channels: int) -> None:
        """Raise ArchonError unless both are (channels,) and in range."""
        expect_array(f"{name}.weight", self.weight, np.int8, (channels,))
        expect_array(f"{name}.shift", self.shift, np.int8, (channels,))
        expect_range(f"{name}.shift", self.shift, 0, numerics.MULTIPLIER_SHIFT_MAX)


@dataclass(frozen=True)
class Excitation:
    """Squeeze-and-excite on C channels by way of R: the means of all pixels, two pointwise layers, and the multiplication."""

    squeeze: Requantization
    """(C,): of the sum over all pixels."""
    reduce: DenseLayer
    """weight (R, C); ReLU."""
    excite: DenseLayer
    """weight (C, R); its activations, clamped at 0, are the gates."""
    scale: Scaling

    def check(self, name: str, channels: int, squeezed: int) -> None:
        """Raise ArchonError, naming the array, unless every array fits these numbers of channels."""
        self.squeeze.check(f"{name}.squeeze", channels)
        self.reduce.check(f"{name}.reduce", (squeezed, channels))
        self.excite.check(f"{name}.excite", (channels, squeezed))
        self.scale.check(f"{name}.scale", channels)


@dataclass(frozen=True)
class FusedBlock:
    """One bottleneck block and its predictor, in integers."""

    expand_weight: NDArray[np.int8]
    """W1 (E, C/G)."""
    expand_bias: NDArray[np.int32]
    """b1 (E,), in units of W1 * x."""
    depthwise_weight: NDArray[np.int8]
    """D (E, 3, 3)."""
    depthwise_bias: NDArray[np.int32]
    """b2 (E,), in units of D * W1 * x."""
    project_weight: NDArray[np.int32]
    """W2 (K, E/G)."""
    requantization: Requantization
    """(K,), bias b3 in units of W2 * D * W1 * x."""
    predictor_expand_weight: NDArray[np.int8]
    """T1 (E, C/G), -1, 0 or 1."""
    predictor_expand_threshold: NDArray[np.int32]
    """(E,): the first ReLU survives where sum T1 * x4 > threshold."""
    predictor_level_shift: NDArray[np.int8]
    """(E,), 0..7."""
    predictor_depthwise_weight: NDArray[np.int8]
    """TD (E, 3, 3), -1, 0 or 1."""
    predictor_depthwise_threshold: NDArray[np.int32]
    """(E,): the second ReLU survives where sum TD * r1 > threshold."""

    def check(self, name: str, spec: BlockSpec) -> None:
        """Raise ArchonError, naming the array, unless every array fits the block's specification."""
        expanded, inputs = spec.expanded_channels, spec.in_channels // spec.groups
        window = (expanded, spec.kernel, spec.kernel)
        shapes: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
            "expand_weight": (np.int8, (expanded, inputs)),
            "expand_bias": (np.int32, (expanded,)),
            "depthwise_weight": (np.int8, window),
            "depthwise_bias": (np.int32, (expanded,)),
            "project_weight": (np.int32, (spec.out_channels, expanded // spec.groups)),
            "predictor_expand_weight": (np.int8, (expanded, inputs)),
            "predictor_expand_threshold": (np.int32, (expanded,)),
            "predictor_level_shift": (np.int8, (expanded,)),
            "predictor_depthwise_weight": (np.int8, window),
            "predictor_depthwise_threshold": (np.int32, (expanded,)),
        }
        for field_name, (dtype, shape) in shapes.items():
            expect_array(f"{name}.{field_name}", getattr(self, field_name), dtype, shape)
        expect_range(f"{name}.predictor_expand_weight", self.predictor_expand_weight, -1, 1)
        expect_range(f"{name}.predictor_depthwise_weight", self.predictor_depthwise_weight, -1, 1)
        expect_range(f"{name}.predictor_level_shift", self.predictor_level_shift, 0, 7)
        self.requantization.check(name, spec.out_channels)
