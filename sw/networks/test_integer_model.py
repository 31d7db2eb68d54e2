"""The integer network in Keras against the golden model, bit for bit."""

import numpy as np
import pytest

from sw.bundle.network import Scaling
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


def test_products_with_gates_saturate_as_the_golden_model_s() -> None:
    spec = excited_spec()
    images = load_excerpt().images[:4, : spec.height, : spec.width]
    network = random_network(spec, 1, Survivors(0.5, 0.4), images[:2]).network
    scalings = [part for part in network.parts().values() if isinstance(part, Scaling)]
    assert scalings
    for scaling in scalings:
        scaling.shift[:] -= 2
    expected = run(network, images, statistics=False, keep_activations=True)
    products = [tensor for name, tensor in expected.activations.items() if name.endswith("scale")]
    assert all((np.abs(tensor.astype(int)) >= 127).mean() > 0.01 for tensor in products)
    np.testing.assert_array_equal(IntegerModel(network).predict_on_batch(images), expected.logits)
