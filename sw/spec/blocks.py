"""The kinds of blocks that a network can be made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeGuard

from pydantic import Discriminator, Tag, model_validator

from sw.spec.sections import LARGEST_DIMENSION, Positive, Section, check_groups, check_inputs, check_window

FUSED, UNFUSED, POINTWISE_PAIR = "fused", "unfused", "pointwise_pair"
KINDS = (FUSED, UNFUSED, POINTWISE_PAIR)


class _Block(Section):
    """What every kind of block has: channels in, expanded (in its middle) and out, window, groups, squeeze-and-excite.

    kernel is that of the depthwise layer, 3 or 5.

    With squeeze_and_excite channels are multiplied by gates that come from their means over all pixels, by way of
    squeezed_channels: those behind the projection in fused blocks, before the residual; those in front of it in unfused ones.
    """

    in_channels: Positive
    expanded_channels: Positive
    out_channels: Positive
    kernel: Positive = 3
    stride: Positive
    groups: Positive
    residual: bool = False
    squeeze_and_excite: bool = False
    squeezed_channels: Positive | None = None

    def _check(self, own_channels: int) -> None:
        """Everything but what only one kind has; own_channels are those that the block's last pointwise layer computes."""
        check_window("block", self.kernel, self.stride)
        self._check_excitation()
        inputs = {"in_channels": self.in_channels, "expanded_channels": self.expanded_channels}
        outputs = "out_channels" if own_channels == self.out_channels else "out_channels without in_channels"
        check_groups("block", self.groups, **inputs, **{outputs: own_channels})
        check_inputs("block", self.groups, **inputs)
        self._check_residual()

    def _check_excitation(self) -> None:
        if self.squeeze_and_excite != (self.squeezed_channels is not None):
            got = f"squeeze_and_excite {str(self.squeeze_and_excite).lower()}, squeezed_channels {self.squeezed_channels}"
            raise ValueError(f"block: squeeze_and_excite goes with squeezed_channels, got {got}")
        if (self.squeezed_channels or 0) > LARGEST_DIMENSION:
            raise ValueError(f"block: squeezed_channels must be at most {LARGEST_DIMENSION}, got {self.squeezed_channels}")

    def _check_residual(self) -> None:
        if self.residual and (self.stride != 1 or self.in_channels != self.out_channels):
            raise ValueError(
                "block: residual needs stride 1 and equal in_channels and out_channels, "
                f"got stride {self.stride}, {self.in_channels} and {self.out_channels}"
            )


class BlockSpec(_Block):
    """Bottleneck block, fused: expand 1x1, depthwise, project 1x1 (linear), shuffle, then gates and residual, if any."""

    kind: Literal["fused"] = "fused"
    residual: bool
    shuffle: bool

    @model_validator(mode="after")
    def _validate(self) -> Self:
        self._check(self.out_channels)
        return self

    @property
    def fused_part(self) -> BlockSpec:
        """What is fused of it: all of it, but for squeeze-and-excite and then the residual behind that."""
        if not self.squeeze_and_excite:
            return self
        return self.model_copy(update={"residual": False, "squeeze_and_excite": False, "squeezed_channels": None})


class _ShortcutBlock(_Block):
    """A block that can have its input, averaged over 3x3 windows with the block's stride, in front of its own channels."""

    average_pool_shortcut: bool = False
    """The output's first in_channels channels are the average-pooled input; the rest come from the block's layers."""

    @property
    def own_channels(self) -> int:
        """Output channels that the block's layers compute."""
        return self.out_channels - self.in_channels if self.average_pool_shortcut else self.out_channels

    def _check_shortcut(self) -> None:
        if not self.average_pool_shortcut:
            return
        if self.residual:
            raise ValueError("block: expected a residual or an average_pool_shortcut, got both")
        if self.own_channels <= 0:
            raise ValueError(
                "block: average_pool_shortcut needs more out_channels than in_channels, "
                f"got {self.out_channels} and {self.in_channels}"
            )


class UnfusedSpec(_ShortcutBlock):
    """Bottleneck block of a baseline network, layer by layer: nothing is predicted.

    Pointwise and ReLU (left out with expand = false), shuffle (inner_shuffle), depthwise with the stride, ReLU
    (depthwise_relu), gates (squeeze_and_excite), linear pointwise, shuffle; then the residual or the shortcut, and a last
    ReLU (output_relu).
    """

    kind: Literal["unfused"]
    expand: bool = True
    inner_shuffle: bool = False
    depthwise_relu: bool = True
    shuffle: bool = False
    output_relu: bool = False

    @model_validator(mode="after")
    def _validate(self) -> Self:
        self._check_shortcut()
        self._check(self.own_channels)
        if not self.expand and self.expanded_channels != self.in_channels:
            raise ValueError(
                "block: without an expand layer expanded_channels must be in_channels, "
                f"got {self.expanded_channels} and {self.in_channels}"
            )
        if self.inner_shuffle and not self.expand:
            raise ValueError("block: inner_shuffle needs an expand layer, got expand = false")
        return self

    @property
    def stays_dense(self) -> bool:
        """Whether pruning leaves it alone: without an expand layer it is a network's first depthwise and pointwise layer."""
        return not self.expand


class PointwisePairSpec(_ShortcutBlock):
    """Pointwise expand, ReLU, shuffle (inner_shuffle), pointwise project, ReLU, depthwise with the stride on the outputs.

    Expand and project are fused; the first ReLU is predicted, the second one exact. Then the residual or the shortcut.
    """

    kind: Literal["pointwise_pair"]
    inner_shuffle: bool = False

    @model_validator(mode="after")
    def _validate(self) -> Self:
        self._check_shortcut()
        self._check(self.own_channels)
        if self.squeeze_and_excite:
            raise ValueError(f"block: squeeze_and_excite is for blocks of kind {FUSED} or {UNFUSED}, got {self.kind}")
        return self


def kind_of(block: object) -> str:
    """The kind that a block's table names; fused where it names none."""
    named = block.get("kind", FUSED) if isinstance(block, Mapping) else getattr(block, "kind", FUSED)
    return str(named)


AnyBlockSpec = Annotated[
    Annotated[BlockSpec, Tag(FUSED)] | Annotated[UnfusedSpec, Tag(UNFUSED)] | Annotated[PointwisePairSpec, Tag(POINTWISE_PAIR)],
    Discriminator(kind_of),
]


def all_fused(blocks: tuple[Any, ...]) -> TypeGuard[tuple[BlockSpec, ...]]:
    """Whether every block is a fused one."""
    return all(isinstance(block, BlockSpec) for block in blocks)


def block_weights(block: BlockSpec) -> tuple[int, int, int]:
    """Number of weights of a fused block's expand, depthwise and project layers."""
    return (
        block.expanded_channels * block.in_channels // block.groups,
        block.expanded_channels * block.kernel**2,
        block.out_channels * block.expanded_channels // block.groups,
    )
