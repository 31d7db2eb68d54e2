"""The integer network: everything that the golden model and the accelerator need, as checked numpy arrays.

Symbols as in docs/numerics.md: C, E, K input, expanded and output channels, G groups; E rows are group-major (group g owns
rows g * E/G and on), so do K rows before the shuffle.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.contract.errors import ArchonError
from hw.contract.memory import IMAGE_LEVELS
from sw.bundle.blocks import ExcitedBlock, PointwisePair, PointwisePairBlock, UnfusedBlock
from sw.bundle.parts import DenseLayer, Excitation, FusedBlock, Requantization, Scaling, expect_array
from sw.spec import BlockSpec, Kind, NetworkSpec, PointwisePairSpec, UnfusedSpec

__all__ = [
    "AnyBlock",
    "DenseLayer",
    "Excitation",
    "ExcitedBlock",
    "FusedBlock",
    "IntegerNetwork",
    "Part",
    "PointwisePair",
    "PointwisePairBlock",
    "Requantization",
    "Scaling",
    "UnfusedBlock",
]

AnyBlock = FusedBlock | ExcitedBlock | UnfusedBlock | PointwisePairBlock
AnySpec = BlockSpec | UnfusedSpec | PointwisePairSpec
Part = DenseLayer | FusedBlock | PointwisePair | Requantization | Scaling

PART_OF_KIND: dict[Kind, type[Part]] = {
    "convolution": DenseLayer,
    "pointwise": DenseLayer,
    "depthwise": DenseLayer,
    "fused block": FusedBlock,
    "fused pointwise pair": PointwisePair,
    "average pool": Requantization,
    "scale": Scaling,
    "pool": Requantization,
}
"""What the integers of a layer are; layers of other kinds have none, but for the dense layer."""


@dataclass(frozen=True)
class IntegerNetwork:
    """A whole network in integers, with where it came from."""

    spec: NetworkSpec
    image_levels: NDArray[np.int8]
    """(256,): activation of a pixel value."""
    stem: DenseLayer
    """weight (C, 3, k, k)."""
    first_pointwise: DenseLayer | None
    """weight (C, C/G); none where the network has no such layer."""
    first_depthwise: DenseLayer | None
    """weight (C, k, k); likewise."""
    blocks: tuple[AnyBlock, ...]
    last_pointwise: DenseLayer | None
    """weight (L, K/G); none where the network has no such layer, and L is K."""
    pool: Requantization
    """(L,): of the sum over all pixels."""
    dense_weight: NDArray[np.int8]
    """(classes, L)."""
    dense_bias: NDArray[np.int32]
    """(classes,): logits = weight @ pooled + bias, int32."""
    provenance: dict[str, str] = field(default_factory=dict)
    """How it was made: weights (random or trained), seed, command, measured accuracy and its conditions."""

    @property
    def fused_blocks(self) -> tuple[FusedBlock, ...]:
        """The blocks that are fused."""
        return tuple(block for block in self.blocks if isinstance(block, FusedBlock))

    @property
    def dense(self) -> DenseLayer:
        """The dense layer; its sums are kept as they are."""
        classes = len(self.dense_bias)
        kept = Requantization(self.dense_bias, np.ones(classes, dtype=np.int32), np.zeros(classes, dtype=np.int8))
        return DenseLayer(self.dense_weight, kept)

    def parts(self) -> dict[str, Part]:
        """Layer name (as in NetworkSpec.layers) to its integers, in order."""
        named: dict[str, Part | None] = {
            "stem": self.stem, "first_pointwise": self.first_pointwise, "first_depthwise": self.first_depthwise
        }  # fmt: skip
        for index, block in enumerate(self.blocks, start=1):
            name = f"block {index}"
            if isinstance(block, FusedBlock):
                named[name] = block
                continue
            named |= {f"{name} {part}": layer for part, layer in _members(block).items()}
        named |= {"last_pointwise": self.last_pointwise, "pool": self.pool, "dense": self.dense}
        return {name: part for name, part in named.items() if part is not None}

    def check(self) -> None:
        """Raise ArchonError, naming layer and array, unless every array fits the specification."""
        spec, pooled = self.spec, self.spec.pooled_channels
        expect_array("image_levels", self.image_levels, np.int8, (IMAGE_LEVELS,))
        self.stem.check("stem", (spec.stem.channels, spec.channels, spec.stem.kernel, spec.stem.kernel))
        self._check_front()
        if len(self.blocks) != len(spec.blocks):
            raise ArchonError(f"{spec.name}: expected {len(spec.blocks)} blocks, got {len(self.blocks)}")
        for index, (block, block_spec) in enumerate(zip(self.blocks, spec.blocks, strict=True), start=1):
            check_block(f"block {index}", block, block_spec)
        self._check_last_pointwise()
        self.pool.check("pool", pooled)
        expect_array("dense.weight", self.dense_weight, np.int8, (spec.classes, pooled))
        expect_array("dense.bias", self.dense_bias, np.int32, (spec.classes,))

    def _check_front(self) -> None:
        spec, layers = self.spec, (self.first_pointwise, self.first_depthwise)
        if spec.first_pointwise is None or spec.first_depthwise is None:
            if layers != (None, None):
                raise ArchonError(f"{spec.name}: expected no layers between stem and blocks, got some")
            return
        first, kernel = spec.first_pointwise, spec.first_depthwise.kernel
        shapes = (first.channels, spec.stem.channels // first.groups), (first.channels, kernel, kernel)
        for name, layer, shape in zip(("first_pointwise", "first_depthwise"), layers, shapes, strict=True):
            if layer is None:
                raise ArchonError(f"{name}: expected a layer, got none")
            layer.check(name, shape)

    def _check_last_pointwise(self) -> None:
        spec, layer = self.spec.last_pointwise, self.last_pointwise
        if (layer is None) != (spec is None):
            wanted, got = ("none" if item is None else "a layer" for item in (spec, layer))
            raise ArchonError(f"last_pointwise: expected {wanted}, got {got}")
        if layer is not None and spec is not None:
            layer.check("last_pointwise", (spec.channels, self.spec.blocks[-1].out_channels // spec.groups))

    def replaced(self, **changes: object) -> IntegerNetwork:
        """A copy with some members replaced."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


def check_block(name: str, block: AnyBlock, spec: AnySpec) -> None:
    """Raise ArchonError, naming the array, unless a block is of its specification's kind and fits it."""
    if isinstance(spec, BlockSpec):
        if not isinstance(block, ExcitedBlock if spec.squeeze_and_excite else FusedBlock):
            gates = " with squeeze_and_excite" if spec.squeeze_and_excite else ""
            raise ArchonError(f"{name}: expected a block of kind {spec.kind}{gates}, got {type(block).__name__}")
        block.check(name, spec)
        return
    if isinstance(block, UnfusedBlock) and isinstance(spec, UnfusedSpec):
        optional = {
            "expand": (block.expand is not None, spec.expand),
            "excitation": (block.excitation is not None, spec.squeeze_and_excite),
        }
        block.check(name, spec)
    elif isinstance(block, PointwisePairBlock) and isinstance(spec, PointwisePairSpec):
        optional = {}
        block.check(name, spec)
    else:
        raise ArchonError(f"{name}: expected a block of kind {spec.kind}, got {type(block).__name__}")
    optional["shortcut"] = (block.shortcut is not None, spec.average_pool_shortcut)
    for part, (there, wanted) in optional.items():
        if there != wanted:
            raise ArchonError(f"{name}.{part}: expected {'one' if wanted else 'none'}, got {'one' if there else 'none'}")


def assembled_block(name: str, spec: AnySpec, parts: Mapping[str, Any]) -> AnyBlock:
    """The block called `name` out of its layers' integers."""
    if isinstance(spec, BlockSpec) and not spec.squeeze_and_excite:
        block: FusedBlock = parts[name]
        return block
    kinds: dict[str, Any] = {"fused": ExcitedBlock, "unfused": UnfusedBlock, "pointwise_pair": PointwisePairBlock}
    kind = kinds[spec.kind]
    members = {item.name: parts.get(f"{name} {item.name}") for item in dataclasses.fields(kind)}
    if spec.squeeze_and_excite:
        members["excitation"] = Excitation(*(parts[f"{name} {item.name}"] for item in dataclasses.fields(Excitation)))
    made: AnyBlock = kind(**members)
    return made


def _members(block: ExcitedBlock | UnfusedBlock | PointwisePairBlock) -> dict[str, Part | None]:
    """The layers of a block that is more than one, by the last word of their names."""
    members = {item.name: getattr(block, item.name) for item in dataclasses.fields(block)}
    excitation = members.pop("excitation", None)
    if excitation is not None:
        members |= {item.name: getattr(excitation, item.name) for item in dataclasses.fields(excitation)}
    return members
