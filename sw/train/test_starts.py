"""What a stage may start from: the network, the stage, and every variable that it does not make itself."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras import ops

from hw.contract.errors import ArchonError
from sw.arrays import load_arrays
from sw.datasets import ImageSet
from sw.run_folder import ACCURACY, CHECKPOINT, CONFIG, KEPT_RUNS
from sw.spec import NetworkSpec, parse_spec
from sw.task import network_for
from sw.train.here import train_here
from sw.train.options import Options
from sw.train.recipe import find_recipe, stages_of
from sw.train.settings import Run, start_of
from sw.train.stages import make_stage
from sw.train.starts import starts_of
from sw.train.test_train import QUICK, run_of, tiny_data, tiny_spec

KEPT = sorted(path.parent.relative_to(KEPT_RUNS) for path in KEPT_RUNS.glob("*/*/" + CHECKPOINT))
Changes = Callable[[dict[str, Any]], object]


def run_folder(folder: Path, stage: str, spec: NetworkSpec | None = None) -> Path:
    """A run folder of a stage that has ended, with nothing in its checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CHECKPOINT).touch()
    network = {"network": (spec or tiny_spec()).model_dump(mode="json")}
    config = run_of(folder.parent, stage).settings() | network | {ACCURACY: 0.5}
    (folder / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    return folder


def tiny_images(spec: NetworkSpec) -> ImageSet:
    return ImageSet(np.zeros((1, spec.height, spec.width, spec.channels), np.uint8), np.zeros(1, np.uint8))


def changed(change: Changes) -> NetworkSpec:
    values = tiny_spec().model_dump()
    change(values)
    return parse_spec(values)


@pytest.mark.parametrize(
    ("stage", "found", "wanted"),
    [
        ("vanilla", "pruned", "vanilla"),
        ("pred", "vanilla", "pruned or pred or quantized"),
        ("quantized", "pruned", "pred or quantized"),
    ],
)
def test_another_stage_is_refused(tmp_path: Path, stage: str, found: str, wanted: str) -> None:
    run = run_of(tmp_path, stage, start=run_folder(tmp_path / "start", found))
    with pytest.raises(ArchonError, match=f"start: expected a run of stage {wanted} of tiny, got stage {found}"):
        start_of(run)


def test_the_stage_before_is_looked_at_too(tmp_path: Path) -> None:
    run_folder(tmp_path / "pruned", "vanilla")
    with pytest.raises(ArchonError, match=r"expected a run of stage pruned or .* of tiny, got stage vanilla"):
        start_of(run_of(tmp_path, "pred"))


@pytest.mark.parametrize("way", ["before", "start", "widen"])
def test_a_stage_that_was_cut_off_is_refused(tmp_path: Path, way: str) -> None:
    folder = run_folder(tmp_path / "pruned", "pruned")
    run = run_of(tmp_path, "pred", **({} if way == "before" else {way: folder}))
    assert start_of(run) == folder / CHECKPOINT
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    del config[ACCURACY]
    (folder / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ArchonError, match="pruned: expected a run that has ended, got one that was cut off: --resume"):
        start_of(run)


@pytest.mark.parametrize("way", ["start", "widen"])
def test_a_run_is_not_its_own_start(tmp_path: Path, way: str) -> None:
    folder = run_folder(tmp_path / "pruned", "pruned")
    with pytest.raises(ArchonError, match="pruned: expected another run to start from, got the folder of the run itself"):
        start_of(run_of(tmp_path, "pruned", **{way: folder.parent / "." / "pruned"}))


def test_other_seeds_do_not_start_from_what_comes_with_the_project(tmp_path: Path) -> None:
    kept = Options(stage="pruned", build=tmp_path).run("fusionet-nano")
    assert start_of(kept) == KEPT_RUNS / "fusionet-nano" / "vanilla" / CHECKPOINT
    with pytest.raises(ArchonError, match=r"train-seed-7/vanilla/checkpoint\.npz, which is missing: train that stage first"):
        start_of(Options(stage="pruned", seed=7, build=tmp_path).run("fusionet-nano"))


@pytest.mark.parametrize("way", ["start", "widen"])
def test_what_was_pruned_before_stays_so(tmp_path: Path, way: str) -> None:
    recipes = [
        Options(stage="pruned", build=tmp_path, **{way: run_folder(tmp_path / before, before)}).run("fusionet-nano").recipe  # type: ignore[arg-type]
        for before in ("vanilla", "pruned")
    ]
    assert recipes[0].ramp > recipes[1].ramp == 0


def test_a_start_is_refused_before_data_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Options, "data", lambda *_: pytest.fail("fetched"))
    options = Options(stage="quantized", start=KEPT_RUNS / "fusionet-nano" / "pruned", build=tmp_path)
    assert train_here("fusionet-nano", options) == 2
    assert "expected a run of stage pred or quantized of fusionet-nano, got stage pruned" in capsys.readouterr().err


def test_a_narrower_network_of_another_stage_is_refused(tmp_path: Path) -> None:
    run = run_of(tmp_path, "quantized", widen=run_folder(tmp_path / "narrow", "pruned"))
    with pytest.raises(ArchonError, match="narrow: expected a run of stage pred or quantized of tiny, got stage pruned"):
        start_of(run)
    narrow = run_folder(tmp_path / "narrow", "pred")
    assert start_of(replace(run, widen=narrow)) == narrow / CHECKPOINT


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda values: values.update(blocks=values["blocks"][:1]), "got one of another tiny: they differ in blocks"),
        (lambda values: values.update(classes=7), "got one of another tiny: they differ in classes"),
        (lambda values: values.update(name="other", classes=7), "got one of other: they differ in classes"),
        (lambda values: values["sparsity"].update(pointwise=0.5), "got one of another tiny: they differ in sparsity"),
    ],
)
def test_another_network_is_refused(tmp_path: Path, change: Changes, said: str) -> None:
    run = run_of(tmp_path, "pruned", start=run_folder(tmp_path / "start", "pruned", changed(change)))
    with pytest.raises(ArchonError, match=f"start: expected a run of stage vanilla or .* of tiny, {said}"):
        start_of(run)


@pytest.mark.parametrize(
    ("stage", "change"),
    [
        ("vanilla", lambda values: values["sparsity"].update(pointwise=0.5)),  # nothing is pruned there
        ("pruned", lambda values: values["sparsity"].update(balanced=True)),
        ("pruned", lambda values: values.update(name="tiny-svhn")),
    ],
)
def test_what_may_differ(tmp_path: Path, stage: str, change: Changes) -> None:
    start = run_folder(tmp_path / "start", stage, changed(change))
    assert start_of(run_of(tmp_path, "pruned", start=start)) == start / CHECKPOINT


def test_a_folder_that_does_not_say_what_it_is_is_refused(tmp_path: Path) -> None:
    run = run_of(tmp_path, "pruned", start=run_folder(tmp_path / "start", "vanilla"))
    (tmp_path / "start" / CONFIG).unlink()
    with pytest.raises(ArchonError, match=r"config\.json is missing"):
        start_of(run)


@pytest.mark.parametrize(
    ("stage", "before", "lost"),
    [
        ("vanilla", "vanilla", "stem.weight"),
        ("pruned", "vanilla", "blocks.1.project.mask"),
        ("pred", "pruned", "blocks.0.expand.beta"),
        ("quantized", "pred", "blocks.0.predictor_expand.weight"),
        ("quantized", "pred", "blocks.1.predictor.input_scale"),
        ("quantized", "pred", "last_pointwise.input_scale"),
    ],
)
def test_a_variable_that_the_stage_does_not_make_is_missed(tmp_path: Path, stage: str, before: str, lost: str) -> None:
    data = tiny_data(64)
    source = make_stage(before, tiny_spec(), QUICK, data, "forward")
    arrays = {name: ops.convert_to_numpy(variable) for name, variable in source.variables().items()}
    made = make_stage(stage, tiny_spec(), QUICK, data, "forward")
    made.start_from(arrays, tmp_path)
    del arrays[lost]
    with pytest.raises(ArchonError, match=f"is of another network or stage: it lacks {lost}$"):
        made.start_from(arrays, tmp_path)


@pytest.mark.parametrize("kept", KEPT, ids=str)
def test_runs_that_come_with_the_project_may_be_started_from(tmp_path: Path, kept: Path) -> None:
    name, found = kept.parts
    network = name.removesuffix("-100")
    spec, arrays = (
        network_for(network, "cifar10" if network == name else "cifar100"),
        load_arrays(KEPT_RUNS / kept / CHECKPOINT),
    )
    assert spec.name == name
    for stage in stages_of(spec):
        if found in starts_of(spec, stage):
            start_of(Run(spec, stage, find_recipe(spec, stage), tmp_path / stage, start=KEPT_RUNS / kept))
            made = make_stage(stage, spec, QUICK, tiny_images(spec), "forward")
            assert {variable for variable in made.variables() if not made.makes(variable)} <= arrays.keys()
