"""A whole network in exact integers: image in, logits out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hw.contract import numerics
from hw.contract.errors import ArchonError
from sw.bundle.network import DenseLayer, FusedBlock, IntegerNetwork, PointwisePair, Requantization, Scaling
from sw.golden import dense
from sw.golden.counting import BlockCounts
from sw.golden.fused import run_fused
from sw.golden.inspection import BlockInspection, inspect_block, inspect_pair
from sw.golden.layerwise import run_layerwise
from sw.golden.pair import run_pair, run_pair_layerwise
from sw.golden.predictor import predict_group
from sw.golden.statistics import BlockStatistics
from sw.spec import BlockSpec, LayerShape, PointwisePairSpec

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
    """Layer (as in NetworkSpec.layers) to int8 (N, channels, height, width), (N, channels) behind pools; empty unless kept."""
    block_inputs: Activations | None
    """Input of block 1, int8 (N, channels, height, width); kept with the activations."""
    counts: dict[str, list[BlockCounts]]
    """Fused layer's name to the counts of every image; empty unless run fused."""
    statistics: dict[str, BlockStatistics]
    """Fused layer's name to survivors and agreement over all images; empty unless asked for."""
    inspections: dict[str, BlockInspection]
    """Fused layer's name to where activations survive and what wrong predictions weigh; empty unless asked for."""

    @property
    def classes(self) -> NDArray[np.int64]:
        """Predicted class (N,): the first of the largest logits."""
        return self.logits.argmax(axis=1)


@dataclass
class _Record:
    """Collected while batches run."""

    keep: bool
    on_layer: Callable[[str], None] | None = None
    activations: dict[str, list[Activations]] = field(default_factory=dict)
    counts: dict[str, list[BlockCounts]] = field(default_factory=dict)
    statistics: dict[str, BlockStatistics] = field(default_factory=dict)
    inspections: dict[str, BlockInspection] = field(default_factory=dict)

    def output(self, name: str, x: Activations) -> Activations:
        """Keep a layer's output (channels, ..., N) if asked."""
        if self.keep:
            self.activations.setdefault(name, []).append(np.ascontiguousarray(np.moveaxis(x, -1, 0)))
        return x

    def done(self, name: str) -> None:
        """Say that a layer ran."""
        if self.on_layer is not None:
            self.on_layer(name)


def run(
    network: IntegerNetwork,
    images: NDArray[np.uint8],
    mode: Mode = "layerwise",
    *,
    keep_activations: bool = False,
    statistics: bool = True,
    inspect: bool = False,
    batch: int | None = None,
    on_layer: Callable[[str], None] | None = None,
) -> NetworkRun:
    """Run images through the network; both modes give the same integers.

    Args:
        network: integer weights.
        images: uint8 (N, height, width, channels).
        mode: "layerwise", or "fused", which is slower and gives operation counts as well.
        keep_activations: every layer's output is part of the result.
        statistics: count survivors and the predictor's agreement with the true signs.
        inspect: look into predicted ReLUs (sw.golden.inspection), which takes several times as long.
        batch: images that run through a layer together, as many as are fast when left out; no result depends on it.
        on_layer: called with the name of every layer but the first and the last one when a batch has run through it.

    Raises:
        ArchonError: unknown mode, or images of another shape or type.
    """
    _check_images(network, images)
    if mode not in {"layerwise", "fused"}:
        raise ArchonError(f"mode: expected layerwise or fused, got {mode!r}")
    batch = batch or _fast_batch(network)
    record = _Record(keep_activations, on_layer)
    run_batch = _Batch(network, mode, record, statistics, inspect)
    logits = [run_batch(images[start : start + batch]) for start in range(0, len(images), batch)]
    activations = {name: np.concatenate(parts) for name, parts in record.activations.items()}
    block_inputs = activations.pop("input", None)
    found = record.counts, record.statistics, record.inspections
    return NetworkRun(np.concatenate(logits), activations, block_inputs, *found)


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


class _Batch:
    """Runs all layers on some images."""

    def __init__(self, network: IntegerNetwork, mode: Mode, record: _Record, statistics: bool, inspect: bool) -> None:
        self.network, self.parts, self.mode, self.record = network, network.parts(), mode, record
        self.statistics, self.inspect = statistics, inspect

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Logits (N, classes)."""
        tensors: dict[str, Activations] = {}
        layers, first = self.network.spec.layers, True
        for layer in layers[1:-1]:
            if layer.name == "stem":
                pixels = dense.image_activations(self.network.image_levels, images)
                x = dense.convolution(self.network.stem, pixels, self.network.spec.stem.stride)
            else:
                source = tensors[layer.source.name]
                if layer.block is not None and first:
                    self.record.output("input", source)
                    first = False
                x = self._layer(layer, source, None if layer.gates is None else tensors[layer.gates.name])
                if layer.residual is not None and layer.kind != "fused block":
                    x = numerics.add_residual(x, tensors[layer.residual]).astype(np.int8)
            self.record.output(layer.name, x)
            self.record.done(layer.name)
            if layer.target is None:
                tensors[layer.name] = x
            else:
                empty = np.zeros((*layer.target.shape, len(images)), dtype=np.int8)
                whole = tensors.setdefault(layer.target.name, empty)
                whole[layer.first_channel : layer.first_channel + len(x)] = x
        return dense.dense(self.network.dense, tensors["pool"])

    def _layer(self, layer: LayerShape, x: Activations, gates: Activations | None) -> Activations:
        part = self.parts.get(layer.name)
        if isinstance(part, Scaling) and gates is not None:
            return dense.scale(part, x, gates)
        if isinstance(part, FusedBlock | PointwisePair):
            return self._fused(layer, part, x)
        if isinstance(part, DenseLayer) and layer.kind == "pointwise":
            return dense.pointwise(part, x, layer.groups, shuffle=layer.shuffle, relu=layer.relu)
        if isinstance(part, DenseLayer):
            return dense.depthwise(part, x, layer.stride, relu=layer.relu)
        if isinstance(part, Requantization) and layer.kind == "average pool":
            return dense.average_pool(part, x, layer.stride, relu=layer.relu)
        return dense.pool(part, x) if isinstance(part, Requantization) else np.maximum(x, 0)

    def _fused(self, layer: LayerShape, part: FusedBlock | PointwisePair, x: Activations) -> Activations:
        layerwise, fused, inspect = _ways(part, layer)
        if self.inspect:
            inspect(self.record.inspections.setdefault(layer.name, BlockInspection()), x)
        counted = self.record.statistics.setdefault(layer.name, BlockStatistics()) if self.statistics else None
        if self.mode == "layerwise":
            return layerwise(x, counted)
        if counted is not None:
            layerwise(x, counted)
        runs = [fused(image) for image in np.moveaxis(x, -1, 0)]
        self.record.counts.setdefault(layer.name, []).extend(counts for _, counts in runs)
        return np.stack([out for out, _ in runs], axis=-1)


Layerwise = Callable[[Activations, BlockStatistics | None], Activations]
Fused = Callable[[Activations], tuple[Activations, BlockCounts]]
Inspect = Callable[[BlockInspection, Activations], None]


def _ways(part: FusedBlock | PointwisePair, layer: LayerShape) -> tuple[Layerwise, Fused, Inspect]:
    """How a fused layer is run: on images last, layer by layer; on one image, fused; and on images last, inspected."""
    spec = layer.block
    if isinstance(part, FusedBlock) and isinstance(spec, BlockSpec):
        return partial(_layerwise, part, spec), partial(run_block, part, spec), partial(inspect_block, part, spec)
    if isinstance(part, PointwisePair) and isinstance(spec, PointwisePairSpec):
        return partial(run_pair_layerwise, part, spec), partial(run_pair, part, spec), partial(inspect_pair, part, spec)
    raise ArchonError(f"{layer.name}: expected integers of a {layer.kind}, got {type(part).__name__}")


def _fast_batch(network: IntegerNetwork) -> int:
    largest = max(
        layer.block.expanded_channels // layer.block.groups * layer.source.pixels
        for layer in network.spec.layers
        if layer.block is not None
    )
    return min(LARGEST_BATCH, max(1, BATCH_ELEMENTS // largest))


def _check_images(network: IntegerNetwork, images: NDArray[np.uint8]) -> None:
    spec = network.spec
    shape = (spec.height, spec.width, spec.channels)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != shape or not len(images):
        raise ArchonError(
            f"images: expected uint8 (at least 1, {spec.height}, {spec.width}, {spec.channels}), "
            f"got {images.dtype.name} {images.shape}"
        )
