"""Description of a network of fusible bottleneck blocks, read from TOML and validated."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hw.contract.errors import ArchonError

SPEC_FOLDER = Path(__file__).parent
SUPPORTED_KERNEL = 3

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _check_window(where: str, kernel: int, stride: int) -> None:
    if kernel == 5:
        raise ValueError(f"{where}: kernel 5 is announced but not supported yet; use kernel 3")
    if kernel != SUPPORTED_KERNEL:
        raise ValueError(f"{where}: kernel must be 3, got {kernel}")
    if stride not in (1, 2):
        raise ValueError(f"{where}: stride must be 1 or 2, got {stride}")


def _check_groups(where: str, groups: int, **channels: int) -> None:
    for noun, count in channels.items():
        if count % groups:
            raise ValueError(f"{where}: {noun} {count} must be divisible by groups {groups}")


class StemSpec(_Section):
    """First convolution: all input channels to `channels`, then BatchNorm and ReLU."""

    channels: Positive
    kernel: Positive
    stride: Positive

    @model_validator(mode="after")
    def _validate(self) -> Self:
        _check_window("stem", self.kernel, self.stride)
        return self


class PointwiseSpec(_Section):
    """Grouped 1x1 convolution, BatchNorm, ReLU, and a channel shuffle if asked."""

    channels: Positive
    groups: Positive
    shuffle: bool = False


class DepthwiseSpec(_Section):
    """Stride-1 depthwise convolution and BatchNorm, without ReLU."""

    kernel: Positive

    @model_validator(mode="after")
    def _validate(self) -> Self:
        _check_window("first_depthwise", self.kernel, 1)
        return self


class BlockSpec(_Section):
    """Bottleneck block: expand 1x1, depthwise, project 1x1 (linear), shuffle, optional residual."""

    in_channels: Positive
    expanded_channels: Positive
    out_channels: Positive
    kernel: Positive
    stride: Positive
    groups: Positive
    residual: bool
    shuffle: bool

    @model_validator(mode="after")
    def _validate(self) -> Self:
        _check_window("block", self.kernel, self.stride)
        _check_groups(
            "block",
            self.groups,
            in_channels=self.in_channels,
            expanded_channels=self.expanded_channels,
            out_channels=self.out_channels,
        )
        if self.residual and (self.stride != 1 or self.in_channels != self.out_channels):
            raise ValueError(
                "block: residual needs stride 1 and equal in_channels and out_channels, "
                f"got stride {self.stride}, {self.in_channels} and {self.out_channels}"
            )
        return self


class SparsitySpec(_Section):
    """Fraction of zeros after pruning, for pointwise and for depthwise layers."""

    pointwise: Fraction
    depthwise: Fraction


class BlockShape(BaseModel):
    """Spatial size of one block's input and output, in pixels."""

    model_config = ConfigDict(frozen=True)

    in_height: int
    in_width: int
    out_height: int
    out_width: int


class NetworkSpec(_Section):
    """A whole network; block i feeds block i+1. Dense layer: last_pointwise channels to classes."""

    name: Annotated[str, Field(min_length=1)]
    height: Positive
    width: Positive
    channels: Positive
    classes: Positive
    stem: StemSpec
    first_pointwise: PointwiseSpec
    first_depthwise: DepthwiseSpec
    blocks: Annotated[tuple[BlockSpec, ...], Field(min_length=1, strict=False)]
    last_pointwise: PointwiseSpec
    sparsity: SparsitySpec

    @model_validator(mode="after")
    def _validate(self) -> Self:
        first, last = self.first_pointwise, self.last_pointwise
        if last.shuffle:
            raise ValueError("last_pointwise: shuffle must be false, got true")
        _check_groups("first_pointwise", first.groups, stem_channels=self.stem.channels, channels=first.channels)
        channels = first.channels
        for index, block in enumerate(self.blocks):
            if block.in_channels != channels:
                raise ValueError(
                    f"block {index}: in_channels must be {channels}, the channels of the layer before, got {block.in_channels}"
                )
            channels = block.out_channels
        _check_groups("last_pointwise", last.groups, in_channels=channels, channels=last.channels)
        return self

    def stem_shape(self) -> tuple[int, int]:
        """Height and width of the stem's output, in pixels."""
        return _reduced(self.height, self.stem.stride), _reduced(self.width, self.stem.stride)

    def block_shapes(self) -> tuple[BlockShape, ...]:
        """Input and output size of every block ("same" padding: ceil(size / stride))."""
        height, width = self.stem_shape()
        shapes = []
        for block in self.blocks:
            out_height, out_width = _reduced(height, block.stride), _reduced(width, block.stride)
            shapes.append(BlockShape(in_height=height, in_width=width, out_height=out_height, out_width=out_width))
            height, width = out_height, out_width
        return tuple(shapes)

    def multiply_accumulates(self) -> int:
        """Dense multiply-accumulates of one inference of one image."""
        stem_pixels = self.stem_shape()[0] * self.stem_shape()[1]
        total = stem_pixels * sum(self._front_weights())
        for block, shape in zip(self.blocks, self.block_shapes(), strict=True):
            expand, depthwise, project = block_weights(block)
            in_pixels = shape.in_height * shape.in_width
            out_pixels = shape.out_height * shape.out_width
            total += in_pixels * expand + out_pixels * (depthwise + project)
        last_pixels = self.block_shapes()[-1].out_height * self.block_shapes()[-1].out_width
        return total + last_pixels * self._last_weights() + self.last_pointwise.channels * self.classes

    def parameters(self) -> int:
        """Weights, biases of the dense layer, and BatchNorm's four values a channel, as frameworks count them."""
        weights = sum(self._front_weights()) + self._last_weights()
        normalised = self.stem.channels + 2 * self.first_pointwise.channels + self.last_pointwise.channels
        for block in self.blocks:
            weights += sum(block_weights(block))
            normalised += 2 * block.expanded_channels + block.out_channels
        return weights + 4 * normalised + (self.last_pointwise.channels + 1) * self.classes

    def _front_weights(self) -> tuple[int, int, int]:
        stem, first = self.stem, self.first_pointwise
        return (
            stem.channels * self.channels * stem.kernel**2,
            first.channels * stem.channels // first.groups,
            first.channels * self.first_depthwise.kernel**2,
        )

    def _last_weights(self) -> int:
        last = self.last_pointwise
        return last.channels * self.blocks[-1].out_channels // last.groups


def _reduced(size: int, stride: int) -> int:
    return -(-size // stride)


def block_weights(block: BlockSpec) -> tuple[int, int, int]:
    """Number of weights of a block's expand, depthwise and project layers."""
    return (
        block.expanded_channels * block.in_channels // block.groups,
        block.expanded_channels * block.kernel**2,
        block.out_channels * block.expanded_channels // block.groups,
    )


def known_specs() -> tuple[str, ...]:
    """Names of the networks that come with the package."""
    return tuple(sorted(path.stem for path in SPEC_FOLDER.glob("*.toml")))


def load_spec(name_or_path: str | Path) -> NetworkSpec:
    """Read a network description.

    Args:
        name_or_path: a name out of `known_specs`, or the path of a TOML file.

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
        return parse_spec(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ArchonError(f"network description {path} is not valid TOML: {error}") from error


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
    place = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "value_error":
        message = str(fault["ctx"]["error"])
        index = next((part for part in fault["loc"] if isinstance(part, int)), None)
        return message if index is None else message.replace("block:", f"block {index}:", 1)
    received = "" if fault["type"] == "missing" else f", got {fault['input']!r}"
    return f"{place}: {fault['msg'].lower()}{received}"
