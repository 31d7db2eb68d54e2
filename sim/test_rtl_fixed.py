"""The whole accelerator in simulation, on layers that are not fused."""

import pytest

from sim.unit_run import run_unit
from tb.fixed_cases import VARIANTS


@pytest.mark.slow  # a group shares a model: two processes would build it and wait for it
@pytest.mark.parametrize("variant", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in VARIANTS])
def test_fixed_layers(variant: str) -> None:
    run_unit("archon", VARIANTS[variant], "tb.fixed_tests", seed=1 + list(VARIANTS).index(variant))
