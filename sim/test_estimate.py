"""The model of cycles keeps to the RTL, layer by layer."""

import csv
import json
from pathlib import Path

import pytest
from rich.console import Console

import sim.run
from sim.estimate import Estimate, estimate
from sim.options import Options
from sim.run import run_network
from sim.small_network import make_network, small_spec
from sw.bundle import save_bundle
from sw.datasets import cropped, load_excerpt
from sw.export.random_network import Survivors, random_network
from sw.spec import load_spec
from tb.kinds_cases import KindsCase, kinds_spec

MOST = 0.05
"""The largest error of a layer."""


MOST_OF_SHORT_LAYERS = 0.12
"""The same where layers take a thousand cycles or two on two lanes, and a job's start and end are a good part of them."""


def run_and_estimate(
    bundle: Path, images: int, latency: int, folder: Path, monkeypatch: pytest.MonkeyPatch, most: float = MOST
) -> Estimate:
    monkeypatch.setattr(sim.run, "BUILD", folder)
    quiet = Console(quiet=True)
    report = run_network(Options(str(bundle), images=images, latency=latency), quiet).report
    assert report.bit_exact
    found = estimate(str(bundle), None, None, 1, quiet, latency, folder)
    assert [layer.name for layer in found.layers] == [layer.name for layer in report.layers]
    assert [layer.measured for layer in found.layers] == [layer.cycles for layer in report.layers]
    assert found.images == images
    wrong = {layer.name: layer.error for layer in found.layers if layer.error is None or abs(layer.error) > most}
    assert wrong == {}
    assert found.worst is not None
    assert found.worst <= most
    return found


def test_every_layer_of_a_small_network_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "small.archon"
    save_bundle(make_network(small_spec()), bundle)
    found = run_and_estimate(bundle, 2, 100, tmp_path, monkeypatch)
    files = found.write(tmp_path / "written")
    assert [path.name for path in files] == ["estimate.json", "estimate.csv"]
    written = json.loads(files[0].read_text(encoding="utf-8"))
    assert [layer["model"] for layer in written["layers"]] == [layer.model for layer in found.layers]
    rows = list(csv.DictReader(files[1].read_text(encoding="utf-8").splitlines()))
    assert [float(row["model"]) for row in rows] == [layer.model for layer in found.layers]
    # The report of another memory is not what the model is held against.
    other = estimate(str(bundle), None, None, 1, Console(quiet=True), 10, tmp_path)
    assert other.worst is None
    assert other.total.measured is None
    assert other.total.model < found.total.model


@pytest.mark.slow
def test_every_layer_of_the_nano_network_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "nano.archon"
    save_bundle(make_network(load_spec("fusionet-nano")), bundle)
    found = run_and_estimate(bundle, 1, 100, tmp_path, monkeypatch)
    assert (found.preset, found.multipliers) == ("small", 8)


@pytest.mark.slow
def test_every_kind_of_block_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = cropped(load_excerpt().images[:2], 27, 30)
    bundle = tmp_path / "kinds.archon"
    save_bundle(random_network(kinds_spec(KindsCase("odd", 27, 30, 2)), 7, Survivors(0.5, 0.5), images).network, bundle)
    run_and_estimate(bundle, 1, 5, tmp_path, monkeypatch, MOST_OF_SHORT_LAYERS)
