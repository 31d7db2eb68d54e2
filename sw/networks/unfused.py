"""The bottleneck block of a baseline network, layer by layer."""

from typing import Any

from keras import ops

from sw.networks.block import Block
from sw.networks.excitation import Excitation
from sw.networks.layers import Depthwise, MaskedLayer, Pointwise, shuffle_channels
from sw.spec import UnfusedSpec

Tensor = Any


class UnfusedBlock(Block):
    """Pointwise, ReLU, shuffle, depthwise, ReLU, gates, pointwise, shuffle, residual or shortcut, ReLU, as its spec has them.

    Args:
        spec: shape of the block.
        name: layer name; its layers are called NAME.expand, NAME.depthwise, NAME.excitation and NAME.project.
        predicted: the scale of its input is wanted; the block itself predicts nothing.
        quantized: with int8 activations, and weights that can be rounded and trained.
    """

    def __init__(self, spec: UnfusedSpec, name: str, predicted: bool = False, quantized: bool = False) -> None:
        super().__init__(spec, name, quantized)
        expanded, groups = spec.expanded_channels, spec.groups
        self.expand = Pointwise(spec.in_channels, expanded, groups, f"{name}.expand") if spec.expand else None
        self.depthwise = Depthwise(expanded, spec.kernel, spec.stride, f"{name}.depthwise")
        if spec.squeezed_channels is not None:
            self.excitation = Excitation(expanded, spec.squeezed_channels, f"{name}.excitation", quantized)
        self.project = Pointwise(expanded, spec.own_channels, groups, f"{name}.project")
        self.finish(None, predicted or quantized)

    def rounded_parts(self) -> tuple[str, ...]:
        """Outputs of all layers but the last."""
        present = {"expand": self.expand is not None, "depthwise": True, "product": self.excitation is not None}
        return tuple(part for part, there in present.items() if there)

    def value_layers(self) -> list[MaskedLayer]:
        """Expand, if there is one, depthwise and project."""
        layers: list[MaskedLayer] = [self.depthwise, self.project]
        return layers if self.expand is None else [self.expand, *layers]

    def freeze_value_path(self) -> None:
        """Freeze all of it: no mask changes anything here."""
        for layer in self.value_layers():
            layer.freeze()
        if self.excitation is not None:
            self.excitation.trainable = False

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Run the block."""
        spec, x = self.spec, inputs
        if self.expand is not None:
            x = self.rounded("expand", ops.relu(self.expand(x, training=training)))
            if spec.inner_shuffle:
                x = shuffle_channels(x, spec.groups)
        x = self.depthwise(x, training=training)
        x = self.rounded("depthwise", ops.relu(x) if spec.depthwise_relu else x)
        if self.excitation is not None:
            x = self.rounded("product", self.excitation(x))
        x = self.project(x, training=training)
        if spec.shuffle:
            x = shuffle_channels(x, spec.groups)
        x = self.joined(x, inputs)
        return ops.relu(x) if spec.output_relu else x
