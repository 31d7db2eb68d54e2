"""All layers of a network in the form in which the accelerator runs them."""

from __future__ import annotations

import dataclasses

import numpy as np

from hw.contract.config import ArchonConfig
from hw.contract.taps import SMALL_CENTRE, SMALL_KERNEL, SMALL_TAPS
from sw.bundle.network import DenseLayer, FusedBlock, IntegerNetwork, Part, PointwisePair, Requantization, Scaling
from sw.program.blocks import PlacedBlock
from sw.program.fixed import FixedLayer
from sw.program.image import Layer, MemoryImage, build_image
from sw.program.jobs import Shape
from sw.program.network import dense_layer, depthwise_layer, over_windows, pointwise_layer, pool_layer, scale_layer
from sw.program.pair import PlacedPair
from sw.program.plan import Wiring
from sw.program.raw_image import ImageLayer
from sw.spec import PIXELS, BlockSpec, LayerShape, PointwisePairSpec

INPUT_TENSOR = PIXELS
"""Name of the raw image among the tensors: what the host writes."""


def network_image(network: IntegerNetwork, config: ArchonConfig) -> MemoryImage:
    """The image of all layers of a network, under their names of NetworkSpec.layers.

    Raises:
        ArchonError: a layer does not fit the configuration.
    """
    gated = _gated_layers(network)
    wirings = {layer.name: _wiring(layer, gated.get(layer.name)) for layer in network.spec.layers}
    return build_image(network_layers(network, config), config, INPUT_TENSOR, wirings)


def network_layers(network: IntegerNetwork, config: ArchonConfig) -> list[Layer]:
    """From the windows of the raw image, on which the stem is a pointwise layer, to the dense layer."""
    spec, first = network.spec, network.spec.layers[0]
    image = ImageLayer(first.name, first.source.shape, network.image_levels, spec.stem.stride)
    layers: dict[str, Layer] = {first.name: image}
    layers |= {layer.name: _layer(layer, network, config) for layer in spec.layers[1:]}
    for name, gated in _gated_layers(network).items():
        excite, scale = layers[name], layers[gated.name]
        if isinstance(excite, FixedLayer):
            layers[name] = dataclasses.replace(excite, gate_rows=scale.plan(config).rows)
    return list(layers.values())


def _gated_layers(network: IntegerNetwork) -> dict[str, LayerShape]:
    """By name of a layer that makes gates, the layer that multiplies by them."""
    return {layer.gates.name: layer for layer in network.spec.layers if layer.gates is not None}


def _wiring(layer: LayerShape, gated: LayerShape | None) -> Wiring:
    target = None if layer.target is None else (layer.target.name, layer.target.channels)
    return Wiring(layer.source.name, layer.residual, target, layer.first_channel, None if gated is None else gated.name)


def _layer(layer: LayerShape, network: IntegerNetwork, config: ArchonConfig) -> Layer:
    part, spec, source = network.parts().get(layer.name), layer.block, layer.source
    if isinstance(part, FusedBlock) and isinstance(spec, BlockSpec):
        return PlacedBlock(layer.name, part, spec, source.height, source.width)
    if isinstance(part, PointwisePair) and isinstance(spec, PointwisePairSpec):
        return PlacedPair(layer.name, part, spec, source.height, source.width)
    fixed = _fixed_layer(layer, part, config.lanes)
    groups = tuple(
        dataclasses.replace(group, channels=group.channels + layer.first_channel) for group in fixed.groups
    )  # where halves are concatenated
    return dataclasses.replace(fixed, groups=groups, relu=layer.relu, residual=layer.residual is not None)


def _fixed_layer(layer: LayerShape, part: Part | None, lanes: int) -> FixedLayer:
    """A layer that is not fused, as if it wrote a tensor of its own, without ReLU and residual."""
    shape: Shape = layer.source.shape
    if isinstance(part, Scaling):
        return scale_layer(layer.name, part, shape)
    if isinstance(part, Requantization):
        if layer.kind == "pool":
            return pool_layer(layer.name, part, shape)
        weight = np.ones((shape[0], SMALL_KERNEL, SMALL_KERNEL), dtype=np.int8)
        return depthwise_layer(layer.name, DenseLayer(weight, part), shape, layer.stride)
    if not isinstance(part, DenseLayer):
        return depthwise_layer(layer.name, _identity(shape[0]), shape, layer.stride)
    if layer.kind == "dense":
        return dense_layer(layer.name, part.weight, part.requantization.bias)
    if layer.kind == "depthwise":
        return depthwise_layer(layer.name, part, shape, layer.stride)
    if layer.kind == "convolution":
        # Over the windows that the image unit has written, in which a channel lies behind its tap.
        windows = part.weight.transpose(0, 2, 3, 1).reshape(len(part.weight), -1)
        part = DenseLayer(over_windows(windows, lanes), part.requantization)
    return pointwise_layer(layer.name, part, shape, layer.groups, lanes, shuffle=layer.shuffle)


def _identity(channels: int) -> DenseLayer:
    """A depthwise layer that leaves activations as they are."""
    weight = np.zeros((channels, SMALL_TAPS), dtype=np.int8)
    weight[:, SMALL_CENTRE] = 1
    zeros = np.zeros(channels, dtype=np.int32)
    parts = Requantization(zeros, zeros + 1, zeros.astype(np.int8))
    return DenseLayer(weight.reshape(channels, SMALL_KERNEL, SMALL_KERNEL), parts)
