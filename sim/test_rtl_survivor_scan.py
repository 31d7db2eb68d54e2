"""The survivor scan in simulation."""

import dataclasses

import pytest

from hw.contract.config import preset
from sim.unit_run import run_unit

VARIANTS = [(4, 3), (16, 3), (4, 5)]


@pytest.mark.parametrize(("slice_channels", "kernel"), VARIANTS)
def test_survivor_scan(slice_channels: int, kernel: int) -> None:
    config = dataclasses.replace(preset("tiny"), slice_channels=slice_channels, kernel=kernel)
    share = VARIANTS.index((slice_channels, kernel)), len(VARIANTS)
    run_unit("survivor_scan", config, "tb.survivor_scan_tests", share=share)
