"""The accelerator on its buses, in simulation."""

import dataclasses

import pytest

from hw.contract.config import preset
from sim.unit_run import run_unit


@pytest.mark.slow
def test_archon_axi() -> None:
    run_unit("archon_axi", dataclasses.replace(preset("tiny"), clusters=2), "tb.archon_axi_tests")
