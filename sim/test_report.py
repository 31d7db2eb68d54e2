"""The report's fields, files, table and picture."""

import json
import re
from pathlib import Path
from typing import Any

import matplotlib.image
import pandas as pd
import pytest
from pydantic import ValidationError
from rich.console import Console

from sim.activity import wrong_sums
from sim.render import layer_table, verdict, write_picture
from sim.render_activity import activity_tables, busiest, write_activity_picture
from sim.report import FirstDifference, LayerReport, Report, UnitActivity, schema, write_report
from sim.toolchain import REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "report.md"
SCHEMA = REPOSITORY / "docs" / "report.schema.json"

REQUIRED = {
    "network", "images", "bit_exact", "mismatches", "accuracy", "lanes", "multipliers", "seed", "clock_cycles_per_image",
    "wall_seconds", "simulated_cycles_per_second", "versions", "layers",
}  # fmt: skip
REQUIRED_OF_LAYERS = {
    "name", "kind", "on", "cycles", "multiplications_dense", "multiplications_pruned", "multiplications_executed",
    "additions_executed", "survivors_first", "survivors_second", "predictor_agreement_first", "predictor_agreement_second",
}  # fmt: skip


def example(**changes: Any) -> Report:
    host = dict.fromkeys(LayerReport.model_fields) | {"multiplications_dense": 900, "multiplications_pruned": 800}
    fused = {
        "name": "block 1", "kind": "fused block", "on": "rtl", "cycles": 1234.5, "multiplications_dense": 5000,
        "multiplications_pruned": 1000, "multiplications_executed": 300.0, "additions_executed": 700.5,
        "survivors_first": 0.4, "survivors_second": 0.25, "predictor_agreement_first": 0.9, "predictor_agreement_second": 0.8,
    }  # fmt: skip
    values: dict[str, Any] = {
        "network": "example", "bundle": "example", "images": 2, "image_indices": [7, 3], "labels": [0, 9],
        "predictions": [0, 1], "bit_exact": True, "mismatches": 0, "compared": 99, "first_difference": None,
        "accuracy": 0.5, "preset": "tiny", "clusters": 1, "lanes": 2, "multipliers": 2, "seed": 1, "simulator": "verilator",
        "memory_latency": 100, "clock_cycles_per_image": 2000.5, "wall_seconds": 3.0, "simulation_seconds": 2.0,
        "simulated_cycles_per_second": 2000.5, "versions": {"python": "3"}, "command": "make sim NET=example",
        "activity": [
            {"layer": "block 1", "unit": "multipliers", "instances": 2, "cycles": 2469.0, "busy": 300.0, "starved": 1000.5,
             "blocked": 0.0, "drain": 1168.5},
            {"layer": "block 1", "unit": "reduction", "instances": 1, "cycles": 1234.5, "busy": 600.0, "starved": 34.5,
             "blocked": 500.0, "drain": 100.0},
        ],
        "discrepancies": [],
        "layers": [{**host, "name": "stem", "kind": "convolution", "on": "host"}, fused],
    }  # fmt: skip
    return Report.model_validate(values | changes)


def printed(*parts: Any) -> str:
    console = Console(record=True, width=200, file=None, quiet=False)
    with console.capture() as capture:
        console.print(*parts)
    return capture.get()


def test_the_fields_that_others_rely_on_are_there() -> None:
    assert set(Report.model_fields) >= REQUIRED
    assert set(LayerReport.model_fields) == REQUIRED_OF_LAYERS


def test_the_schema_in_the_documentation_is_the_one_of_the_code() -> None:
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == schema()


@pytest.mark.parametrize("model", [Report, LayerReport, UnitActivity, FirstDifference])
def test_every_field_is_documented(model: type[Report]) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert [name for name in model.model_fields if f"| `{name}` |" not in text] == []


def test_what_was_written_reads_back(tmp_path: Path) -> None:
    report = example()
    files = write_report(report, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in files)
    assert Report.model_validate_json((tmp_path / "report.json").read_text(encoding="utf-8")) == report
    table = pd.read_csv(tmp_path / "report.csv")
    assert list(table.columns) == list(LayerReport.model_fields)
    assert table.loc[1, "additions_executed"] == pytest.approx(700.5, abs=0)
    assert table.loc[0].isna().sum() == 7
    assert pd.read_csv(tmp_path / "activity.csv")["drain"].tolist() == [1168.5, 100.0]


def test_an_unfinished_file_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_report(example(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def breaks(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(pd.DataFrame, "to_csv", breaks)
    with pytest.raises(OSError, match="disk full"):
        write_report(example(), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("change", [{"accuracy": 1.5}, {"layers": []}, {"unheard_of": 1}, {"images": 0}])
def test_impossible_values_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        example(**change)


def test_the_table_has_every_layer_and_the_sum_of_the_accelerator() -> None:
    text = printed(layer_table(example()))
    assert [word for word in ("stem", "block 1", "all on rtl", "1,234", "5,000", "40.0") if word not in text] == []


def test_one_image_has_no_means() -> None:
    assert "example: means of 2 images, shares in %" in printed(layer_table(example()))
    assert "example: one image, shares in %" in printed(layer_table(example(images=1)))


def test_the_verdict_passes_and_fails() -> None:
    passed = printed(verdict(example()))
    assert "predicted airplane, label airplane\n" in passed
    assert "predicted automobile, label truck  (wrong)" in passed
    assert passed.splitlines()[-1].startswith("PASS: ")
    first = {"image": 1, "layer": "block 1", "quantity": "activation", "channel": 2, "row": 3, "column": 4}
    failed = printed(verdict(example(bit_exact=False, mismatches=5, first_difference=first | {"expected": -6, "got": 7})))
    assert failed.splitlines()[-1] == (
        "FAIL: 5 of 99 activations, logits and counters differ; first: "
        "image 1, layer block 1, channel 2, row 3, column 4: expected -6, got 7"
    )


def test_the_units_have_a_table_and_the_busiest_is_named() -> None:
    report = example()
    assert busiest(report.activity).unit == "reduction"
    text = printed(*activity_tables(report))
    row = next(line.split() for line in text.splitlines() if "block 1" in line)
    assert row == ["block", "1", "12.2", "40.5", "0.0", "47.3", "reduction", "48.6", "2.8", "40.5", "8.1"]
    assert activity_tables(example(activity=[])) == []


@pytest.mark.parametrize(
    ("row", "changes", "sentence"),
    [
        (
            1,
            {"starved": 35.0},
            "layer block 1, reduction: busy, .* must add up to 2469 cycles, got 2470",
        ),
        (1, {"cycles": 1235.5, "drain": 101.0}, "layer block 1, reduction: 2469 cycles are expected, got 2471"),
        (0, {"busy": 299.0, "drain": 1169.5}, "layer block 1, multipliers: 600 busy cycles are expected, got 598"),
        (0, {"drain": -1.0, "starved": 2170.0}, "layer block 1, multipliers: its jobs took more cycles than the layer, .*2469"),
        (1, {"layer": "block 9"}, "layer block 9, reduction: the report has no such layer"),
    ],
)
def test_a_tampered_report_does_not_reconcile(row: int, changes: dict[str, Any], sentence: str) -> None:
    report = example()
    assert wrong_sums(report) == []
    rows = [item.model_dump() for item in report.activity]
    rows[row] |= changes
    [found] = wrong_sums(example(activity=rows))
    assert re.fullmatch(sentence, found)


def test_discrepancies_fail() -> None:
    report = example(discrepancies=["layer stem, multipliers: wrong"])
    assert not report.passed
    failed = printed(verdict(report)).splitlines()[-1]
    assert failed == "FAIL: 1 discrepancies between counters; first: layer stem, multipliers: wrong"


def test_the_pictures_are_pictures(tmp_path: Path) -> None:
    write_picture(example(), tmp_path / "report.png")
    write_activity_picture(example(), tmp_path / "activity.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["activity.png", "report.png"]
    for path in tmp_path.iterdir():
        assert matplotlib.image.imread(path).std() > 0.01
