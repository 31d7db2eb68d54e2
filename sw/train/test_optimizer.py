"""Steps of the optimiser by hand: momentum, and what weight decay leaves alone."""

from dataclasses import replace

import numpy as np
import pytest
from keras import ops

from sw.networks.network import Network
from sw.spec import parse_spec
from sw.train.run import compile_model
from sw.train.test_train import QUICK, tiny_spec

RATE, DECAY = 0.5, 0.1
UNDECAYED = ("gamma", "beta", "bias", "reduce_bias", "excite_bias")


def test_only_weights_decay_and_gradients_gather_momentum() -> None:
    values = tiny_spec().model_dump()
    values["blocks"] = [values["blocks"][0] | {"squeeze_and_excite": True, "squeezed_channels": 2}, *values["blocks"][1:]]
    model = Network(parse_spec(values))
    compile_model(model, replace(QUICK, rate=RATE, decay=DECAY))
    variables = model.trainable_variables
    names = {variable.name for variable in variables}
    assert names == {"weight", "kernel", "reduce_weight", "excite_weight", *UNDECAYED}
    moved = []
    for gradient in (1.0, 0.0):
        before = [ops.convert_to_numpy(variable).copy() for variable in variables]
        model.optimizer.apply([gradient * ops.ones(variable.shape) for variable in variables])
        for variable, old in zip(variables, before, strict=True):
            kept = 1.0 if variable.name in UNDECAYED else 1 - RATE * DECAY
            change = ops.convert_to_numpy(variable) - kept * old
            moved.append(float(change.mean()))
            np.testing.assert_allclose(change, moved[-1], atol=1e-5)
    # Nesterov: velocity -rate, and as much again of it as momentum keeps; then only what is left of it.
    count = len(variables)
    assert moved[:count] == pytest.approx([-RATE * 1.9] * count, abs=1e-4)
    assert moved[count:] == pytest.approx([-RATE * 0.9**2] * count, abs=1e-4)
