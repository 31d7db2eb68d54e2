"""The integer network in Keras against the golden model, bit for bit."""

import numpy as np
import pytest

from sw.datasets import load_excerpt
from sw.export.random_network import Survivors, random_network
from sw.golden import run
from sw.golden.test_excitation import excited_spec
from sw.golden.test_kinds import kinds_spec
from sw.networks.integer_model import IntegerModel
from sw.spec import NetworkSpec, known_specs, load_spec

NANO = [load_spec(name) for name in known_specs() if name.endswith("-nano")]


@pytest.mark.parametrize("spec", [*NANO, kinds_spec(), excited_spec()], ids=lambda spec: spec.name)
def test_logits_are_the_golden_model_s(spec: NetworkSpec) -> None:
    images = load_excerpt().images[:6, : spec.height, : spec.width]
    first, other = (random_network(spec, seed, Survivors(0.5, 0.4), images[:2]).network for seed in (1, 2))
    model = IntegerModel(first)
    for network in (first, other):
        model.load(network)
        expected = run(network, images, statistics=False).logits
        assert len(np.unique(expected)) > len(images)
        np.testing.assert_array_equal(model.predict_on_batch(images), expected)
