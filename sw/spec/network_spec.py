"""Description of a network of bottleneck blocks around fused ones, read from TOML and validated."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hw.contract.errors import ArchonError
from hw.contract.taps import SMALL_KERNEL
from sw.spec.blocks import KINDS, UNFUSED, AnyBlockSpec, BlockSpec, all_fused
from sw.spec.layers import LayerShape, list_layers, reduced
from sw.spec.sections import Dimension, Positive, Section, check_groups, check_inputs, check_window

SPEC_FOLDER = Path(__file__).parent

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]


class StemSpec(Section):
    """First convolution: all input channels to `channels`, then BatchNorm and ReLU."""

    channels: Positive
    kernel: Positive
    stride: Positive

    @model_validator(mode="after")
    def _validate(self) -> Self:
        check_window("stem", self.kernel, self.stride, kernels=(SMALL_KERNEL,))
        return self


class PointwiseSpec(Section):
    """Grouped 1x1 convolution, BatchNorm, ReLU, and a channel shuffle if asked."""

    channels: Positive
    groups: Positive
    shuffle: bool = False


class DepthwiseSpec(Section):
    """Stride-1 depthwise convolution and BatchNorm, without ReLU."""

    kernel: Positive

    @model_validator(mode="after")
    def _validate(self) -> Self:
        check_window("first_depthwise", self.kernel, 1)
        return self


class SparsitySpec(Section):
    """Fraction of zeros after pruning, for pointwise and for depthwise layers.

    `balanced`: a block's expand layer keeps equally many weights of each input channel of a group. The lanes that own these
    channels then have about the same work, and the slowest of them binds.
    """

    pointwise: Fraction
    depthwise: Fraction
    balanced: bool = False


class BlockShape(BaseModel):
    """Spatial size of one block's input and output, in pixels."""

    model_config = ConfigDict(frozen=True)

    in_height: int
    in_width: int
    out_height: int
    out_width: int


class NetworkSpec(Section):
    """A whole network; block i feeds block i+1. Dense layer: last_pointwise channels to classes.

    first_pointwise and first_depthwise stand between stem and blocks; a network has both or neither. Without last_pointwise the
    pool reads what the last block writes.
    """

    name: Annotated[str, Field(min_length=1)]
    height: Dimension
    width: Dimension
    channels: Positive
    classes: Positive
    stem: StemSpec
    first_pointwise: PointwiseSpec | None = None
    first_depthwise: DepthwiseSpec | None = None
    blocks: Annotated[tuple[AnyBlockSpec, ...], Field(min_length=1, strict=False)]
    last_pointwise: PointwiseSpec | None = None
    sparsity: SparsitySpec

    @model_validator(mode="after")
    def _validate(self) -> Self:
        first, last = self.first_pointwise, self.last_pointwise
        if (first is None) != (self.first_depthwise is None):
            raise ValueError("first_pointwise and first_depthwise: expected both or neither, got one")
        if last is not None and last.shuffle:
            raise ValueError("last_pointwise: shuffle must be false, got true")
        channels = self.stem.channels
        if first is not None:
            check_groups("first_pointwise", first.groups, stem_channels=channels, channels=first.channels)
            check_inputs("first_pointwise", first.groups, stem_channels=channels)
            channels = first.channels
        for index, block in enumerate(self.blocks):
            if block.in_channels != channels:
                raise ValueError(
                    f"block {index}: in_channels must be {channels}, the channels of the layer before, got {block.in_channels}"
                )
            channels = block.out_channels
        if last is not None:
            check_groups("last_pointwise", last.groups, in_channels=channels, channels=last.channels)
            check_inputs("last_pointwise", last.groups, in_channels=channels)
        return self

    @property
    def layers(self) -> tuple[LayerShape, ...]:
        """All layers in the order in which they run."""
        return list_layers(self)

    @property
    def fused_blocks(self) -> tuple[BlockSpec, ...]:
        """The blocks of a network that has only fused ones, without squeeze-and-excite.

        Raises:
            ArchonError: it has others.
        """
        blocks = self.blocks
        for index, block in enumerate(blocks, start=1):
            if block.squeeze_and_excite:
                raise ArchonError(f"{self.name}: expected fused blocks only, got squeeze_and_excite in block {index}")
        if not all_fused(blocks):
            index, kind = next((i, block.kind) for i, block in enumerate(blocks, start=1) if block.kind != KINDS[0])
            raise ArchonError(f"{self.name}: expected fused blocks only, got kind {kind} in block {index}")
        return blocks

    @property
    def predicts(self) -> bool:
        """Whether any block is fused, so that ReLUs are predicted."""
        return self.predicting_blocks > 0

    @property
    def predicting_blocks(self) -> int:
        """How many blocks are fused, in whole or as pairs of layers."""
        return sum(block.kind != UNFUSED for block in self.blocks)

    @property
    def front(self) -> tuple[PointwiseSpec, DepthwiseSpec]:
        """The two layers between stem and blocks.

        Raises:
            ArchonError: the network has none.
        """
        if self.first_pointwise is None or self.first_depthwise is None:
            raise ArchonError(f"{self.name}: expected first_pointwise and first_depthwise, got a network without")
        return self.first_pointwise, self.first_depthwise

    @property
    def head(self) -> PointwiseSpec:
        """The layer between blocks and pool.

        Raises:
            ArchonError: the network has none.
        """
        if self.last_pointwise is None:
            raise ArchonError(f"{self.name}: expected last_pointwise, got a network without")
        return self.last_pointwise

    @property
    def pooled_channels(self) -> int:
        """Channels that the pool reads and the dense layer gets."""
        return self.blocks[-1].out_channels if self.last_pointwise is None else self.last_pointwise.channels

    def with_classes(self, classes: int) -> NetworkSpec:
        """The same network with another number of classes, called NAME-CLASSES.

        Raises:
            ArchonError: fewer than one class.
        """
        return parse_spec(self.model_dump() | {"name": f"{self.name}-{classes}", "classes": classes})

    def stem_shape(self) -> tuple[int, int]:
        """Height and width of the stem's output, in pixels."""
        return reduced(self.height, self.stem.stride), reduced(self.width, self.stem.stride)

    def block_shapes(self) -> tuple[BlockShape, ...]:
        """Input and output size of every block ("same" padding: ceil(size / stride))."""
        height, width = self.stem_shape()
        shapes = []
        for block in self.blocks:
            out_height, out_width = reduced(height, block.stride), reduced(width, block.stride)
            shapes.append(BlockShape(in_height=height, in_width=width, out_height=out_height, out_width=out_width))
            height, width = out_height, out_width
        return tuple(shapes)

    def with_balanced_pruning(self) -> Self:
        """The network with blocks pruned evenly over their input channels."""
        return self.model_copy(update={"sparsity": self.sparsity.model_copy(update={"balanced": True})})

    def is_same(self, network: NetworkSpec) -> bool:
        """Whether another description is of this network; how evenly it is pruned does not matter."""
        return network in (self, self.with_balanced_pruning())

    def multiply_accumulates(self) -> int:
        """Dense multiply-accumulates of one inference of one image."""
        return sum(layer.multiply_accumulates for layer in self.layers)

    def parameters(self) -> int:
        """Weights, biases of layers without a BatchNorm, and BatchNorm's four values a channel, as frameworks count them."""
        return sum(layer.weights + layer.biases + 4 * layer.normalised for layer in self.layers)


def known_specs() -> tuple[str, ...]:
    """Names of the networks that come with the package."""
    return tuple(sorted(path.stem for path in SPEC_FOLDER.glob("*.toml")))


def load_spec(name_or_path: str | Path, classes: int | None = None) -> NetworkSpec:
    """Read a network description.

    Args:
        name_or_path: a name out of `known_specs`, or the path of a TOML file.
        classes: how many classes, if others than it says; the network is then called NAME-CLASSES. What else is different
            with so many classes stands in the file's table `with_classes.CLASSES`, section by section.

    Raises:
        ArchonError: unknown name, unreadable TOML, or a description that fails validation.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = SPEC_FOLDER / f"{name_or_path}.toml"
        if str(name_or_path) not in known_specs():
            raise ArchonError(
                f"unknown network {str(name_or_path)!r}: expected one of {', '.join(known_specs())}, "
                "or the path of a .toml file"
            )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ArchonError(f"network description {path} cannot be read: {error}") from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ArchonError(f"network description {path} is not valid TOML: {error}") from error
    return _with_classes(values, classes)


def _with_classes(values: dict[str, Any], classes: int | None) -> NetworkSpec:
    """The network of a file for a number of classes, or as it stands."""
    changes = values.pop("with_classes", {})
    spec = parse_spec(values)
    if classes is None or classes == spec.classes:
        return spec
    changed = {key: values.get(key, {}) | section for key, section in changes.get(str(classes), {}).items()}
    return parse_spec(values | changed).with_classes(classes)


def parse_spec(values: dict[str, Any]) -> NetworkSpec:
    """Validate a description already read into a dictionary; one sentence names the first fault.

    Raises:
        ArchonError: the description fails validation.
    """
    try:
        return NetworkSpec.model_validate(values)
    except ValidationError as error:
        raise ArchonError(f"network description: {_sentence(error)}") from error


def _sentence(error: ValidationError) -> str:
    fault = error.errors()[0]
    # A block's kind, which pydantic puts behind its index, is no part of its place.
    parts = [part for index, part in enumerate(fault["loc"]) if index != 2 or fault["loc"][0] != "blocks"]
    place = ".".join(str(part) for part in parts)
    if fault["type"] == "value_error":
        message = str(fault["ctx"]["error"])
        index = next((part for part in parts if isinstance(part, int)), None)
        return message if index is None else message.replace("block:", f"block {index}:", 1)
    if fault["type"] == "union_tag_invalid":
        return f"{place}.kind: expected one of {', '.join(KINDS)}, got {fault['ctx']['tag']!r}"
    received = "" if fault["type"] == "missing" else f", got {fault['input']!r}"
    return f"{place}: {fault['msg'].lower()}{received}"
