"""A whole network in exact integers: image in, logits out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hw.contract.errors import ArchonError
from sw.bundle.network import FusedBlock, IntegerNetwork
from sw.golden import dense
from sw.golden.counting import BlockCounts
from sw.golden.fused import run_fused
from sw.golden.layerwise import run_layerwise
from sw.golden.predictor import predict_group
from sw.golden.statistics import BlockStatistics
from sw.spec import BlockSpec

Mode = Literal["layerwise", "fused"]
Activations = NDArray[np.int8]

BATCH_ELEMENTS = 1_200_000
"""Elements of a group's expanded activations that are worked on together: a few megabytes an array."""

LARGEST_BATCH = 96


@dataclass(frozen=True)
class NetworkRun:
    """What a network made of N images."""

    logits: NDArray[np.int32]
    """(N, classes)."""
    activations: dict[str, Activations]
    """Layer name (as in sw.golden.cost) to int8 (N, channels, height, width), (N, channels) for the pool; empty unless kept."""
    block_inputs: Activations | None
    """Input of block 1, int8 (N, channels, height, width); kept with the activations."""
    counts: dict[str, list[BlockCounts]]
    """Block name to the counts of every image; empty unless run fused."""
    statistics: dict[str, BlockStatistics]
    """Block name to survivors and agreement over all images; empty unless asked for."""

    @property
    def classes(self) -> NDArray[np.int64]:
        """Predicted class (N,): the first of the largest logits."""
        return self.logits.argmax(axis=1)


@dataclass
class _Record:
    """Collected while batches run."""

    keep: bool
    activations: dict[str, list[Activations]] = field(default_factory=dict)
    counts: dict[str, list[BlockCounts]] = field(default_factory=dict)
    statistics: dict[str, BlockStatistics] = field(default_factory=dict)

    def output(self, name: str, x: Activations) -> Activations:
        """Keep a layer's output (channels, ..., N) if asked."""
        if self.keep:
            self.activations.setdefault(name, []).append(np.ascontiguousarray(np.moveaxis(x, -1, 0)))
        return x


def run(
    network: IntegerNetwork,
    images: NDArray[np.uint8],
    mode: Mode = "layerwise",
    *,
    keep_activations: bool = False,
    statistics: bool = True,
    batch: int | None = None,
) -> NetworkRun:
    """Run images through the network; both modes give the same integers.

    Args:
        network: integer weights.
        images: uint8 (N, height, width, channels).
        mode: "layerwise", or "fused", which is slower and gives operation counts as well.
        keep_activations: every layer's output is part of the result.
        statistics: count survivors and the predictor's agreement with the true signs.
        batch: images that run through a layer together, as many as are fast when left out; no result depends on it.

    Raises:
        ArchonError: unknown mode, or images of another shape or type.
    """
    _check_images(network, images)
    if mode not in {"layerwise", "fused"}:
        raise ArchonError(f"mode: expected layerwise or fused, got {mode!r}")
    batch = batch or _fast_batch(network)
    record = _Record(keep_activations)
    logits = []
    for start in range(0, len(images), batch):
        x = record.output("input", _front(network, images[start : start + batch], record))
        x = _blocks(network, x, mode, record, statistics=statistics)
        logits.append(_head(network, x, record))
    activations = {name: np.concatenate(parts) for name, parts in record.activations.items()}
    block_inputs = activations.pop("input", None)
    return NetworkRun(np.concatenate(logits), activations, block_inputs, record.counts, record.statistics)


def run_block(block: FusedBlock, spec: BlockSpec, x: Activations) -> tuple[Activations, BlockCounts]:
    """One block, fused, on one image: int8 (C, H, W) to int8 (K, output height, output width), and the counts."""
    images_last = np.ascontiguousarray(x)[..., None]
    return run_fused(block, spec, x, lambda group: predict_group(block, spec, group, images_last))


def run_block_layerwise(
    block: FusedBlock, spec: BlockSpec, x: Activations, statistics: BlockStatistics | None = None
) -> Activations:
    """One block, layer by layer, on one image: int8 (C, H, W) to int8 (K, output height, output width)."""
    images_last = np.ascontiguousarray(x)[..., None]
    return _layerwise(block, spec, images_last, statistics)[..., 0]


def _layerwise(block: FusedBlock, spec: BlockSpec, x: Activations, statistics: BlockStatistics | None) -> Activations:
    return run_layerwise(block, spec, x, lambda group: predict_group(block, spec, group, x), statistics)


def _front(network: IntegerNetwork, images: NDArray[np.uint8], record: _Record) -> Activations:
    spec, first = network.spec, network.spec.first_pointwise
    x = dense.image_activations(network.image_levels, images)
    x = record.output("stem", dense.convolution(network.stem, x, spec.stem.stride))
    x = record.output("first_pointwise", dense.pointwise(network.first_pointwise, x, first.groups, shuffle=first.shuffle))
    return record.output("first_depthwise", dense.depthwise(network.first_depthwise, x))


def _blocks(network: IntegerNetwork, x: Activations, mode: Mode, record: _Record, *, statistics: bool) -> Activations:
    for index, (block, spec) in enumerate(zip(network.blocks, network.spec.blocks, strict=True), start=1):
        name = f"block {index}"
        counted = record.statistics.setdefault(name, BlockStatistics()) if statistics else None
        if mode == "layerwise":
            x = record.output(name, _layerwise(block, spec, x, counted))
            continue
        if counted is not None:
            _layerwise(block, spec, x, counted)
        runs = [run_block(block, spec, image) for image in np.moveaxis(x, -1, 0)]
        record.counts.setdefault(name, []).extend(counts for _, counts in runs)
        x = record.output(name, np.stack([out for out, _ in runs], axis=-1))
    return x


def _head(network: IntegerNetwork, x: Activations, record: _Record) -> NDArray[np.int32]:
    groups = network.spec.last_pointwise.groups
    x = record.output("last_pointwise", dense.pointwise(network.last_pointwise, x, groups, shuffle=False))
    return dense.dense(network, record.output("pool", dense.pool(network.pool, x)))


def _fast_batch(network: IntegerNetwork) -> int:
    pairs = zip(network.spec.blocks, network.spec.block_shapes(), strict=True)
    largest = max(block.expanded_channels // block.groups * shape.in_height * shape.in_width for block, shape in pairs)
    return min(LARGEST_BATCH, max(1, BATCH_ELEMENTS // largest))


def _check_images(network: IntegerNetwork, images: NDArray[np.uint8]) -> None:
    spec = network.spec
    shape = (spec.height, spec.width, spec.channels)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != shape or not len(images):
        raise ArchonError(
            f"images: expected uint8 (at least 1, {spec.height}, {spec.width}, {spec.channels}), "
            f"got {images.dtype.name} {images.shape}"
        )
