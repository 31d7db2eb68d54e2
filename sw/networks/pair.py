"""The block whose two pointwise layers are fused, with the depthwise layer behind them."""

from typing import Any

from keras import ops

from sw.networks.block import Block, pointwise_costs
from sw.networks.layers import Depthwise, MaskedLayer, Pointwise
from sw.networks.limits import GATE_SLOPE, share
from sw.networks.predictor import ExpandPredictor, soft_gate
from sw.networks.rounding import straight_through
from sw.spec import PointwisePairSpec

Tensor = Any


class PointwisePairBlock(Block):
    """Expand 1x1, ReLU, shuffle, project 1x1, ReLU, depthwise, then the residual or the shortcut.

    With a predictor, the first ReLU becomes a gate, as in sw.networks.fused; the second one is exact (docs/numerics.md).

    Args:
        spec: shape of the block.
        name: layer name; its three layers are called NAME.expand, NAME.project and NAME.depthwise.
        predicted: with a predictor.
        quantized: with int8 activations, and weights that can be rounded and trained; needs predictors.
    """

    ROUNDED = ("pair",)

    def __init__(self, spec: PointwisePairSpec, name: str, predicted: bool = False, quantized: bool = False) -> None:
        super().__init__(spec, name, quantized)
        self.expand = Pointwise(spec.in_channels, spec.expanded_channels, spec.groups, f"{name}.expand")
        self.project = Pointwise(
            spec.expanded_channels, spec.own_channels, spec.groups, f"{name}.project", shuffles=spec.inner_shuffle
        )
        self.depthwise = Depthwise(spec.own_channels, spec.kernel, spec.stride, f"{name}.depthwise")
        self.finish(ExpandPredictor(spec, name) if predicted else None, predicted or quantized)

    def value_layers(self) -> list[MaskedLayer]:
        """Expand, project and depthwise."""
        return [self.expand, self.project, self.depthwise]

    def freeze_value_path(self) -> None:
        """Freeze all weights and the first BatchNorm."""
        self.expand.freeze()
        self.project.weight.trainable = False
        self.depthwise.weight.trainable = False

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Run the block."""
        x = ops.relu(self.project(self.reached(inputs, training), training=training))
        return self.joined(self.depthwise(self.rounded("pair", x), training=training), inputs)

    def survivor_costs(self) -> Tensor:
        """Products W2*W1 of every expanded channel [E]."""
        return pointwise_costs(self.expand, self.project)

    def drop_biases(self) -> None:
        """Let expand only scale what it sums."""
        self.expand.norm.drop_offset()

    def survivors(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """What passes the first ReLU [N, H, W, E], as booleans: by the predictor if there is one; the second is exact."""
        return (self.expand if self.predictor is None else self.predictor)(inputs) > 0, None

    def reached(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Input of the project layer [N, H, W, E], not shuffled yet."""
        z1 = self.expand(inputs, training=training)
        if self.predictor is None:
            a1 = ops.relu(z1)
            if training:
                self.limit_survivors(share(z1, GATE_SLOPE, self.costs()))
        else:
            excess = self.predictor(inputs, training=training)
            s1 = excess * self.predictor.level()
            if self.output_scale is None:
                a1 = straight_through(ops.where(excess > 0, z1, 0.0), ops.relu(s1))
            else:
                a1 = z1 * soft_gate(s1)
        return a1
