"""The fusible bottleneck block."""

from collections.abc import Callable
from typing import Any

from keras import ops

from hw.contract.errors import ArchonError
from sw.networks.block import Block, pointwise_costs
from sw.networks.excitation import Excitation
from sw.networks.layers import Depthwise, MaskedLayer, Pointwise, shuffle_channels
from sw.networks.limits import GATE_SLOPE, share
from sw.networks.predictor import Predictor, soft_gate
from sw.networks.rounding import straight_through
from sw.spec import BlockSpec

Tensor = Any
Kernel = Callable[["FusedBlock", Tensor, bool], Tensor]
"""A block's inputs, and whether it is being trained, to the sums of its project layer; updates norms as the layers do."""


class FusedBlock(Block):
    """Expand 1x1, ReLU, depthwise, ReLU, project 1x1, shuffle, then gates and the residual if the block has them.

    With a predictor, each ReLU becomes a gate: what the predictor says survives passes as it is, the rest is zero. With a
    frozen value path the gradient goes to the predictor alone, as if the predictor's relu(s2) were the activation; where
    the value path is quantised and trained too, the gradient is that of the product of value and gate.

    Args:
        spec: shape of the block.
        name: layer name; its three layers are called NAME.expand, NAME.depthwise and NAME.project.
        predicted: with a predictor.
        quantized: with int8 activations and a value path whose weights can be rounded and trained; needs predictors.
    """

    def __init__(self, spec: BlockSpec, name: str, predicted: bool = False, quantized: bool = False) -> None:
        super().__init__(spec, name, quantized)
        self.expand = Pointwise(spec.in_channels, spec.expanded_channels, spec.groups, f"{name}.expand")
        self.depthwise = Depthwise(spec.expanded_channels, spec.kernel, spec.stride, f"{name}.depthwise")
        self.project = Pointwise(spec.expanded_channels, spec.out_channels, spec.groups, f"{name}.project")
        if spec.squeezed_channels is not None:
            self.excitation = Excitation(spec.out_channels, spec.squeezed_channels, f"{name}.excitation", quantized)
        self.kernel: Kernel | None = None
        self.finish(Predictor(spec, name) if predicted else None, predicted or quantized)

    def rounded_parts(self) -> tuple[str, ...]:
        """The block's output before the gates, if there are any."""
        return () if self.excitation is None else ("fused",)

    def value_layers(self) -> list[MaskedLayer]:
        """Expand, depthwise and project."""
        return [self.expand, self.depthwise, self.project]

    def freeze_value_path(self) -> None:
        """Freeze all weights and the first two BatchNorms."""
        self.expand.freeze()
        self.depthwise.freeze()
        self.project.weight.trainable = False

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Run the block."""
        if self.kernel is not None:
            x = self.project.norm(self.kernel(self, inputs, training), training=training)
        else:
            x = self.project(self.reached(inputs, training), training=training)
        if self.spec.shuffle:
            x = shuffle_channels(x, self.spec.groups)
        if self.excitation is not None:
            x = self.excitation(self.rounded("fused", x))
        return self.joined(x, inputs)

    def reached(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Input of the project layer [N, H', W', E]."""
        if self.predictor is not None:
            return self.gated(inputs, training)
        z1 = self.expand(inputs, training=training)
        z2 = self.depthwise(ops.relu(z1), training=training)
        if training:
            costs = self.costs()
            self.limit_survivors(share(z1, GATE_SLOPE, costs), share(z2, GATE_SLOPE, costs))
        return ops.relu(z2)

    def survivor_costs(self) -> Tensor:
        """Products W2*D*W1 of every expanded channel [E]."""
        return ops.sum(self.depthwise.mask, axis=(1, 2)) * pointwise_costs(self.expand, self.project)

    def drop_biases(self) -> None:
        """Let expand and depthwise only scale what they sum."""
        self.expand.norm.drop_offset()
        self.depthwise.norm.drop_offset()

    def survivors(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """What passes the two ReLUs [N, H, W, E] and [N, H', W', E], as booleans: by the predictor if there is one."""
        if self.predictor is not None:
            r1, s2 = self.predictor(inputs)
            return r1 > 0, s2 > 0
        z1 = self.expand(inputs)
        return z1 > 0, self.depthwise(ops.relu(z1)) > 0

    def gated(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Input of the project layer [N, H', W', E] behind both gates."""
        if self.predictor is None:
            raise ArchonError(f"{self.label}: gates need a predictor, this block has none")
        r1, s2 = self.predictor(inputs, training=training)
        z1 = self.expand(inputs, training=training)
        a1 = ops.where(r1 > 0, z1, 0.0)
        z2 = self.depthwise(a1, training=training)
        if self.output_scale is None:
            return straight_through(ops.where(s2 > 0, z2, 0.0), ops.relu(s2))
        return z2 * soft_gate(s2)
