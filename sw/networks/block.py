"""What blocks of every kind have in common."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from keras import ops

from sw.networks.excitation import Excitation
from sw.networks.layers import MaskedLayer, Pointwise, average_pool
from sw.networks.limits import LimitedLayer
from sw.networks.predictor import ExpandPredictor
from sw.networks.rounding import quantize_activation
from sw.spec import AnyBlockSpec, BlockSpec

Tensor = Any
Recorder = Callable[[str, Tensor], None]


def pointwise_costs(expand: Pointwise, project: Pointwise) -> Tensor:
    """For every channel between two layers [E], how many weights it has in the first one, times those in the second one."""
    return ops.sum(expand.mask, axis=1) * ops.sum(project.matrix(project.mask), axis=1)


class Block(LimitedLayer):
    """A block [N, H, W, C] to [N, ceil(H / stride), ceil(W / stride), K].

    A quantised block has int8 activations wherever the integer network has them; their scales are called as the layers that
    write them (sw.spec.layers). Its input is rounded already: by the block before, or by the network.

    Args:
        spec: shape of the block.
        name: layer name; its layers are called NAME.expand and so on.
        quantized: with int8 activations, and weights that can be rounded and trained.
    """

    ROUNDED: tuple[str, ...] = ()
    """Tensors within the block that are int8 in the integer network."""

    def __init__(self, spec: AnyBlockSpec, name: str, quantized: bool = False) -> None:
        super().__init__(name)
        self.spec: Any = spec
        self.predictor: Any = None
        self.excitation: Excitation | None = None
        self.recorder: Recorder | None = None
        self.output_scale: Any = None
        self.scales: dict[str, Any] = {}
        if quantized:
            self.output_scale = self._scale("output_scale")

    def finish(self, predictor: ExpandPredictor | None, scaled: bool) -> None:
        """Add the predictor, or what else knows the input's scale, once the block's own layers are there.

        Args:
            predictor: of the block, if it has one.
            scaled: the scale of the input is wanted.
        """
        self.predictor = predictor
        if predictor is not None:
            predictor.block_costs = self.survivor_costs
        self._input_scale = self._scale("input_scale") if scaled and predictor is None else None
        if self.output_scale is not None:
            self.scales = {part: self._scale(f"{part}_scale") for part in self.rounded_parts()}
            for layer in self.value_layers():
                layer.enable_rounding()
        self.built = True

    def rounded_parts(self) -> tuple[str, ...]:
        """Tensors within the block that are int8 in the integer network."""
        return self.ROUNDED

    @property
    def input_scale(self) -> Any:
        """Variable that holds the scale of the int8 input."""
        return self._input_scale if self.predictor is None else self.predictor.input_scale

    @abstractmethod
    def value_layers(self) -> list[MaskedLayer]:
        """The convolutions that compute the output, in order."""

    @abstractmethod
    def freeze_value_path(self) -> None:
        """Freeze all but the predictor and the BatchNorms that its masks change."""

    def drop_biases(self) -> None:
        """Let the layers that are fused have no biases, b1 and b2 of docs/numerics.md, from now on."""

    def survivors(self, inputs: Tensor) -> tuple[Tensor, Tensor | None] | None:  # noqa: ARG002 (fused blocks need it)
        """What passes the first and the second ReLU that a predictor predicts, or would, as booleans; None: not predicted."""
        return None

    def masked_layers(self) -> list[MaskedLayer]:
        """The block's convolutions, in order; the predictor's last."""
        layers = self.value_layers()
        return layers if self.predictor is None else [*layers, *self.predictor.masked_layers()]

    def named_variables(self) -> dict[str, Any]:
        """Variables beside those of the convolutions, by name."""
        named: dict[str, Any] = {}
        if self.output_scale is not None:
            named["output_scale"] = self.output_scale
            named |= {f"{part}_scale": scale for part, scale in self.scales.items()}
        if self._input_scale is not None:
            named["input_scale"] = self._input_scale
        if self.predictor is not None:
            named |= {f"predictor.{variable.name}": variable for variable in self.predictor.own_variables()}
        if self.excitation is not None:
            named |= {f"excitation.{variable.name}": variable for variable in self.excitation.variables}
        return {f"{self.label}.{name}": variable for name, variable in named.items()}

    def rounded(self, part: str, x: Tensor) -> Tensor:
        """A tensor within the block as the integer network has it; recorded if someone asks for it."""
        if self.recorder is not None:
            self.recorder(part, x)
        return quantize_activation(x, self.scales[part]) if part in self.scales else x

    def rounded_output(self, x: Tensor) -> Tensor:
        """What the block writes, as int8 if it is quantised."""
        return x if self.output_scale is None else quantize_activation(x, self.output_scale)

    def joined(self, y: Tensor, inputs: Tensor) -> Tensor:
        """What the block's layers computed, with the residual or behind the average-pooled input, if there is either."""
        y = self.rounded_output(y)
        if self.spec.residual:
            return self.rounded_output(y + inputs)
        if isinstance(self.spec, BlockSpec) or not self.spec.average_pool_shortcut:
            return y
        pooled = self.rounded_output(average_pool(inputs, self.spec.stride))
        return ops.concatenate([pooled, y], axis=-1)

    def _scale(self, name: str) -> Any:
        return self.add_weight(shape=(), initializer="ones", name=name, trainable=False)
