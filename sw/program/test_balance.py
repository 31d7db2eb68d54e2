"""Jobs of fused blocks are shared out so that clusters are done at the same time."""

import numpy as np
import pytest

from hw.contract.config import ArchonConfig
from sw.program.balance import EXPECTED_SURVIVORS, FILLING_PIXELS, START_CYCLES, Load, expected_multiplications, shared_out
from sw.program.tables import ValueWeights


def test_a_touched_entry_is_counted_by_hand() -> None:
    none = np.zeros(2, dtype=np.int64)
    taps = np.zeros((2, 9), dtype=np.int64)
    taps[:, 4], taps[0, 0] = 3, -1
    # Both expanded channels reach the two outputs from input channel 0 at tap 4, the first one alone at tap 0.
    weights = ValueWeights(np.array([[1, 0, 0], [2, 0, 5]]), taps, np.array([[1, 1], [2, -1]]), none, none)
    one, two = EXPECTED_SURVIVORS, 1 - (1 - EXPECTED_SURVIVORS) ** 2
    assert expected_multiplications(weights, ArchonConfig(lanes=1)) == pytest.approx(2 * (two + one) + 2 * one)
    assert expected_multiplications(weights, ArchonConfig(lanes=4)) == pytest.approx(2 * (two + one))


def test_uneven_groups_share_clusters() -> None:
    loads = [Load(60.0, 32), Load(50.0, 32)]
    whole, halves = [(0, 32)], [(0, 16), (16, 16)]
    plan = shared_out(loads, [whole, halves], 2)
    by_cluster = [{group for group, _, cluster in plan if cluster == wanted} for wanted in (0, 1)]
    assert by_cluster == [{0, 1}, {0, 1}]
    assert sorted((group, band) for group, band, _ in plan) == [(group, band) for group in (0, 1) for band in halves]
    assert [cluster for _, _, cluster in plan] == [0, 1, 0, 1]  # each cluster's first job comes first


def test_equal_groups_are_not_cut() -> None:
    plan = shared_out([Load(50.0, 8)] * 4, [[(0, 8)], [(0, 4), (4, 4)]], 4)
    assert plan == [(group, (0, 8), group) for group in range(4)]


def test_idle_clusters_get_bands() -> None:
    quarters = [(row, 8) for row in range(0, 32, 8)]
    plan = shared_out([Load(50.0, 32)] * 3, [[(0, 32)], quarters], 4)
    assert [sum(cluster == wanted for _, _, cluster in plan) for wanted in range(4)] == [3, 3, 3, 3]


def test_a_job_costs_its_filling() -> None:
    assert Load(10.0, 4).of((3, 5)) == 10 * (20 + FILLING_PIXELS) + START_CYCLES
