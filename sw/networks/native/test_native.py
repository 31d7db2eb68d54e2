"""The native kernel against Keras' own operations."""

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from keras import ops

from hw.contract.errors import ArchonError
from sw.networks import limits
from sw.networks.fused import FusedBlock
from sw.networks.limits import Survivors
from sw.networks.native import library
from sw.networks.test_networks import randomise
from sw.spec import BlockSpec

tf = pytest.importorskip("tensorflow", reason="the kernel is an operation of the TensorFlow backend")
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the kernel needs the TensorFlow backend")

CASES = st.fixed_dictionaries({
    "stride": st.sampled_from([1, 2]),
    "groups": st.sampled_from([1, 2, 3, 4]),
    "size": st.tuples(st.integers(3, 9), st.integers(3, 9)),
    "expanded": st.integers(3, 9),
    "gated": st.booleans(),
    "frozen": st.booleans(),
    "training": st.booleans(),
    "limited": st.booleans(),
    "costs": st.booleans(),
    "seed": st.integers(0, 1000),
})  # fmt: skip


GATED = {
    "stride": 1, "groups": 2, "size": (6, 7), "expanded": 8, "gated": True, "frozen": False, "training": True, "limited": True,
    "costs": True, "seed": 7,
}  # fmt: skip

CANCELLING = {
    "stride": 2, "groups": 1, "size": (8, 7), "expanded": 3, "gated": False, "frozen": True, "training": True, "limited": False,
    "costs": False, "seed": 134,
}  # fmt: skip
"""Hardly a channel survives, and the last normalisation takes out what the weights before it change."""


@pytest.fixture(autouse=True)
def _every_image_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras' path looks at part of the survivors only; here at all of them, as the kernel does."""
    monkeypatch.setattr(limits, "SURVIVOR_STRIDE", 1)


def make_block(case: dict[str, Any]) -> FusedBlock:
    groups = case["groups"]
    spec = BlockSpec(
        in_channels=4 * groups, expanded_channels=case["expanded"] * groups, out_channels=3 * groups, kernel=3,
        stride=case["stride"], groups=groups, residual=False, shuffle=True,
    )  # fmt: skip
    block = FusedBlock(spec, "block", case["gated"], case["gated"])
    for index, layer in enumerate(block.masked_layers()):
        randomise(layer, case["seed"] + index)
    for layer in (block.expand, block.depthwise):
        layer.norm.frozen = case["frozen"]
    if block.predictor is not None:
        block.predictor.input_scale.assign(0.02)
        block.predictor.shift.assign(np.arange(spec.expanded_channels) % 4)
        block.output_scale.assign(0.3)
    (block.predictor or block).limit_to(Survivors(0.1, 0.1, 1e5, case["costs"]) if case["limited"] else None)
    return block


def outcome(block: FusedBlock, x: np.ndarray, training: bool, seed: int) -> dict[str, np.ndarray]:
    """Output, loss, gradients of everything trained, and all variables afterwards."""
    inputs = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        y = block(inputs, training=training)
        upstream = np.random.default_rng(seed).normal(size=tuple(y.shape)).astype(np.float32)
        loss = tf.reduce_sum(y * upstream) + sum(block.losses)
    trained = {variable.path: variable for variable in block.trainable_variables}
    found = tape.gradient(loss, [inputs, *(variable.value for variable in trained.values())], unconnected_gradients="zero")
    gradients = {f"gradient of {name}": g for name, g in zip(["inputs", *trained], found, strict=True)}
    variables = {variable.path: variable for variable in block.variables}
    return {
        name: np.asarray(ops.convert_to_numpy(value))
        for name, value in ({"y": y, "loss": loss} | gradients | variables).items()
    }


@settings(max_examples=20, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(case=CASES)
@example(case=GATED)
@example(case=GATED | {"frozen": True, "stride": 2, "seed": 8})
@example(case=GATED | {"gated": False, "stride": 2})
@example(case=GATED | {"costs": False})
@example(case=CANCELLING)
def test_kernel_computes_the_block_and_its_gradients(case: dict[str, Any]) -> None:
    from sw.networks.native.block import apply  # noqa: PLC0415 (needs TensorFlow)

    x = np.random.default_rng(case["seed"]).normal(size=(5, *case["size"], 4 * case["groups"])).astype(np.float32)
    plain, native = make_block(case), make_block(case)
    native.kernel = apply
    expected = outcome(plain, x, case["training"], case["seed"])
    received = outcome(native, x, case["training"], case["seed"])
    assert expected.keys() == received.keys()
    for name, value in expected.items():
        # Sums of few pixels that nearly cancel, or quite, and leave the rounding of terms of about 1; a wrong factor or tap is
        # off by far more.
        np.testing.assert_allclose(received[name], value, rtol=0, atol=5e-3 * (np.abs(value).max() + 0.1), err_msg=name)


def test_wrong_kind_of_array_is_refused() -> None:
    with pytest.raises(TypeError, match="expected a contiguous float32 array, got float64"):
        library._pointer(np.zeros(3))  # type: ignore[arg-type]


def test_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert not library.available()
    library.load.cache_clear()
    with pytest.raises(ArchonError, match=r"needs g\+\+, which was not found"):
        library.load()
