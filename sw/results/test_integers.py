"""Evaluations in integers count for the bundle that they were made of, and for no other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sw.arrays import file_digest
from sw.bundle import find_bundle, load_bundle, save_bundle
from sw.golden.record import RECORD
from sw.results.render import cells
from sw.results.table import Row
from sw.results.test_results import NANO, row_of, sources

BLOCK = {
    "name": "block 1", "survivors_first": 0.5, "survivors_second": 0.2, "predictor_agreement_first": 0.9,
    "predictor_agreement_second": 0.8, "multiplications_executed": None, "additions_executed": None,
}  # fmt: skip
COUNTED = BLOCK | {"survivors_first": 0.3, "multiplications_executed": 1000.5, "additions_executed": 7.0}
EVALUATIONS = {
    "layerwise": {"images": 10000, "correct": 7942, "blocks": [BLOCK, BLOCK | {"survivors_second": 0.4}]},
    "fused": {"images": 96, "correct": 80, "blocks": [COUNTED, COUNTED]},
}


def put_bundle(path: Path, **provenance: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    network = load_bundle(find_bundle(NANO))
    save_bundle(network.replaced(provenance=network.provenance | provenance), path)


def put_record(path: Path, bundle: Path, **changes: Any) -> None:
    values = {"network": NANO, "dataset": "cifar10", "bundle_sha256": file_digest(bundle), "evaluations": EVALUATIONS}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values | changes), encoding="utf-8")


@pytest.fixture
def kept(tmp_path: Path) -> tuple[Path, Path]:
    """A bundle that comes with the project and where its record lies."""
    bundle = tmp_path / "bundles" / f"{NANO}.archon"
    put_bundle(bundle, grown_from="narrow/train/quantized")
    return bundle, tmp_path / "runs" / NANO / RECORD


def integers(folder: Path) -> Row:
    return row_of(folder, "integers")


def test_figures_of_both_modes(kept: tuple[Path, Path], tmp_path: Path) -> None:
    put_record(kept[1], kept[0])
    row = integers(tmp_path)
    assert (row.status, row.accuracy, row.images, row.log) == ("measured", 0.7942, 10_000, str(kept[1]))
    assert (row.survivors_first, row.survivors_second) == pytest.approx((0.5, 0.3))
    assert (row.fused_executed, row.counted_images, row.fused_dense) == (2001.0, 96, 4_952_064)
    assert (row.nonzero_weights, row.nonzero_multiply_accumulates) == (17_683, 1_515_733)
    assert row.notes == ("stage quantized", "grown from narrow/train/quantized", f"bundle {file_digest(kept[0])[:12]}")
    assert cells(row)[8:] == ["2,001 of 4,952,064 (96 images)", "50.0 / 30.0"]
    assert row.commands == (
        f"archon evaluate {NANO} --dataset cifar10", f"archon evaluate {NANO} --dataset cifar10 --mode fused --images 96"
    )  # fmt: skip


def test_a_bundle_without_a_record_is_not_evaluated_yet(kept: tuple[Path, Path], tmp_path: Path) -> None:
    row = integers(tmp_path)
    assert (row.status, row.accuracy, row.nonzero_weights) == ("not evaluated yet", None, None)
    assert row.commands[0] == f"archon evaluate {NANO} --dataset cifar10"
    put_bundle(kept[0], weights="random")
    assert integers(tmp_path).status == "not trained yet"


def test_a_record_of_another_bundle_is_refused(kept: tuple[Path, Path], tmp_path: Path) -> None:
    put_record(kept[1], kept[0])
    before = file_digest(kept[0])
    put_bundle(kept[0], seed="99")
    row = integers(tmp_path)
    assert (row.status, row.accuracy, row.fused_executed) == ("refused", None, None)
    expected = f"expected a record of the bundle {file_digest(kept[0])[:12]}, got one of {before[:12]}"
    assert row.notes == (f"{kept[1]}: {expected}",)
    kept[0].unlink()
    assert f"expected a trained bundle of {NANO} as it is described now, got none" in integers(tmp_path).notes[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "fusionet"}, "expected the network fusionet-nano, got fusionet"),
        ({"dataset": "svhn"}, "expected the data set cifar10, got svhn"),
        ({"evaluations": {}}, "expected 1 to 10000 images, got 0"),
        ({"evaluations": {"fused": {"images": 10001, "correct": 1, "blocks": []}}}, "expected 1 to 10000 images, got 10001"),
    ],
)
def test_a_record_of_something_else_is_refused(
    changes: dict[str, Any], message: str, kept: tuple[Path, Path], tmp_path: Path
) -> None:
    put_record(kept[1], kept[0], **changes)
    row = integers(tmp_path)
    assert row.status == "refused"
    assert message in row.notes[0]


def test_random_weights_have_no_accuracy(kept: tuple[Path, Path], tmp_path: Path) -> None:
    put_bundle(kept[0], weights="random")
    put_record(kept[1], kept[0])
    assert integers(tmp_path).status == "refused"
    assert "expected a trained bundle" in integers(tmp_path).notes[0]


def test_what_was_exported_here_goes_first(kept: tuple[Path, Path], tmp_path: Path) -> None:
    put_record(kept[1], kept[0])
    here = sources(tmp_path).build
    assert here is not None
    exported, record = here / NANO / f"{NANO}.archon", here / NANO / RECORD
    evaluations = {"fused": {"images": 200, "correct": 100, "blocks": [COUNTED]}}
    put_record(record, kept[0], evaluations=evaluations)
    assert integers(tmp_path).accuracy == 0.5  # evaluated here, of the bundle that comes with the project
    put_bundle(exported, weights="random")
    assert integers(tmp_path).accuracy == 0.5
    put_bundle(exported, seed="99")
    row = integers(tmp_path)
    assert (row.status, row.accuracy) == ("refused", None)  # what was evaluated here is not what was exported here
    record.unlink()
    assert integers(tmp_path).status == "not evaluated yet"
    put_record(record, exported, evaluations=evaluations)
    row = integers(tmp_path)
    assert (row.accuracy, row.images, row.log) == (0.5, 200, str(record))
    shutil.copy(kept[0], exported)
    assert integers(tmp_path).accuracy == 0.7942  # a copy of the bundle that comes with the project
