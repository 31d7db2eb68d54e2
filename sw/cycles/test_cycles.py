"""The model of cycles: its work is the golden model's, and its times obey what binds them."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hw.contract.config import ArchonConfig, Queues
from sw.cycles.lanes import FILL_LATENCY, lane_times
from sw.cycles.predictor import Predictor
from sw.cycles.work import LaneWork, fused_work, lane_sums
from sw.golden import random_activation, random_block, run_block
from sw.program.blocks import block_jobs
from sw.spec import BlockSpec

SPEC = BlockSpec(
    in_channels=10, expanded_channels=44, out_channels=6, kernel=3, stride=1, groups=2, residual=False, shuffle=True
)
CONFIG = ArchonConfig(lanes=2, slice_channels=4)


@pytest.mark.parametrize("stride", [1, 2])
def test_work_adds_up_to_the_golden_models_counts(stride: int) -> None:
    spec = SPEC.model_copy(update={"stride": stride})
    block = random_block(spec, 3)
    nothing = np.zeros_like(block.depthwise_bias)
    block = dataclasses.replace(block, expand_bias=nothing, depthwise_bias=nothing)  # no owners: pairs without taps do nothing
    x = random_activation((10, 7, 6), 4)
    counts = run_block(block, spec, x)[1]
    works = [fused_work(block, spec, group, x, CONFIG) for group in range(spec.groups)]
    assert sum(int(work.multiplications.sum()) for work in works) == counts.multiplications > 0
    assert sum(int(work.steps.sum()) for work in works) == counts.steps > 0
    assert all((work.scans >= work.survivors).all() for work in works)


def test_channels_of_a_lane_are_every_so_manieth() -> None:
    assert lane_sums(np.array([[1, 10, 100, 1000, 10000]]), 2, 1).tolist() == [[10101, 1010]]


class AtOnce:
    """All slice words are there from the beginning; pixels are asked for in order."""

    def __init__(self) -> None:
        self._pixels, self._words = 0, 0

    def ready(self, pixel: int) -> int:
        assert pixel == self._pixels
        return 0

    def taken(self, cycles: list[int]) -> None:
        assert len(cycles) > self._words
        self._pixels, self._words = self._pixels + 1, len(cycles)


def uniform(pixels: int, slices: int, outputs: int, scans: int, steps: int, multiplications: int) -> LaneWork:
    """The same work for both lanes in every pixel: `scans` cycles and `steps` for each slice, `multiplications` an output."""
    shape = (pixels, slices, 2)
    return LaneWork(
        np.full(shape, scans),
        np.full(shape, scans),
        np.full((*shape, 1), steps),
        np.full((pixels, outputs, 2), multiplications),
    )


@pytest.mark.parametrize(
    ("work", "binds"),
    [
        (uniform(200, 3, 4, 1, 1, 10), 40),  # multiplier
        (uniform(200, 3, 4, 1, 20, 2), 60),  # adders
        (uniform(200, 3, 4, 9, 1, 1), 28),  # scan: 9 a slice, and the end mark
        (uniform(200, 30, 4, 1, 0, 1), 31),  # predictor's words, as many scans, and the end mark
    ],
)
def test_the_slowest_unit_binds(work: LaneWork, binds: int) -> None:
    cycles = lane_times(work, AtOnce(), CONFIG).cycles
    assert 200 * binds <= cycles <= 200 * binds + 3 * binds + 2 * FILL_LATENCY


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 3))
def test_deeper_queues_are_never_slower_and_no_lane_beats_its_multiplier(seed: int, outputs: int) -> None:
    random = np.random.default_rng(seed)
    shape = (12, 3, 2)
    survivors = random.integers(0, 5, shape)
    steps = survivors[..., None] * random.integers(0, 3, (*shape, 2))
    work = LaneWork(np.maximum(survivors, 1), survivors, steps, random.integers(0, 9, (12, outputs, 2)))
    shallow = dataclasses.replace(CONFIG, adder_rows=2, queues=Queues(slice_word=2, survivor=4, pair=2, partial=2))
    deep = dataclasses.replace(CONFIG, adder_rows=2, queues=Queues(slice_word=16, survivor=64, pair=8, partial=32))
    fast, slow = lane_times(work, AtOnce(), deep).cycles, lane_times(work, AtOnce(), shallow).cycles
    assert work.multiplications.sum(axis=(0, 1)).max() <= fast <= slow


def predicted(config: ArchonConfig, loads: NDArray[np.float64], word_cycles: int, stride: int = 1, rows: int = 6) -> list[int]:
    """When the pixels' first words are ready, if lanes take a word in so many cycles."""
    job = block_jobs("block", SPEC.model_copy(update={"stride": stride}), rows, 5, config, [1.0, 1.0], [6, 6])[0]
    predictor, found, taken = Predictor(job, loads, config), [], [0]
    for pixel in range(job.fields["output_rows"] * job.fields["output_width"]):
        found.append(predictor.ready(pixel))
        for word in range(job.fields["slices"]):
            taken.append(max(taken[-1] + word_cycles, found[-1] + word))
        predictor.taken(taken)
    return found


def test_the_predictor_waits_for_rows_and_gives_pixels_in_order() -> None:
    loads = 110.0 + 100 * np.arange(6, dtype=np.float64)
    ready = predicted(CONFIG, loads, 1)
    assert len(ready) == 30
    assert (np.diff(ready) >= 44 // 2 // CONFIG.slice_channels).all()
    for row in range(5):
        assert loads[row + 1] < ready[5 * row]
    assert ready[0] > loads[1] + 2 * 2 * 6


@pytest.mark.parametrize("stride", [1, 2])
def test_the_predictor_fills_as_many_rows_ahead_as_there_are_banks(stride: int) -> None:
    loads = np.zeros(24)
    four, eight, sixteen = (
        predicted(dataclasses.replace(CONFIG, row_store_banks=banks), loads, 40, stride, 24) for banks in (4, 8, 16)
    )
    assert (np.array(sixteen) <= eight).all()
    assert (np.array(eight) <= four).all()
    # The first rows are the same, then the fewer the banks the later.
    assert four[:5] == eight[:5] == sixteen[:5]
    assert four[-1] > eight[-1] > sixteen[-1]
    # Where lanes take words at once, the predictor itself binds.
    assert abs(predicted(CONFIG, loads, 0, stride, 24)[-1] - 24 * 5 * 6 * 3) < 100
