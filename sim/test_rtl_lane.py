"""A whole lane in simulation."""

import dataclasses

import pytest

from hw.contract.config import preset
from sim.unit_run import run_unit


@pytest.mark.parametrize(("lanes", "adder_rows"), [(2, 1), (4, 2), (2, 4)])
def test_lane(lanes: int, adder_rows: int) -> None:
    tiny = preset("tiny")
    depths = dataclasses.replace(tiny.depths, step=tiny.depths.step * adder_rows, accumulator=tiny.depths.accumulator * 2)
    run_unit("lane", dataclasses.replace(tiny, lanes=lanes, adder_rows=adder_rows, depths=depths), "tb.lane_tests")
