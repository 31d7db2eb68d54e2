"""A grown network is the same function, wider."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras import ops

from hw.contract.errors import ArchonError
from sw.arrays import load_arrays
from sw.networks.network import Network
from sw.networks.test_networks import images, randomise, tiny_spec
from sw.spec import NetworkSpec, load_spec, parse_spec
from sw.train import checkpoint
from sw.train.run import train
from sw.train.settings import Run, narrow_spec
from sw.train.test_train import QUICK, tiny_data
from sw.train.widen import widen, widening


def wider_spec(copies: int = 3) -> NetworkSpec:
    values = tiny_spec().model_dump()
    for block in values["blocks"]:
        block["expanded_channels"] *= copies
    return parse_spec(values | {"name": "wider"})


def variables(model: Network) -> dict[str, np.ndarray]:
    return {name: np.asarray(ops.convert_to_numpy(v)) for name, v in model.named_variables().items()}


@pytest.mark.parametrize("predicted", [False, True])
def test_copies_leave_the_function_as_it_is(predicted: bool) -> None:
    narrow = Network(tiny_spec(), predicted=predicted, quantized=predicted)
    wide = Network(wider_spec(), predicted=predicted, quantized=predicted)
    for index, layer in enumerate(narrow.masked_layers()):
        randomise(layer, index)
    for block in narrow.blocks:
        if block.predictor is not None:
            block.predictor.input_scale.assign(0.3)
            block.predictor.shift.assign(np.arange(block.predictor.shift.shape[0]) % 4)
            block.output_scale.assign(0.4)
    checkpoint.assign(wide.named_variables(), widen(variables(narrow), narrow.spec, wide.spec, 0, noise=0), Path("narrow"))
    x = images()
    expected = np.asarray(narrow(x))
    assert expected.std() > 0
    np.testing.assert_allclose(wide(x), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_noise_makes_copies_differ_and_keeps_zeros() -> None:
    narrow = Network(tiny_spec())
    for index, layer in enumerate(narrow.masked_layers()):
        randomise(layer, index)
    grown = widen(variables(narrow), tiny_spec(), wider_spec(), 0)
    weight, mask = grown["blocks.0.expand.weight"], grown["blocks.0.expand.mask"]
    per_group = weight.shape[0] // (3 * tiny_spec().blocks[0].groups)
    assert (weight[0] != weight[per_group]).all()
    np.testing.assert_allclose(weight[0], weight[per_group], rtol=0.5)
    np.testing.assert_array_equal(mask[:per_group], mask[per_group : 2 * per_group])


def test_fusionet_grows_from_its_slim_form() -> None:
    assert widening(load_spec("fusionet-slim"), load_spec("fusionet")) == [16] * 16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": 7}, "wider cannot be grown from tiny: they differ in classes"),
        ({"expanded_channels": 25}, "block 1 expands to 100 channels, expected a multiple of 96"),
    ],
)
def test_networks_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    values = wider_spec(4).model_dump()
    narrow = tiny_spec().model_dump() | {"name": "tiny"}
    if "expanded_channels" in change:
        values["blocks"][0]["expanded_channels"] = 100
        narrow["blocks"][0]["expanded_channels"] = 96
    else:
        values |= change
    with pytest.raises(ArchonError, match=message):
        widening(parse_spec(narrow), parse_spec(values))


def test_a_run_starts_from_a_narrower_one(tmp_path: Path) -> None:
    data = tiny_data()
    values = tiny_spec().model_dump() | {"height": 8, "width": 8}
    narrow = parse_spec(values)
    train(Run(narrow, "vanilla", QUICK, tmp_path / "narrow" / "vanilla"), data, data)
    wide = parse_spec(wider_spec().model_dump() | {"height": 8, "width": 8})
    run = Run(wide, "vanilla", QUICK, tmp_path / "wide" / "vanilla", widen=tmp_path / "narrow" / "vanilla", stop_after=0)
    assert train(run, data, data) is None
    start = load_arrays(tmp_path / "wide" / "vanilla" / "checkpoint.npz")
    assert start["blocks.0.expand.weight"].shape[0] == wide.blocks[0].expanded_channels
    missing = Run(wide, "vanilla", QUICK, tmp_path / "wide" / "again", widen=tmp_path / "nowhere")
    with pytest.raises(ArchonError, match=r"nowhere/config\.json is missing"):
        train(missing, data, data)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{}", r"config\.json: expected the settings of a training run, got something else"),
        ("[", r"config\.json: expected the settings of a training run, got something else"),
        ('{"stage": "vanilla", "seed": 0, "recipe": {"epochs": 1}}', r"config\.json: .*, got some that do not say the network"),
    ],
)
def test_a_folder_to_grow_from_that_holds_something_else(tmp_path: Path, config: str, message: str) -> None:
    (tmp_path / "config.json").write_text(config, encoding="utf-8")
    with pytest.raises(ArchonError, match=message):
        narrow_spec(tmp_path)
