"""The whole accelerator in simulation, on random blocks."""

import pytest

from sim.unit_run import run_unit
from tb.block_cases import VARIANTS

RANDOM_CASES = {2: 24, 3: 24, 8: 16, 16: 6}
"""Random blocks besides the directed ones, by the number of lanes: wide machines simulate slowly."""


@pytest.mark.slow  # a group shares a model: two processes would build it and wait for it
@pytest.mark.parametrize("variant", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in VARIANTS])
def test_blocks(variant: str) -> None:
    config = VARIANTS[variant]
    seed = 1 + list(VARIANTS).index(variant)
    environment = {"ARCHON_RANDOM_CASES": f"{100 * seed},{RANDOM_CASES[config.multipliers]}"}
    run_unit("archon", config, "tb.block_tests", seed=seed, environment=environment)
