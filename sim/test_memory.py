"""The simulated external memory, on both simulators."""

import shutil

import pytest

from sim.harness import memory_design
from sim.simulation import TestRun, build_and_test
from tb.memory_tests import WORDS

QUEUE = 16
"""Fewer requests than the test sends at once."""


@pytest.mark.parametrize("simulator", ["verilator", "icarus"])
def test_memory(simulator: str) -> None:
    if simulator == "icarus" and shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is not installed")
    build_and_test(memory_design(WORDS, QUEUE), TestRun("tb.memory_tests"), simulator=simulator)
