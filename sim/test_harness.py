"""Accelerator and memory in one model."""

import dataclasses

from pydantic import TypeAdapter

from hw.contract.config import ArchonConfig, preset
from sim.harness import harness_design
from sim.simulation import TestRun, build_and_test

WORDS = 1 << 14


def test_harness() -> None:
    config = dataclasses.replace(preset("tiny"), clusters=2)
    environment = {"ARCHON_CONFIG": TypeAdapter(ArchonConfig).dump_json(config).decode()}
    build_and_test(harness_design(config, WORDS), TestRun("tb.harness_tests", 3, environment))
