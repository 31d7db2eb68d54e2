"""The integer network as a Keras model: docs/numerics.md in keras.ops, exact.

Integers are held in float64, which every backend computes with: all sums and products of the contract are below 2**47, so they
are exact in any order, and so is the division by a power of two. sw.golden computes the same from the same parts, in numpy.
"""

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from hw.contract.errors import ArchonError
from hw.contract.numerics import ACTIVATION_BITS, LEVEL_MAX, PREDICTOR_INPUT_BITS, signed_range
from hw.contract.taps import SMALL_KERNEL
from sw.bundle.network import IntegerNetwork, Requantization
from sw.networks.layers import block_diagonal, multiply_channels, pad, shuffle_channels
from sw.spec import LayerShape

Tensor = Any
Part = dict[str, Any]
"""The integers of a layer as variables, by the names of the fields; a shift is there as 2**-shift, called unit."""

EXACT = "float64"


class IntegerModel(keras.Model):
    """Input [N, height, width, channels], pixels 0..255; output the integer logits [N, classes].

    Args:
        network: integers to begin with; `load` takes others of the same shapes.
        predictor_bits: of the predictor's inputs; the golden model has the default alone.

    Raises:
        ArchonError: the backend has no numbers of 64 bits (JAX: set JAX_ENABLE_X64=1).
    """

    def __init__(self, network: IntegerNetwork, predictor_bits: int = PREDICTOR_INPUT_BITS) -> None:
        super().__init__(name="integers", dtype=EXACT)
        self.predictor_bits = predictor_bits
        self.spec = network.spec
        self.parts: dict[str, Part] = {}
        for name, arrays in _arrays(network).items():
            self.parts[name] = {
                field: self.add_weight(shape=array.shape, dtype=EXACT, initializer="zeros", name=field, trainable=False)
                for field, array in arrays.items()
            }
        dtype = np.asarray(ops.convert_to_numpy(self.parts["image"]["levels"])).dtype
        if dtype != np.float64:
            raise ArchonError(f"the integer network needs numbers of 64 bits, got {dtype} from {keras.backend.backend()}")
        self.built = True
        self.load(network)

    def load(self, network: IntegerNetwork) -> None:
        """Take over the integers of a network of the same shapes."""
        for name, arrays in _arrays(network).items():
            for field, array in arrays.items():
                self.parts[name][field].assign(array)

    def call(self, pixels: Tensor) -> Tensor:
        """Pixels to logits."""
        tensors = {"image": ops.take(self.parts["image"]["levels"], ops.cast(pixels, "int32"))}
        halves: dict[str, list[Tensor]] = {}
        for layer in self.spec.layers[1:]:
            x = self._layer(layer, tensors[layer.source.name], tensors)
            if layer.residual is not None:
                x = saturate(x + tensors[layer.residual], ACTIVATION_BITS)
            if layer.target is None:
                tensors[layer.name] = x
                continue
            # The halves of a concatenated tensor come one after the other.
            halves.setdefault(layer.target.name, []).append(x)
            tensors[layer.target.name] = ops.concatenate(halves[layer.target.name], axis=-1)
        return tensors["dense"]

    def _layer(self, layer: LayerShape, x: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        """Output of one layer, before any residual."""
        if layer.kind == "relu":
            return ops.relu(x)
        part = self.parts[layer.name]
        if layer.kind == "fused block":
            return fused_block(part, layer, x, self.predictor_bits)
        if layer.kind == "fused pointwise pair":
            return pointwise_pair(part, layer, x, self.predictor_bits)
        if layer.kind == "scale" and layer.gates is not None:
            gate = tensors[layer.gates.name]
            return saturate(nearest(x * part["weight"] * gate * part["unit"]), ACTIVATION_BITS)
        if layer.kind == "dense":
            return ops.matmul(x[:, 0, 0, :], ops.transpose(part["weight"])) + part["bias"]
        return requantized(part, layer, _sums(part, layer, x, self.spec.stem.stride))


def _sums(part: Part, layer: LayerShape, x: Tensor, stem_stride: int) -> Tensor:
    """Accumulators of a layer that is not fused."""
    if layer.kind == "convolution":
        kernel = ops.transpose(part["weight"], (2, 3, 1, 0))
        return ops.conv(pad(x, kernel.shape[0] // 2), kernel, strides=stem_stride, padding="valid")
    if layer.kind == "pointwise":
        return pointwise(part["weight"], layer.groups, x)
    if layer.kind == "average pool":
        ones = ops.ones((x.shape[-1], SMALL_KERNEL, SMALL_KERNEL), dtype=EXACT)
        return depthwise(ones, layer.stride, x)
    if layer.kind == "depthwise":
        return depthwise(part["weight"], layer.stride, x)
    return ops.sum(x, axis=(1, 2), keepdims=True)


def requantized(part: Part, layer: LayerShape, sums: Tensor) -> Tensor:
    """int8 of accumulators, with the ReLU and the shuffle that the layer may have."""
    out = saturate(nearest((sums + part["bias"]) * part["multiplier"] * part["unit"]), ACTIVATION_BITS)
    out = ops.relu(out) if layer.relu else out
    shuffled = layer.shuffle and layer.kind != "fused pointwise pair"  # a pair's is between its two layers
    return shuffle_channels(out, layer.groups) if shuffled else out


def fused_block(part: Part, layer: LayerShape, x: Tensor, predictor_bits: int = PREDICTOR_INPUT_BITS) -> Tensor:
    """A fused block's output, layer by layer."""
    sums = pointwise(part["predictor_expand_weight"], layer.groups, predictor_input(x, predictor_bits))
    excess = (sums - part["predictor_expand_threshold"]) * part["predictor_level_unit"]
    levels = ops.clip(ceiling(ops.relu(excess)), 0, LEVEL_MAX)
    second = depthwise(part["predictor_depthwise_weight"], layer.stride, levels) > part["predictor_depthwise_threshold"]
    a1 = (pointwise(part["expand_weight"], layer.groups, x) + part["expand_bias"]) * ops.cast(levels > 0, EXACT)
    a2 = (depthwise(part["depthwise_weight"], layer.stride, a1) + part["depthwise_bias"]) * ops.cast(second, EXACT)
    return requantized(part, layer, pointwise(part["project_weight"], layer.groups, a2))


def pointwise_pair(part: Part, layer: LayerShape, x: Tensor, predictor_bits: int = PREDICTOR_INPUT_BITS) -> Tensor:
    """A pair's output, layer by layer."""
    sums = pointwise(part["predictor_expand_weight"], layer.groups, predictor_input(x, predictor_bits))
    survives = ops.cast(sums > part["predictor_expand_threshold"], EXACT)
    a1 = (pointwise(part["expand_weight"], layer.groups, x) + part["expand_bias"]) * survives
    a1 = shuffle_channels(a1, layer.groups) if layer.shuffle else a1
    return requantized(part, layer, pointwise(part["project_weight"], layer.groups, a1))


def predictor_input(x: Tensor, bits: int) -> Tensor:
    """int8 activations to the predictor's inputs."""
    return saturate(nearest(x * 2.0 ** (bits - ACTIVATION_BITS)), bits)


def truncated(x: Tensor) -> Tensor:
    """Integer part. Keras' floor and ceil have 32 bits on JAX, whatever they are given."""
    return ops.cast(ops.cast(x, "int64"), EXACT)


def nearest(x: Tensor) -> Tensor:
    """Nearest integer, halves away from zero."""
    return ops.sign(x) * truncated(ops.abs(x) + 0.5)


def ceiling(x: Tensor) -> Tensor:
    """Least integer that is not less than x, for x from 0 up."""
    whole = truncated(x)
    return whole + ops.cast(x > whole, EXACT)


def saturate(x: Tensor, bits: int) -> Tensor:
    """Clamp to the range of a signed number."""
    low, high = signed_range(bits)
    return ops.clip(x, low, high)


def pointwise(weight: Tensor, groups: int, x: Tensor) -> Tensor:
    """Sums of a grouped 1x1 convolution; weight [K, C / groups]."""
    return multiply_channels(x, block_diagonal(weight, groups))


def depthwise(weight: Tensor, stride: int, x: Tensor) -> Tensor:
    """Sums of a depthwise convolution; weight [C, k, k]."""
    kernel = ops.transpose(weight, (1, 2, 0))[..., None]
    return ops.depthwise_conv(pad(x, weight.shape[1] // 2), kernel, strides=stride, padding="valid")


def _arrays(network: IntegerNetwork) -> dict[str, dict[str, NDArray[np.float64]]]:
    """The integers of all layers as the model holds them."""
    named = {"image": {"levels": network.image_levels.astype(np.float64)}}
    for name, part in network.parts().items():
        named[name] = _fields(part)
    return named


def _fields(part: Any) -> dict[str, NDArray[np.float64]]:
    """The fields of a part, those of its requantisation among them."""
    found: dict[str, NDArray[np.float64]] = {}
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if isinstance(value, Requantization):
            found |= _fields(value)
        elif field.name.endswith("shift"):
            found[field.name.removesuffix("shift") + "unit"] = np.ldexp(1.0, -value.astype(np.int64))
        else:
            found[field.name] = value.astype(np.float64)
    return found
