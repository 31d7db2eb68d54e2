"""What evaluations leave for the table of results."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hw.contract.errors import ArchonError
from sw.arrays import file_digest
from sw.bundle import find_bundle, load_bundle, save_bundle
from sw.bundle.thresholds import raised
from sw.datasets import ImageSet, load_excerpt
from sw.golden import __main__ as command_line
from sw.golden.record import RECORD, read_record

NET = "fusionet-nano"


@pytest.fixture
def excerpt_as_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six images in place of the test set, which is not there everywhere."""
    excerpt = load_excerpt()
    monkeypatch.setattr(command_line, "images_for", lambda *_: ImageSet(excerpt.images[:6], excerpt.labels[:6]))


def evaluated(tmp_path: Path, images: int, net: str | Path = NET, **options: str) -> Path:
    """Evaluate, and say where the record is to be."""
    assert command_line.evaluate_command(str(net), images=images, workers=1, build=tmp_path, **options) == 0  # type: ignore[arg-type]
    return tmp_path / NET / RECORD


@pytest.mark.usefixtures("excerpt_as_data")
def test_a_record_holds_what_was_evaluated_in_each_mode(tmp_path: Path) -> None:
    evaluated(tmp_path, 5)
    path = evaluated(tmp_path, 2, mode="fused")
    record = read_record(path)
    assert (record.network, record.dataset, record.bundle_sha256) == (NET, "cifar10", file_digest(find_bundle(NET)))
    layerwise, fused = record.evaluations["layerwise"], record.evaluations["fused"]
    assert (layerwise.images, fused.images) == (5, 2)
    assert layerwise.blocks[0].multiplications_executed is None
    printed = json.loads((tmp_path / NET / "evaluation.json").read_text())
    assert fused.correct == printed["correct"]
    assert [block.multiplications_executed for block in fused.blocks] == [
        block["multiplications_executed"] for block in printed["blocks"]
    ]


@pytest.mark.usefixtures("excerpt_as_data")
def test_only_networks_that_predict_have_a_table_of_survivors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for net, shown in ((NET, True), ("mobilenetv2-nano", False)):
        evaluated(tmp_path, 1, net)
        printed = capsys.readouterr().out
        assert ("survivors 1st" in printed) is shown
        assert "of 1 images" in printed


@pytest.mark.usefixtures("excerpt_as_data")
def test_the_evaluation_on_more_images_stays(tmp_path: Path) -> None:
    path = evaluated(tmp_path, 4)
    before = path.read_bytes()
    evaluated(tmp_path, 3)
    assert path.read_bytes() == before
    evaluated(tmp_path, 6)
    assert read_record(path).evaluations["layerwise"].images == 6


@pytest.mark.usefixtures("excerpt_as_data")
def test_a_bundle_of_another_name_has_a_record_of_its_own(tmp_path: Path) -> None:
    path = evaluated(tmp_path, 2)
    before, other = path.read_bytes(), tmp_path / f"{NET}-raised.archon"
    save_bundle(raised(load_bundle(find_bundle(NET)), 0.5, 0), other)
    evaluated(tmp_path, 2, other)
    assert path.read_bytes() == before
    assert read_record(tmp_path / NET / f"integers-{NET}-raised.json").bundle_sha256 == file_digest(other)


@pytest.mark.usefixtures("excerpt_as_data")
def test_another_bundle_begins_another_record(tmp_path: Path) -> None:
    network, other = load_bundle(find_bundle(NET)), tmp_path / "other" / f"{NET}.archon"
    other.parent.mkdir()
    save_bundle(network.replaced(dense_bias=network.dense_bias + np.int32(1)), other)
    path = evaluated(tmp_path, 4, mode="fused")
    evaluated(tmp_path, 3, other)
    record = read_record(path)
    assert record.bundle_sha256 == file_digest(other)
    assert list(record.evaluations) == ["layerwise"]


@pytest.mark.usefixtures("excerpt_as_data")
def test_nothing_is_recorded_of_other_images_or_random_weights(tmp_path: Path) -> None:
    network, untrained = load_bundle(find_bundle(NET)), tmp_path / "random.archon"
    save_bundle(network.replaced(provenance={"weights": "random"}), untrained)
    evaluated(tmp_path, 1, data="excerpt")
    evaluated(tmp_path, 1, dataset="svhn")
    assert not list(evaluated(tmp_path, 1, untrained).parent.glob("integers*"))


@pytest.mark.usefixtures("excerpt_as_data")
@pytest.mark.parametrize("change", [{"correct": 3}, {"images": 0}, {"images": "many"}])
def test_a_damaged_record_is_refused_before_the_work(
    change: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = evaluated(tmp_path, 1)
    values = json.loads(path.read_text())
    values["evaluations"]["layerwise"] |= change
    path.write_text(json.dumps(values))
    (tmp_path / NET / "evaluation.json").unlink()
    assert command_line.evaluate_command(NET, images=1, build=tmp_path) == 2
    assert f"{RECORD}: expected a record of evaluations in integers" in capsys.readouterr().err
    assert not (tmp_path / NET / "evaluation.json").exists()
    with pytest.raises(ArchonError, match="expected a record"):
        read_record(tmp_path / "none.json")
