"""The reduction over lanes in simulation."""

import dataclasses

import pytest

from hw.contract.config import preset
from sim.unit_run import run_unit


@pytest.mark.parametrize("lanes", [1, 2, 8])
def test_reduction(lanes: int) -> None:
    share = [1, 2, 8].index(lanes), 3
    run_unit("reduction", dataclasses.replace(preset("tiny"), lanes=lanes), "tb.reduction_tests", share=share)


def test_summation() -> None:
    run_unit("summation", preset("tiny"), "tb.summation_tests")
