"""A network's layers in the order in which they run: names, shapes, weights, and the tensors that they read and write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from hw.contract.taps import SMALL_KERNEL, SMALL_TAPS
from sw.spec.blocks import BlockSpec, PointwisePairSpec, UnfusedSpec, block_weights

if TYPE_CHECKING:
    from sw.spec.network_spec import NetworkSpec

Kind = Literal[
    "convolution",
    "pointwise",
    "depthwise",
    "fused block",
    "fused pointwise pair",
    "average pool",
    "relu",
    "scale",
    "pool",
    "dense",
    "image",
]

PIXELS = "pixels"
"""The tensor that the first layer reads: the raw image."""

Block = BlockSpec | UnfusedSpec | PointwisePairSpec


class TensorShape(NamedTuple):
    """A tensor's name, channels, height and width."""

    name: str
    channels: int
    height: int
    width: int

    @property
    def pixels(self) -> int:
        """Of one channel."""
        return self.height * self.width

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return self.channels, self.height, self.width


@dataclass(frozen=True)
class LayerShape:
    """One layer: what it computes, from which tensor, into which.

    Args:
        name: As in reports: "image", "stem", ..., "block 3", or "block 3 expand" of a block that is several layers.
        kind: What it computes.
        source: What it reads.
        output: Its output under its own name.
        groups: Of input and output channels.
        stride: 1 or 2.
        relu: Negative outputs become 0, before a residual is added.
        shuffle: Output channel k of group g becomes channel k G + g.
        residual: Name of the tensor that is added to the output, if any.
        target: The tensor that the output is part of: the output itself, unless halves are concatenated.
        first_channel: Where in the target the output begins.
        block: The block that it is, or is part of.
        kernel: Rows and columns of its window, which a depthwise layer or the depthwise layer in a fused block has.
        weights: How many it has.
        multiply_accumulates: Of one image, every weight counted; a block's as if its layers were not fused.
        normalised: Channels with a BatchNorm.
        biases: Of channels without one.
        gates: Tensor (channels, 1, 1) by which a layer of kind scale multiplies its channels.
    """

    name: str
    kind: Kind
    source: TensorShape
    output: TensorShape
    groups: int = 1
    stride: int = 1
    relu: bool = False
    shuffle: bool = False
    residual: str | None = None
    target: TensorShape | None = None
    first_channel: int = 0
    block: Block | None = None
    kernel: int = 1
    weights: int = 0
    multiply_accumulates: int = 0
    normalised: int = 0
    biases: int = 0
    gates: TensorShape | None = None

    @property
    def written(self) -> TensorShape:
        """The whole tensor that the output is, or is part of: what later layers read."""
        return self.target or self.output

    @property
    def weight_pixels(self) -> dict[str, int]:
        """At how many pixels of an image each of its weight tensors is applied, by the tensor's name among its integers."""
        inside, outside = self.source.pixels, self.output.pixels
        if self.kind == "fused block":
            return {"expand_weight": inside, "depthwise_weight": outside, "project_weight": outside}
        if self.kind == "fused pointwise pair":
            return {"expand_weight": outside, "project_weight": outside}
        return {"weight": outside} if self.multiply_accumulates else {}


def list_layers(spec: NetworkSpec) -> tuple[LayerShape, ...]:
    """All layers of a network."""
    return tuple(_layers(spec))


def reduced(size: int, stride: int) -> int:
    """Output rows or columns of a "same" window."""
    return -(-size // stride)


def _layers(spec: NetworkSpec) -> Iterator[LayerShape]:
    pixels = TensorShape(PIXELS, spec.channels, spec.height, spec.width)
    stride, channels = spec.stem.stride, spec.stem.channels
    windows = TensorShape("image", SMALL_TAPS * spec.channels, reduced(spec.height, stride), reduced(spec.width, stride))
    yield LayerShape("image", "image", pixels, windows, stride=stride)
    yield _pointwise("stem", windows, channels, 1, relu=True, kind="convolution")
    x = windows._replace(name="stem", channels=channels)
    if spec.first_pointwise is not None and spec.first_depthwise is not None:
        first = spec.first_pointwise
        layer = _pointwise("first_pointwise", x, first.channels, first.groups, relu=True, shuffle=first.shuffle)
        yield layer
        layer = _depthwise("first_depthwise", layer.output, 1, spec.first_depthwise.kernel)
        yield layer
        x = layer.output
    for index, block in enumerate(spec.blocks, start=1):
        for layer in _block_layers(f"block {index}", block, x):
            yield layer
            after = layer.written
        x = after
    last = spec.last_pointwise
    if last is not None:
        layer = _pointwise("last_pointwise", x, last.channels, last.groups, relu=True)
        yield layer
        x = layer.output
    pooled = TensorShape("pool", x.channels, 1, 1)
    yield LayerShape("pool", "pool", x, pooled)
    weights = x.channels * spec.classes
    logits = TensorShape("dense", spec.classes, 1, 1)
    yield LayerShape("dense", "dense", pooled, logits, weights=weights, multiply_accumulates=weights, biases=spec.classes)


def _block_layers(name: str, block: Block, x: TensorShape) -> Iterator[LayerShape]:
    """The layers of one block; the last one's written tensor is the block's output."""
    if isinstance(block, BlockSpec):
        yield from _fused_layers(name, block, x)
        return
    whole = None
    if block.average_pool_shortcut:
        size = (reduced(size, block.stride) for size in (x.height, x.width))
        whole = TensorShape(name, block.out_channels, *size)
        pooled = whole._replace(name=f"{name} shortcut", channels=x.channels)
        yield LayerShape(
            pooled.name, "average pool", x, pooled, stride=block.stride, relu=_ends_in_relu(block), target=whole, block=block,
            kernel=SMALL_KERNEL,
        )  # fmt: skip
    first_channel = block.out_channels - block.own_channels
    residual = x.name if block.residual else None
    if isinstance(block, PointwisePairSpec):
        pair = _pair(f"{name} pair", block, x)
        yield pair
        yield _depthwise(
            f"{name} depthwise", pair.output, block.stride, block.kernel, False, residual, whole, first_channel, block
        )
        return
    middle = x
    if block.expand:
        expand = _pointwise(
            f"{name} expand", x, block.expanded_channels, block.groups, relu=True, shuffle=block.inner_shuffle, block=block
        )
        yield expand
        middle = expand.output
    filtered = _depthwise(f"{name} depthwise", middle, block.stride, block.kernel, block.depthwise_relu, block=block)
    yield filtered
    middle = filtered.output
    if block.squeezed_channels is not None:
        excitation = _excitation(name, middle, block.squeezed_channels, block, None)
        yield from excitation
        middle = excitation[-1].output
    project = _pointwise(
        f"{name} project", middle, block.own_channels, block.groups, relu=_ends_in_relu(block) and residual is None,
        shuffle=block.shuffle, residual=residual, target=whole, first_channel=first_channel, block=block,
    )  # fmt: skip
    yield project
    if residual is not None and block.output_relu:
        output = project.output._replace(name=f"{name} relu")
        yield LayerShape(output.name, "relu", project.output, output, relu=True, block=block)


def _ends_in_relu(block: UnfusedSpec | PointwisePairSpec) -> bool:
    return isinstance(block, UnfusedSpec) and block.output_relu


def _fused_layers(name: str, block: BlockSpec, x: TensorShape) -> Iterator[LayerShape]:
    if block.squeezed_channels is None:
        yield _fused(name, block, x)
        return
    fused = _fused(f"{name} fused", block.fused_part, x)
    yield fused
    yield from _excitation(name, fused.output, block.squeezed_channels, block, x.name if block.residual else None)


def _excitation(name: str, x: TensorShape, squeezed: int, block: Block, residual: str | None) -> list[LayerShape]:
    """Squeeze-and-excite: means of the channels, two pointwise layers that make gates of them, and the multiplication."""
    means = x._replace(name=f"{name} squeeze", height=1, width=1)
    reduce, excite = means._replace(name=f"{name} reduce", channels=squeezed), means._replace(name=f"{name} excite")
    scaled, weights = x._replace(name=f"{name} scale"), x.channels * squeezed
    return [
        LayerShape(means.name, "pool", x, means, block=block),
        *(
            LayerShape(
                output.name, "pointwise", source, output, relu=True, block=block,
                weights=weights, multiply_accumulates=weights, biases=output.channels,
            )
            for source, output in ((means, reduce), (reduce, excite))
        ),
        LayerShape(
            scaled.name, "scale", x, scaled, residual=residual, block=block,
            multiply_accumulates=x.channels * x.pixels, gates=excite,
        ),
    ]  # fmt: skip


def _pointwise(
    name: str, x: TensorShape, channels: int, groups: int, *, relu: bool, shuffle: bool = False, residual: str | None = None,
    target: TensorShape | None = None, first_channel: int = 0, block: Block | None = None, kind: Kind = "pointwise",
) -> LayerShape:  # fmt: skip
    output, weights = x._replace(name=name, channels=channels), channels * x.channels // groups
    return LayerShape(
        name, kind, x, output, groups, 1, relu, shuffle, residual, target, first_channel, block,
        weights=weights, multiply_accumulates=weights * x.pixels, normalised=channels,
    )  # fmt: skip


def _depthwise(
    name: str, x: TensorShape, stride: int, kernel: int, relu: bool = False, residual: str | None = None,
    target: TensorShape | None = None, first_channel: int = 0, block: Block | None = None,
) -> LayerShape:  # fmt: skip
    output = TensorShape(name, x.channels, reduced(x.height, stride), reduced(x.width, stride))
    weights = kernel**2 * x.channels
    return LayerShape(
        name, "depthwise", x, output, 1, stride, relu, False, residual, target, first_channel, block, kernel,
        weights=weights, multiply_accumulates=weights * output.pixels, normalised=x.channels,
    )  # fmt: skip


def _fused(name: str, block: BlockSpec, x: TensorShape) -> LayerShape:
    output = TensorShape(name, block.out_channels, reduced(x.height, block.stride), reduced(x.width, block.stride))
    expand, depthwise, project = block_weights(block)
    return LayerShape(
        name, "fused block", x, output, block.groups, block.stride, shuffle=block.shuffle,
        residual=x.name if block.residual else None, block=block, kernel=block.kernel, weights=expand + depthwise + project,
        multiply_accumulates=expand * x.pixels + (depthwise + project) * output.pixels,
        normalised=2 * block.expanded_channels + block.out_channels,
    )  # fmt: skip


def _pair(name: str, block: PointwisePairSpec, x: TensorShape) -> LayerShape:
    output = x._replace(name=name, channels=block.own_channels)
    weights = block.expanded_channels * (block.in_channels + block.own_channels) // block.groups
    return LayerShape(
        name, "fused pointwise pair", x, output, block.groups, relu=True, shuffle=block.inner_shuffle, block=block,
        weights=weights, multiply_accumulates=weights * x.pixels, normalised=block.expanded_channels + block.own_channels,
    )  # fmt: skip
