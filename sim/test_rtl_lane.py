"""A whole lane in simulation."""

import dataclasses

import pytest

from hw.contract.config import preset
from sim.unit_run import run_unit


@pytest.mark.parametrize("lanes", [2, 4])
def test_lane(lanes: int) -> None:
    run_unit("lane", dataclasses.replace(preset("tiny"), lanes=lanes), "tb.lane_tests")
