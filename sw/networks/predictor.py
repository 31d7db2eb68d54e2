"""The mask predictor: a ternary, 4-bit copy of a block's expand and depthwise layers.

Forward values are those of the hardware: with S the integer sum of ternary weights times 4-bit inputs and t the real
threshold of BatchNorm in the same unit, u = S - t, the first output is r1 = min(15, ceil(u / 2**shift)) or 0, and
ceil makes r1 non-zero exactly where the pre-activation is positive. Gradients pass rounding, clipping inside its range
and ternarisation unchanged (straight-through; Olyaiy, Ng, Lis, ICS 2021).
"""

from collections.abc import Callable
from typing import Any

from keras import ops

from hw.contract.numerics import ACTIVATION_BITS, LEVEL_MAX, PREDICTOR_INPUT_BITS, signed_range
from sw.networks.layers import Depthwise, MaskedLayer, Pointwise, linear_statistics, multiply_channels
from sw.networks.limits import GATE_SLOPE, LimitedLayer, share, step
from sw.networks.rounding import round_half_away, straight_through, to_activation
from sw.spec import BlockSpec, PointwisePairSpec

Tensor = Any

TERNARY_THRESHOLD = 0.7
"""Weights of at most this many mean magnitudes become zero."""


def ternarize(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Signs -1, 0, 1 of a layer's weights and their common magnitude alpha.

    Zero where |w| <= 0.7 * mean |w| over the whole tensor; alpha is the mean |w| of the rest.
    """
    magnitude = ops.abs(weight)
    kept = ops.cast(magnitude > TERNARY_THRESHOLD * ops.mean(magnitude), "float32")
    alpha = ops.sum(magnitude * kept) / ops.maximum(ops.sum(kept), 1.0)
    return ops.sign(weight) * kept, alpha


def to_predictor_input(x: Tensor, scale: Tensor, bits: int = PREDICTOR_INPUT_BITS) -> Tensor:
    """Real value to int8 activation, and that to 4 bits, as a float: clip(round(activation / 16), -8, 7)."""
    low, high = signed_range(bits)
    clipped = ops.clip(to_activation(x, scale) * 2.0 ** (bits - ACTIVATION_BITS), low, high)
    return straight_through(round_half_away(clipped), clipped)


class ExpandPredictor(LimitedLayer):
    """Predicts which activations of an expand layer survive its ReLU.

    Args:
        spec: shape of the block.
        name: layer name of the block; the expand layer's copy is NAME.predictor_expand.
    """

    def __init__(self, spec: BlockSpec | PointwisePairSpec, name: str) -> None:
        super().__init__(f"{name}.predictor")
        self.expand = Pointwise(spec.in_channels, spec.expanded_channels, spec.groups, f"{name}.predictor_expand")
        self.input_scale = self.add_weight(shape=(), initializer="ones", name="input_scale", trainable=False)
        self.block_costs: Callable[[], Tensor | None] | None = None
        """The block's survivor_costs, once the predictor is part of one."""
        self.input_bits = PREDICTOR_INPUT_BITS
        """Other ones are for measurements of what these are worth."""
        self.built = True

    def survivor_costs(self) -> Tensor | None:
        """Those of the block whose survivors it predicts."""
        return None if self.block_costs is None else self.block_costs()

    def masked_layers(self) -> list[MaskedLayer]:
        """The predictor's convolutions, in order."""
        return [self.expand]

    def own_variables(self) -> list[Any]:
        """What the predictor has beside its convolutions."""
        return [self.input_scale]

    def input_step(self) -> Tensor:
        """Size of one input level."""
        return 2.0 ** (ACTIVATION_BITS - self.input_bits) * self.input_scale

    def inputs(self, x: Tensor) -> Tensor:
        """Block input [N, H, W, C] as the predictor has it: input levels times their size."""
        return self.input_step() * to_predictor_input(x, self.input_scale, self.input_bits)

    def excess(self, x: Tensor, training: bool = False) -> Tensor:
        """First pre-activation [N, H, W, E] in levels: the integer sum less the real threshold, u, here."""
        quantized = self.inputs(x)
        signs, alpha = ternarize(self.expand.masked())
        matrix = self.expand.matrix(straight_through(alpha * signs, self.expand.masked()))
        norm = self.expand.norm
        if training:
            scale, offset = norm.observed(*linear_statistics(quantized, matrix))
        else:
            scale, offset = norm.folded()
        level = self._level(scale, alpha)
        return multiply_channels(quantized, matrix * (scale / level)) + offset / level

    def level(self) -> Tensor:
        """What one level of the excess is worth as a normalised pre-activation, per channel [E]."""
        return self._level(self.expand.norm.folded()[0], ternarize(self.expand.masked())[1])

    def _level(self, scale: Tensor, alpha: Tensor) -> Tensor:
        return ops.stop_gradient(ops.maximum(ops.abs(scale), 1e-12) * alpha * self.input_step())

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        """Block input to the excess: the ReLU survives where it is positive."""
        excess = self.excess(x, training)
        if training:
            self.limit_survivors(share(excess, costs=self.costs()))
        return excess


class Predictor(ExpandPredictor):
    """Predicts which expanded activations survive the ReLUs behind the expand and the depthwise layer.

    Args:
        spec: shape of the block.
        name: layer name of the block; the parts are NAME.predictor_expand and NAME.predictor_depthwise.
    """

    def __init__(self, spec: BlockSpec, name: str) -> None:
        super().__init__(spec, name)
        channels = spec.expanded_channels
        self.depthwise = Depthwise(channels, spec.kernel, spec.stride, f"{name}.predictor_depthwise")
        self.shift = self.add_weight(shape=(channels,), initializer="zeros", name="shift", trainable=False)

    def masked_layers(self) -> list[MaskedLayer]:
        """The predictor's convolutions, in order."""
        return [self.expand, self.depthwise]

    def own_variables(self) -> list[Any]:
        """What the predictor has beside its convolutions."""
        return [self.input_scale, self.shift]

    def level_sums(self) -> Tensor:
        """Units of the sum in a level of r1 [E]: 2**shift with 4-bit inputs, with others what means the same; at least 1."""
        return ops.maximum(2.0 ** (self.shift + (self.input_bits - PREDICTOR_INPUT_BITS)), 1.0)

    def _level(self, scale: Tensor, alpha: Tensor) -> Tensor:
        return super()._level(scale, alpha) * self.level_sums()

    def levels(self, excess: Tensor) -> Tensor:
        """Excess, in levels of r1, to the 4-bit output r1, 0..15.

        With coarser inputs than usual, where a level may stand for several of the usual ones, in the usual ones.
        """
        clipped = ops.clip(excess, 0, LEVEL_MAX)
        r1 = straight_through(ops.ceil(clipped), clipped)
        if self.input_bits >= PREDICTOR_INPUT_BITS:
            return r1
        return r1 * (self.level_sums() * 2.0 ** (PREDICTOR_INPUT_BITS - self.input_bits - self.shift))

    def call(self, x: Tensor, training: bool = False) -> tuple[Tensor, Tensor]:
        """Block input to (r1, s2): the first ReLU survives where r1 > 0, the second where s2 > 0."""
        excess = self.excess(x, training)
        levels = self.levels(excess)
        signs, alpha = ternarize(self.depthwise.masked())
        weight = straight_through(alpha * signs, self.depthwise.masked())
        if training:
            s2 = self.depthwise.norm(self.depthwise.convolve(levels, weight), training=True)
            costs = self.costs()
            self.limit_survivors(share(excess, costs=costs), share(s2, GATE_SLOPE, costs))
            return levels, s2
        scale, offset = self.depthwise.norm.folded()
        return levels, self.depthwise.convolve(levels, weight * scale[:, None, None]) + offset


def soft_gate(pre_activation: Tensor) -> Tensor:
    """1 where a pre-activation is positive, else 0; backward a sigmoid."""
    return step(pre_activation * GATE_SLOPE)
