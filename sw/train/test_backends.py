"""The same program on another backend: JAX trains, quantises and evaluates as TensorFlow does, from the same start."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from sw.arrays import load_arrays
from sw.run_folder import read_log
from sw.spec import NetworkSpec, parse_spec
from sw.train.recipe import Recipe
from sw.train.run import train
from sw.train.settings import Run
from sw.train.test_train import tiny_data, tiny_spec

QUICK = Recipe(epochs=1, rate=0.01, final_rate=0.01, batch=32, ramp=0.5, decay=1e-3)


def small_spec() -> NetworkSpec:
    """A fused block with squeeze-and-excite behind the stem."""
    values = tiny_spec().model_dump()
    block = values["blocks"][0] | {"squeeze_and_excite": True, "squeezed_channels": 4}
    without = dict.fromkeys(("first_pointwise", "first_depthwise", "last_pointwise"))
    return parse_spec(values | without | {"blocks": [block]})


def train_stages(folder: Path) -> None:
    """A few steps of pruning and of quantised training, calibration in between, from the vanilla checkpoint in the folder."""
    data = tiny_data(64)
    limited = QUICK.limited(0.5, 0.4)
    for stage, recipe in {"pruned": QUICK, "pred": replace(limited, epochs=0), "quantized": limited}.items():
        train(Run(small_spec(), stage, recipe, folder / stage, kernel="keras"), data, data)


@pytest.mark.slow
def test_jax_does_what_tensorflow_does(tmp_path: Path) -> None:
    pytest.importorskip("jax", reason="without JAX there is one backend")
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        run = Run(small_spec(), "vanilla", replace(QUICK, epochs=0), folder / "vanilla", kernel="keras")
        train(run, tiny_data(64), tiny_data(64))
    unoptimised = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"  # compiling is what takes time
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": unoptimised}
    subprocess.run([sys.executable, "-m", "sw.train.test_backends", str(there)], check=True, env=environment)
    train_stages(here)
    assert keras.backend.backend() == "tensorflow"
    for stage in ("pruned", "pred", "quantized"):
        expected, other = (load_arrays(folder / stage / "weights.npz") for folder in (here, there))
        assert expected.keys() == other.keys()
        for name, array in expected.items():
            np.testing.assert_allclose(other[name], array, rtol=2e-3, atol=2e-3, err_msg=f"{stage} {name}")
        if stage == "pred":
            continue
        losses = [float(read_log(folder / stage, 1)[0]["loss"]) for folder in (here, there)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-3)


if __name__ == "__main__":
    train_stages(Path(sys.argv[1]))
