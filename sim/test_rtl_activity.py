"""The counters of what units do, in simulation."""

import dataclasses

import pytest

from hw.contract.config import preset
from sim.unit_run import run_unit


@pytest.mark.parametrize("lanes", [1, 4])
def test_activity_counters(lanes: int) -> None:
    run_unit("activity_counters", dataclasses.replace(preset("tiny"), lanes=lanes), "tb.activity_counters_tests")
