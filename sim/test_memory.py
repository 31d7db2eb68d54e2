"""The simulated external memory, on both simulators."""

import shutil

import pytest

from sim.harness import memory_design
from sim.simulation import TestRun, build_and_test
from tb.memory_tests import WORDS
from tb.streams import SHARE_VARIABLE

QUEUE = 16
"""Fewer requests than the test sends at once."""


@pytest.mark.parametrize(("simulator", "share"), [("verilator", "0/1"), ("icarus", "0/4")], ids=["verilator", "icarus"])
def test_memory(simulator: str, share: str) -> None:
    # Icarus is slow: there every pattern is used on either side, and only Verilator has all pairs of them.
    if simulator == "icarus" and shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is not installed")
    run = TestRun("tb.memory_tests", environment={SHARE_VARIABLE: share})
    build_and_test(memory_design(WORDS, QUEUE), run, simulator=simulator)
