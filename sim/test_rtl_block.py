"""The whole accelerator in simulation, on random blocks."""

import pytest

from sim.unit_run import run_unit
from tb.block_cases import VARIANTS

RANDOM_CASES = 12


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_blocks(variant: str) -> None:
    seed = 1 + list(VARIANTS).index(variant)
    environment = {"ARCHON_RANDOM_CASES": f"{100 * seed},{RANDOM_CASES}"}
    run_unit("archon", VARIANTS[variant], "tb.block_tests", seed=seed, environment=environment)
