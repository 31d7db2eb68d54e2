"""Accelerator and memory in one model."""

from pydantic import TypeAdapter

from hw.contract.config import ArchonConfig, preset
from sim.harness import LEAST_WORDS, harness_design
from sim.simulation import TestRun, build_and_test


def test_harness() -> None:
    config = preset("tiny")
    environment = {"ARCHON_CONFIG": TypeAdapter(ArchonConfig).dump_json(config).decode()}
    design = harness_design(config, LEAST_WORDS)  # as in the tests of whole runs, which share its model
    build_and_test(design, TestRun("tb.harness_tests", 3, environment))
