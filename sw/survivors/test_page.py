"""docs/survivors.md shows what is in the table that comes with the project, and the table has its logs."""

from pathlib import Path

import pytest

from sw.arrays import file_digest
from sw.run_folder import ACCURACY, KEPT_RUNS, WEIGHTS, read_log, read_settings
from sw.survivors.points import read_points
from sw.survivors.render import markdown
from sw.survivors.settings import parse_setting

KEPT = KEPT_RUNS / "fusionet-nano" / "survivors"
OTHERS = ("fusionet-nano/balance", "fusionet-nano/costs", "fusionet-nano/late", "mobilenetv2-modified-nano/throughout")
TABLES = [KEPT, *(KEPT_RUNS / name for name in OTHERS)]
DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("kept", TABLES)
def test_the_page_has_the_table(kept: Path) -> None:
    points = read_points(kept)
    assert len(points) >= 2
    assert markdown(points) in (DOCS / "survivors.md").read_text(encoding="utf-8")


def test_the_picture_has_all_settings() -> None:
    picture = (DOCS / "survivors.svg").read_text(encoding="utf-8")
    for point in read_points(KEPT):
        assert f"<!-- {point.setting} -->" in picture


@pytest.mark.parametrize(("kept", "name"), sorted({(kept, point.setting) for kept in TABLES for point in read_points(kept)}))
def test_every_setting_has_its_log(kept: Path, name: str) -> None:
    limits, _, build = name.partition(" ")
    setting = parse_setting(limits)
    folder = kept / (setting.folder + (f"-{build.strip('()')}" if build else ""))
    if not folder.exists():
        folder = kept.parent / "quantized"  # what comes with the project
    points = [point for point in read_points(kept) if point.setting == name]
    settings, log = read_settings(folder), read_log(folder)
    assert len(log) == settings.recipe.epochs == points[0].epochs
    assert float(log[-1][ACCURACY]) == settings.test_accuracy
    (accuracy,) = {point.accuracy for point in points if not point.is_raised}
    assert accuracy == settings.test_accuracy  # the integers that training evaluates are the golden model's
    assert (settings.recipe.survivors_first, settings.recipe.survivors_second) == (float(setting.first), float(setting.second))
    assert settings.recipe.survivor_costs == ("costs" in setting.changes)
    assert settings.recipe.dense_predictors == ("dense" in setting.changes)
    assert settings.recipe.value_biases == ("unbiased" not in setting.changes)
    assert {point.weights for point in points} == {file_digest(folder / WEIGHTS)}
