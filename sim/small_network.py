"""A network of two small blocks with random weights, for the tests of whole runs."""

from sw.bundle.network import IntegerNetwork
from sw.datasets import load_excerpt
from sw.export.random_network import Survivors, random_network
from sw.spec import NetworkSpec, parse_spec

_SEED = 5
_BLOCK = {"kernel": 3, "groups": 2, "shuffle": True}
_SPEC = {
    "name": "sim-test", "height": 32, "width": 32, "channels": 3, "classes": 10,
    "stem": {"channels": 4, "kernel": 3, "stride": 2},
    "first_pointwise": {"channels": 4, "groups": 2, "shuffle": True},
    "first_depthwise": {"kernel": 3},
    "last_pointwise": {"channels": 16, "groups": 2},
    "sparsity": {"pointwise": 0.5, "depthwise": 0.3},
    "blocks": [
        {**_BLOCK, "in_channels": 4, "expanded_channels": 14, "out_channels": 8, "stride": 2, "residual": False},
        {**_BLOCK, "in_channels": 8, "expanded_channels": 18, "out_channels": 8, "stride": 1, "residual": True},
    ],
}  # fmt: skip


def small_spec() -> NetworkSpec:
    """Fits the preset tiny."""
    return parse_spec(_SPEC)


def make_network(spec: NetworkSpec) -> IntegerNetwork:
    """Random weights for a specification."""
    return random_network(spec, _SEED, Survivors(0.5, 0.5), load_excerpt().images[:2]).network
