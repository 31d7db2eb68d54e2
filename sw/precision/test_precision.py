"""Costs of precisions against counts by hand, rows that survive their files, and the page that comes with the project."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from hw.contract import tables
from hw.contract.config import Widths, preset
from hw.contract.errors import ArchonError
from hw.contract.numerics import signed_bits
from hw.contract.tables import TableKind
from sw.arrays import file_digest
from sw.bundle import check_bounds, find_bundle, load_bundle
from sw.command import REFUSED
from sw.datasets import ImageSet
from sw.golden.random_block import random_block
from sw.precision.__main__ import main
from sw.precision.choices import DEFAULT, KINDS, choices_of
from sw.precision.comparison import JSON, Comparison, trained_folder
from sw.precision.cost import cost_of, fused_parts, needed_widths, row_layout
from sw.precision.page import DOCS, PAGE, findings, page
from sw.precision.render import CSV, PICTURE, grouped, picture
from sw.precision.rows import Row, pack, read_csv, read_json, to_csv, with_gains, write_json
from sw.quantize.precision import Precision
from sw.quantize.value_path import ValuePath, quantize_value_path
from sw.run_folder import CONFIG, KEPT_RUNS, WEIGHTS
from sw.spec import BlockSpec, load_spec
from sw.task import network_for

KEPT = KEPT_RUNS / "fusionet-nano" / CSV
SPEC = BlockSpec(
    in_channels=24, expanded_channels=80, out_channels=16, kernel=3, stride=1, groups=2, residual=False, shuffle=True
)


def make_row(right: list[bool], kind: str = DEFAULT, **changes: object) -> Row:
    values = {
        "network": "net", "dataset": "cifar10", "kind": kind, "weight_bits": 5, "project": "2 powers, shifts to 7",
        "adder_limit": 18, "predictor_input_bits": 4, "tuned_steps": 0, "images": len(right), "correct": sum(right),
        "adder_bits": 18, "product_bits": 9, "bias_product_bits": 15, "bias_bits": 16, "predictor_sum_bits": 8, "pair_rows": 7,
        "step_rows": 8, "bias_rows": 9, "updates": 11, "value_bits": 12, "table_bits": 13, "preset": "small", "seed": 0,
        "digest": "abc", "right": pack(np.array(right)),
    }  # fmt: skip
    return Row.model_validate(values | changes)


def test_biases_exceed_weights_as_far_as_in_the_hardware() -> None:
    hardware = Precision().widths
    for choice in choices_of():
        widths = choice.precision.widths
        finer = 2 * (widths.weight - hardware.weight)
        assert (widths.bias_product, widths.bias) == (hardware.bias_product + finer, hardware.bias + finer)


def test_a_channel_of_next_to_nothing_does_not_widen_biases() -> None:
    path = ValuePath(
        expand_weight=np.array([[1.0], [1e-9]]), expand_bias=np.array([0.5, 0.5]),
        depthwise_weight=np.ones((2, 3, 3)), depthwise_bias=np.array([0.25, 0.25]),
        project_weight=np.ones((1, 2)), project_bias=np.zeros(1),
    )  # fmt: skip
    for choice in choices_of(["weights"]):
        rounded = quantize_value_path(path, 0.05, choice.precision)
        widths = choice.precision.widths
        assert signed_bits(int(np.abs(rounded.depthwise_bias).max())) <= widths.bias
        assert [bool(part) for part in (*rounded.expand_weight[:, 0], *rounded.project_weight[0])] == [True, False] * 2


def test_choices_differ_and_name_their_kind() -> None:
    every = choices_of()
    assert every[0].kind == DEFAULT
    assert every[0].precision == Precision()
    assert len({tuple(choice.settings.items()) for choice in every}) == len(every)
    assert {choice.kind for choice in every} == set(KINDS)
    assert {choice.kind for choice in choices_of(["plain"])} == {DEFAULT, "plain"}
    with pytest.raises(ArchonError, match=r"expected some of default, weights, .*, got width"):
        choices_of(["width"])


def test_magnitudes_of_project_weights() -> None:
    assert Precision(project_terms=1).project_magnitudes == (0, *(1 << shift for shift in range(8)))
    assert Precision(project_bits=4).project_magnitudes == tuple(range(8))


@pytest.mark.parametrize("seed", range(3))
def test_needed_widths_hold_a_block_and_narrower_ones_do_not(seed: int) -> None:
    block = random_block(SPEC, seed)
    needed = replace(needed_widths([block], Precision()), weight=5)
    check_bounds(block, "block", needed)
    for name in ("accumulator", "bias_product", "bias", "predictor_sum"):
        with pytest.raises(ArchonError):
            check_bounds(block, "block", replace(needed, **{name: getattr(needed, name) - 1}))


def test_tables_of_the_trained_network_are_counted_by_hand() -> None:
    network, config = load_bundle(find_bundle("fusionet-nano")), preset("small")
    cost = cost_of(network, Precision(), config)
    pairs = steps = updates = 0
    for _, block, spec in fused_parts(network):
        for expanded in range(spec.expanded_channels):
            group, place = divmod(expanded, spec.expanded_channels // spec.groups)
            outputs = spec.out_channels // spec.groups
            count = int(np.count_nonzero(block.project_weight[group * outputs : (group + 1) * outputs, place]))
            inputs = np.flatnonzero(block.expand_weight[expanded])
            pairs += len(inputs) * bool(count)
            steps += len({channel % config.lanes for channel in inputs.tolist()}) * count
            updates += len(inputs) * count
    assert cost.rows[TableKind.PAIR] == pairs
    assert cost.rows[TableKind.STEP] == steps
    assert cost.updates == updates
    assert cost.widths.product == 9
    assert cost.widths.accumulator <= Widths().accumulator
    assert cost.bits[TableKind.PAIR] == pairs * tables.pair_row(config).width
    assert cost.value_bits < cost.table_bits
    assert cost_of(network, Precision(replace(Widths(), weight=6)), config).bits[TableKind.PAIR] == pairs * (
        tables.pair_row(config).width + 9 * 2
    )


def test_steps_of_one_power_have_no_second() -> None:
    config = preset("small")
    both, one = (row_layout(TableKind.STEP, config, Precision(project_terms=terms)) for terms in (2, 1))
    assert both == tables.step_row(config)
    assert both.width - one.width == config.widths.shift + 2
    plain = row_layout(TableKind.STEP, config, Precision(project_terms=1, project_bits=8))
    assert plain == both


def test_gains_are_those_over_the_same_images() -> None:
    default = make_row([True, True, False, False])
    better = make_row([True, True, True, False], "weights")
    tuned = make_row([True, True, True, True], "weights", tuned_steps=5)
    first, second, third = with_gains([default, better, tuned])
    assert (first.gain, first.gain_error) == (0, 0)
    assert second.gain == 25
    assert second.gain_error == pytest.approx(100 * np.std([0, 0, 1, 0]) / 2, abs=1e-3)
    assert third.gain is None


def test_rows_survive_their_files(tmp_path: Path) -> None:
    rows = with_gains([make_row([True, False, True]), make_row([True, True, True], "plain")])
    write_json(tmp_path / "rows.json", rows)
    assert read_json(tmp_path / "rows.json") == rows
    assert read_json(tmp_path / "none.json") == []
    (tmp_path / "rows.csv").write_text(to_csv(rows), encoding="utf-8")
    assert read_csv(tmp_path / "rows.csv") == [row.model_copy(update={"right": None}) for row in rows]
    for name, reader in (("rows.json", read_json), ("rows.csv", read_csv)):
        (tmp_path / name).write_text("network\nnet\n", encoding="utf-8")
        with pytest.raises(ArchonError, match="as archon precision leaves"):
            reader(tmp_path / name)


def test_the_page_is_what_the_program_makes_of_the_kept_table() -> None:
    rows = read_csv(KEPT)
    assert PAGE.read_text(encoding="utf-8") == page(rows)
    assert "The weights are those of `sw/train/runs/fusionet-nano/quantized`." in page(rows)
    unknown = [row.model_copy(update={"digest": "0"}) for row in rows]
    assert "The weights are of a run that does not come with the project." in page(unknown)
    assert (DOCS / PICTURE).read_text(encoding="utf-8") == picture(rows)


def test_only_rows_of_these_weights_and_this_preset_count(tmp_path: Path) -> None:
    (tmp_path / WEIGHTS).write_bytes(b"new")
    own = {"digest": file_digest(tmp_path / WEIGHTS)}
    found = [
        make_row([True], **own),
        make_row([True]),
        make_row([True], **own, preset="large"),
        make_row([True], "plain", **own),
    ]
    write_json(tmp_path / JSON, found)
    data = ImageSet(np.zeros((1, 4, 4, 3), np.uint8), np.zeros(1, np.uint8))
    spec = load_spec("fusionet-nano")
    comparison = Comparison(spec, "cifar10", tmp_path, tmp_path, data, data, 0, 0, "small", Console(quiet=True))
    assert [(row.kind, row.digest, row.preset) for row in comparison.rows] == [
        (kind, own["digest"], "small") for kind in (DEFAULT, "plain")
    ]
    assert read_json(tmp_path / JSON) == found  # the others are kept there


def test_rows_on_other_images_or_seeds_are_not_compared() -> None:
    few, many = [True, False], [True, False, True, True]
    changes: list[dict[str, Any]] = [{}, {"tuned_steps": 5}, {"tuned_steps": 5, "seed": 1}]
    kinds = (DEFAULT, "weights")
    rows = [make_row(right, kind, **{"weight_bits": 4 if kind == "weights" else 5} | change)
            for right in (few, many) for change in changes for kind in kinds]  # fmt: skip
    assert [(way, [row.kind for row in part]) for way, part in grouped(rows)] == [
        (f"{how}, {images} images", list(kinds))
        for how in ("rounded after training", "tuned for 5 steps", "tuned for 5 steps (seed 1)")
        for images in (2, 4)
    ]
    said = page(with_gains(rows)).partition("## What follows")[2]
    assert "Rounded only, 4 images" in said
    assert "4 bits: +0.00 ± 0.00 (A 18 bits" in said


def test_findings_say_what_is_cheaper_and_what_is_worse() -> None:
    default = make_row([True] * 50 + [False] * 50)
    worse = make_row([True] * 20 + [False] * 80, "weights", weight_bits=4, value_bits=10)
    equal = make_row([True] * 49 + [False] * 51, "adder", adder_bits=14)
    better = make_row([True] * 90 + [False] * 10, "plain", value_bits=99)
    said = findings(with_gains([default, worse, equal, better])).splitlines()
    assert [line.split(": ", 1)[1].split(" (")[0] for line in said[:3]] == ["plain", "adder", "weights"]
    assert str(choices_of()[1]) in said[3]
    assert str(choices_of()[0]) not in said[3]
    assert "-30.00" in said[2]
    with pytest.raises(ArchonError, match="expected a row of the kind default"):
        findings([worse])


def test_folders_of_weights(tmp_path: Path) -> None:
    spec = load_spec("fusionet-nano")
    kept = KEPT_RUNS / spec.name / "quantized"
    assert trained_folder(spec, tmp_path) == kept
    own = tmp_path / spec.name / "train" / "quantized"
    shutil.copytree(kept, own)
    assert trained_folder(spec, tmp_path) == own
    config = json.loads((kept / CONFIG).read_text(encoding="utf-8"))
    first = config["network"]["first_pointwise"]
    network = config["network"] | {"first_pointwise": first | {"shuffle": not first["shuffle"]}}
    wrong: dict[str, dict[str, Any]] = {
        "got one that was cut off": {"test_accuracy": None},
        "got one of another fusionet-nano: they differ in first_pointwise": {"network": network},
        "expected a run of stage quantized of fusionet-nano, got stage pruned": {"stage": "pruned"},
    }
    for said, change in wrong.items():
        (own / CONFIG).write_text(json.dumps(config | change), encoding="utf-8")
        with pytest.raises(ArchonError, match=said):
            trained_folder(spec, tmp_path)
    with pytest.raises(ArchonError, match="is missing: expected what stage quantized of fusionet-svhn leaves"):
        trained_folder(network_for("fusionet", "svhn"), tmp_path)
    with pytest.raises(ArchonError, match="expected a network with fused blocks"):
        trained_folder(load_spec("mobilenetv2-nano"), tmp_path)


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        ("mobilenetv2-nano", {}, "expected a network with fused blocks"),
        ("fusionet-nano", {"only": ["widths"]}, "only: expected some of default"),
        ("fusionet-huge", {}, "fusionet-huge"),
        ("fusionet-nano", {"steps": -1}, "steps: expected 0 or more, got -1"),
        ("fusionet-nano", {"preset": "tall"}, "tall"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    network: str,
    options: dict[str, Any],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr("sw.precision.__main__.images_for")  # refused before data are fetched
    assert main(network, build=tmp_path, **options) == REFUSED
    assert message in capsys.readouterr().err
