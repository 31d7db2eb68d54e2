"""Which cluster does which job of a fused block, such that all are done at about the same time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.contract.config import ArchonConfig
from sw.program.jobs import Band
from sw.program.tables import ValueWeights

EXPECTED_SURVIVORS = 1 / 8
"""Share of both masks together, from .4 of the first and .3 of the second: only how loads compare depends on it."""

FILLING_PIXELS = 2
"""Pixels of a job at which lanes only accumulate or only multiply: the first one and the last one."""

START_CYCLES = 700
"""What a further job costs a cluster besides, about, as measured: its first rows, its tables, and a barrier later."""

MOST_BANDS = 4
"""Times the bands that a group needs."""

Plan = list[tuple[int, Band, int]]
"""Group, band and cluster of every job, in the order in which the clusters get them."""


@dataclass(frozen=True)
class Load:
    """A group's cycles a pixel and its bands' pixels a row."""

    cycles: float
    row_pixels: int

    def of(self, band: Band) -> float:
        """Cycles of a job."""
        return self.cycles * (band[1] * self.row_pixels + FILLING_PIXELS) + START_CYCLES


def expected_multiplications(weights: ValueWeights, config: ArchonConfig) -> float:
    """Touched entries of A a pixel of the lane that has most, if survivors were drawn independently.

    An entry (k, c, d) is touched unless none of the n expanded channels with W2[k,e] D[e,d] W1[e,c] != 0 survives.
    """
    project = (weights.project_weight != 0).astype(np.float32)
    pairs = weights.pairs.astype(np.float32)
    entries = np.zeros(pairs.shape[1])
    for tap in (weights.depthwise_weight != 0).T:
        contributors: NDArray[np.float32] = (project * tap) @ pairs
        entries += (1 - (1 - EXPECTED_SURVIVORS) ** contributors).sum(axis=0)
    lanes = np.pad(entries, (0, -len(entries) % config.lanes)).reshape(-1, config.lanes)
    return float(lanes.sum(axis=0).max())


def shared_out(loads: Sequence[Load], choices: Sequence[list[Band]], clusters: int) -> Plan:
    """The choice of bands with which the last cluster is done first; the longest job goes to the least busy cluster.

    Args:
        loads: of each group.
        choices: ways to cut every group's rows; of equal ones the first is taken.
        clusters: that share the work.
    """
    return min((_longest_first(loads, bands, clusters) for bands in choices), key=lambda found: found[0])[1]


def _longest_first(loads: Sequence[Load], bands: list[Band], clusters: int) -> tuple[float, Plan]:
    """Cycles until the last cluster is done, and the plan."""
    jobs = [(load.of(band), group, band) for group, load in enumerate(loads) for band in bands]
    busy, turns = [0.0] * clusters, [0] * clusters
    placed = []
    for cycles, group, band in sorted(jobs, key=lambda job: -job[0]):
        cluster = busy.index(min(busy))
        placed.append((turns[cluster], cluster, group, band))
        busy[cluster] += cycles
        turns[cluster] += 1
    return max(busy), [(group, band, cluster) for _, cluster, group, band in sorted(placed)]
