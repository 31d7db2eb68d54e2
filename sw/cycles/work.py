"""What a job asks of its lanes, pixel by pixel: the numbers from which cycles follow.

Lane l owns input channel t * L + l in turn t (sw.program.tables), adder row r the output channels k = r modulo the adder rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.contract import numerics
from hw.contract.config import ArchonConfig
from hw.contract.taps import tap_places
from sw.bundle.network import FusedBlock
from sw.golden.predictor import Prediction, predict_group
from sw.program.jobs import Job
from sw.program.tables import GroupWeights, ValueWeights, group_weights, slices_of, turns_of
from sw.spec import BlockSpec

Integers = NDArray[np.int64]
Bits = NDArray[np.bool_]

CHUNK_ELEMENTS = 4_000_000
"""Of masks and touched entries that are worked on together."""


@dataclass(frozen=True)
class LaneWork:
    """Work of the lanes of one cluster, for some output pixels in their order.

    Args:
        scans: (pixels, slices, lanes), cycles of the survivor scan for a slice word: one a survivor, or one a membership row
            without any.
        survivors: (pixels, slices, lanes), surviving pairs.
        steps: (pixels, slices, lanes, adder rows), steps of accumulation of these pairs.
        multiplications: (pixels, outputs, lanes), touched entries of each output channel, all turns.
    """

    scans: Integers
    survivors: Integers
    steps: Integers
    multiplications: Integers

    def pixels(self, chosen: slice) -> LaneWork:
        """The work of some pixels alone."""
        return LaneWork(self.scans[chosen], self.survivors[chosen], self.steps[chosen], self.multiplications[chosen])


def lane_sums(values: NDArray[np.number], lanes: int, axis: int) -> NDArray[np.number]:
    """Add up the input channels along `axis` that a lane owns."""
    moved = np.moveaxis(values, axis, -1)
    padded = np.pad(moved, [(0, 0)] * (moved.ndim - 1) + [(0, -moved.shape[-1] % lanes)])
    summed = padded.reshape(*moved.shape[:-1], -1, lanes).sum(axis=-2)
    return np.moveaxis(summed, -1, axis)


def fused_work(block: FusedBlock, spec: BlockSpec, group: int, x: NDArray[np.int8], config: ArchonConfig) -> LaneWork:
    """The work of one group of a fused block for all output pixels of an image.

    Args:
        block: integer weights.
        spec: of the block.
        group: number of the group.
        x: int8 (C, H, W), the block's input.
        config: lanes, slice channels, adder rows.
    """
    weights = group_weights(block, spec, group)
    prediction, channels = predict_group(block, spec, group, x[..., None]), weights.used_channels
    second = prediction.survives[..., 0].reshape(len(weights.expand_weight), -1).T[:, channels]
    first, weights = _first_masks(prediction, spec)[..., channels], weights.used
    taps = weights.depthwise_weight.T != 0
    reaches = np.logical_or.reduce([first[tap] & taps[tap] for tap in range(len(first))])
    return LaneWork(*_pair_work(weights, second, reaches, config), _touched(weights, first, second, config))


def _first_masks(prediction: Prediction, spec: BlockSpec) -> Bits:
    """m1 under each tap, (taps, pixels, E); the levels come with a frame of zeros."""
    framed = prediction.levels[..., 0] != 0
    views = np.lib.stride_tricks.sliding_window_view(framed, (spec.kernel, spec.kernel), axis=(1, 2))
    views = views[:, :: spec.stride, :: spec.stride]
    rows, columns = np.array(tap_places(spec.kernel)).T + spec.kernel // 2
    return np.ascontiguousarray(views.transpose(3, 4, 1, 2, 0)[rows, columns]).reshape(len(rows), -1, len(framed))


def _pair_work(weights: ValueWeights, second: Bits, reaches: Bits, config: ArchonConfig) -> tuple[Integers, Integers, Integers]:
    """Scans, survivors and steps (LaneWork).

    Args:
        weights: of the group.
        second: m2 (pixels, E).
        reaches: (pixels, E), some tap of the expanded channel is left after m1. Others cost no steps, but for biases, which are
            left out here.
        config: lanes, slice channels, adder rows.
    """
    pairs, (pixels, expanded) = weights.pairs, second.shape
    slices, turns = slices_of(expanded, config), turns_of(pairs.shape[1], config)
    padding = slices * config.slice_channels - expanded
    owned = np.pad(pairs, ((0, padding), (0, turns * config.lanes - pairs.shape[1])))
    owned = owned.reshape(slices, config.slice_channels, turns * config.lanes)
    masks = np.pad(second, ((0, 0), (0, padding))).reshape(pixels, slices, config.slice_channels)
    # float32 counts of at most a slice's channels are exact
    found = np.einsum("psc,scl->psl", masks.astype(np.float32), owned.astype(np.float32), optimize=True).astype(np.int64)
    by_turn = found.reshape(pixels, slices, turns, config.lanes)
    of_pair = _steps_of(weights, config)
    of_pair = np.pad(of_pair, ((0, 0), (0, padding))).reshape(-1, slices, config.slice_channels)
    by_lane = lane_sums(owned.astype(np.float32), config.lanes, 2)
    working = np.pad(second & reaches, ((0, 0), (0, padding))).reshape(masks.shape).astype(np.float32)
    steps = [np.einsum("psc,scl->psl", working, row[..., None] * by_lane, optimize=True) for row in of_pair]
    return np.maximum(by_turn, 1).sum(axis=2), by_turn.sum(axis=2), np.stack(steps, axis=-1).astype(np.int64)


def _steps_of(weights: ValueWeights, config: ArchonConfig) -> NDArray[np.float32]:
    """(adder rows, E): steps of a pair of each expanded channel."""
    values, index = np.unique(weights.project_weight, return_inverse=True)
    lengths = np.array([len(numerics.accumulation_steps(int(value), config.widths.shift_max)) for value in values])
    steps = lengths[index.reshape(weights.project_weight.shape)]
    return np.stack([steps[row :: config.adder_rows].sum(axis=0) for row in range(config.adder_rows)]).astype(np.float32)


def _touched(weights: GroupWeights, first: Bits, second: Bits, config: ArchonConfig) -> Integers:
    """Touched entries (pixels, outputs, lanes)."""
    pixels, outputs, inputs = len(second), len(weights.project_weight), weights.expand_weight.shape[1]
    total = np.zeros((pixels, outputs, inputs), dtype=np.int16)
    for tap in range(len(first)):
        used = np.flatnonzero(weights.depthwise_weight[:, tap])
        if not len(used):
            continue
        reaches = (weights.project_weight[:, used].T != 0)[:, :, None] & weights.pairs[used][:, None, :]
        reaches = reaches.reshape(len(used), -1).astype(np.float32)
        size = max(1, CHUNK_ELEMENTS // max(1, reaches.shape[1]))
        for start in range(0, pixels, size):
            rows = slice(start, start + size)
            masks = (first[tap, rows][:, used] & second[rows][:, used]).astype(np.float32)
            total[rows] += (masks @ reaches > 0).reshape(-1, outputs, inputs)
    return lane_sums(total, config.lanes, 2).astype(np.int64)


def band_pixels(job: Job) -> slice:
    """Which output pixels of the layer's image, row by row, a job computes."""
    fields = job.fields
    start = fields["output_row_start"] * fields["output_width"]
    return slice(start, start + fields["output_rows"] * fields["output_width"])
