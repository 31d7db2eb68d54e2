"""Devices that share every batch train as one does."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from hw.contract.errors import ArchonError
from sw.arrays import load_arrays
from sw.run_folder import read_config, read_log
from sw.spec import NetworkSpec, load_spec, parse_spec
from sw.train import devices, run
from sw.train.checkpoint import write_config
from sw.train.recipe import Recipe
from sw.train.settings import Run
from sw.train.test_train import tiny_data

BATCH = 32
COUNTS = (1, 2)


def small_spec() -> NetworkSpec:
    values = load_spec("mobilenetv2-nano").model_dump()
    block = values["blocks"][1] | {"in_channels": 8, "expanded_channels": 16, "out_channels": 12, "residual": False}
    stem = {"channels": 8, "kernel": 3, "stride": 1}
    return parse_spec(values | {"height": 8, "width": 8, "stem": stem, "blocks": [block], "last_pointwise": None})


def train_stages(folder: Path) -> None:
    """A few steps, and the accuracy of integers, each on one device and on two; there are more images than two can halve."""
    data = tiny_data(2 * BATCH + 3)
    sharing, one_epoch = [], run.train_epoch

    def noted(*args: Any) -> tuple[float, float]:
        sharing.append(len(args[1].model.dense.kernel.value.devices()))
        return one_epoch(*args)

    setattr(run, "train_epoch", noted)  # noqa: B010
    quick = Recipe(epochs=1, rate=0.01, final_rate=0.01, batch=BATCH)
    for count in COUNTS:
        runs = folder / str(count)
        run.train(Run(small_spec(), "vanilla", quick, runs / "vanilla", devices=count), data, data)
        shutil.copytree(runs / "vanilla", runs / "pruned")
        write_config(runs / "pruned", (read_config(runs / "vanilla") or {}) | {"stage": "pruned"})
        run.train(Run(small_spec(), "quantized", replace(quick, epochs=0), runs / "quantized", devices=count), data, data)
    assert sharing == list(COUNTS)


@pytest.mark.slow
def test_two_devices_do_what_one_does(tmp_path: Path) -> None:
    pytest.importorskip("jax", reason="of the backends, JAX alone has several devices")
    flags = (
        "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    )
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    subprocess.run([sys.executable, "-m", "sw.train.test_devices", str(tmp_path)], check=True, env=environment)
    for stage in ("vanilla", "quantized"):
        one, two = (tmp_path / str(count) / stage for count in COUNTS)
        expected, shared = load_arrays(one / "weights.npz"), load_arrays(two / "weights.npz")
        assert expected.keys() == shared.keys()
        for name, array in expected.items():
            np.testing.assert_allclose(shared[name], array, rtol=1e-4, atol=1e-5, err_msg=f"{stage} {name}")
        configs = [read_config(folder) or {} for folder in (one, two)]
        assert [config["devices"] for config in configs] == list(COUNTS)
        assert configs[0]["test_accuracy"] == pytest.approx(configs[1]["test_accuracy"], abs=0.02)
    losses = [float(read_log(tmp_path / str(count) / "vanilla")[0]["loss"]) for count in COUNTS]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_devices_that_cannot_be_had_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices.choose_devices(1, 64) == 1
    with pytest.raises(ArchonError, match=r"only Keras' jax backend .* trains on several, got 2 with tensorflow"):
        devices.choose_devices(2, 64)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(keras.distribution, "list_devices", lambda _="gpu": ["gpu:0", "gpu:1", "gpu:2"])
    assert [devices.choose_devices(wanted, batch) for wanted, batch in ((None, 64), (None, 96), (3, 96))] == [2, 3, 3]
    for wanted, said in {
        0: "expected 1 to 3 .*, got 0",
        4: "expected 1 to 3 .*, got 4",
        3: "divides the batch of 64 images",
    }.items():
        with pytest.raises(ArchonError, match=said):
            devices.choose_devices(wanted, 64)


def test_gpus_left_out_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.distribution, "list_devices", lambda _="gpu": ["gpu:0", "gpu:1", "gpu:2"])
    said = devices.left_out(None, 96)
    assert said == "1 of 3 GPUs is used: Keras' tensorflow backend cannot share batches, KERAS_BACKEND=jax can"
    assert devices.left_out(1, 96) is None
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert devices.left_out(None, 96) is None
    assert devices.left_out(None, 64) == "2 of 3 GPUs are used: more cannot share a batch of 64 images evenly"


if __name__ == "__main__":
    train_stages(Path(sys.argv[1]))
