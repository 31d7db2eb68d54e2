"""A whole lane in simulation."""

import dataclasses

import pytest

from hw.contract.config import preset
from sim.unit_run import run_unit

VARIANTS = [(2, 1, 3, 2), (4, 2, 3, 4), (2, 4, 3, 1), (2, 2, 5, 2)]


@pytest.mark.parametrize(("lanes", "adder_rows", "kernel", "pixel_tile"), VARIANTS)
def test_lane(lanes: int, adder_rows: int, kernel: int, pixel_tile: int) -> None:
    tiny = preset("tiny")
    depths = dataclasses.replace(tiny.depths, step=tiny.depths.step * adder_rows, accumulator=tiny.depths.accumulator * 2)
    config = dataclasses.replace(tiny, lanes=lanes, adder_rows=adder_rows, kernel=kernel, pixel_tile=pixel_tile, depths=depths)
    share = VARIANTS.index((lanes, adder_rows, kernel, pixel_tile)), len(VARIANTS)
    run_unit("lane", config, "tb.lane_tests", share=share)
