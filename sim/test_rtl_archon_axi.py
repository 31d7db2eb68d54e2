"""The accelerator on its buses, in simulation."""

import dataclasses
import json
from collections.abc import Callable

import pytest

from hw.contract.config import preset
from sim.unit_run import run_unit
from tb.archon_axi_tests import FLIPS, OUTCOMES_FILE


@pytest.mark.slow
def test_archon_axi(record_property: Callable[[str, object], None]) -> None:
    result = run_unit("archon_axi", dataclasses.replace(preset("tiny"), clusters=2), "tb.archon_axi_tests")
    outcomes: dict[str, int] = json.loads((result.directory / OUTCOMES_FILE).read_text(encoding="utf-8"))
    assert sum(outcomes.values()) == FLIPS
    for outcome, count in outcomes.items():
        print(f"descriptors with inverted bits: {count} of {FLIPS} {outcome}")
        record_property(outcome, count)
