"""Options that change nothing are refused, by name; a matrix drops them where only some of its runs need them."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hw.contract.errors import ArchonError
from sw.datasets import DATASETS
from sw.test_task import excerpt_datasets
from sw.train.effects import EFFECTS
from sw.train.matrix.plan import plan
from sw.train.options import Common, Options
from sw.train.settings import start_of
from sw.train.test_starts import run_folder
from sw.train.test_train import run_of, tiny_spec

NANO, PAIRS, BARE = "fusionet-nano", "shufflenet-modified-nano", "mobilenetv2-nano"
PREDICTOR, BIASES = "--predictor constraint: has an effect ", "--no-value-biases: has an effect "


@pytest.mark.parametrize(
    ("network", "asked", "said"),
    [
        (NANO, {"stage": "pruned", "value_biases": False}, BIASES + "in stage quantized, got stage pruned"),
        (NANO, {"stage": "pred", "predictor": "constraint"}, PREDICTOR + "with one epoch or more, got 0 in stage pred"),
        (NANO, {"stage": "pruned", "predictor": "constraint"}, PREDICTOR + "in stage pred or quantized, got stage pruned"),
        (
            BARE,
            {"stage": "quantized", "predictor": "constraint"},
            PREDICTOR + "on blocks of kind fused or pointwise_pair, got mob",
        ),
        (NANO, {"balanced": True}, "--balanced: has an effect in stage pruned or pred or quantized, got stage vanilla"),
        (
            BARE,
            {"stage": "pruned", "balanced": True},
            "--balanced: has an effect on blocks of kind fused or pointwise_pair, got m",
        ),
        (PAIRS, {"stage": "pruned", "survivor_ramp": 0.5}, "--survivor-ramp 0.5: has an effect with limits on survivors"),
        (NANO, {"stage": "pred", "survivor_ramp": 0.5}, "--survivor-ramp 0.5: has an effect with one epoch or more, got 0"),
        (NANO, {"epochs": 0, "survivors_first": "0.4"}, "--survivors-first 0.4: has an effect with one epoch or more, got 0"),
        (
            PAIRS,
            {"stage": "pred", "survivors_second": "0.4"},
            "--survivors-second 0.4: has an effect on blocks of kind fused, got",
        ),
        (
            NANO,
            {"survivor_costs": True},
            "--survivor-costs: has an effect in stage pruned or pred or quantized, got stage vanilla",
        ),
        (PAIRS, {"stage": "pruned", "survivor_costs": True}, "--survivor-costs: has an effect with limits on survivors"),
        (NANO, {"dense_predictors": True}, "--dense-predictors: has an effect in stage pred or quantized, got stage vanilla"),
        (
            NANO,
            {"stage": "quantized", "epochs": 0, "dense_predictors": True},
            "--dense-predictors: has an effect with one epoch",
        ),
    ],
)
def test_options_that_change_nothing_are_refused(network: str, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(ArchonError) as caught:
        Options(**asked).run(network)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("network", "asked"),
    [
        (NANO, {"stage": "pred", "predictor": "constraint", "epochs": 1}),
        (NANO, {"stage": "quantized", "predictor": "constraint"}),
        (NANO, {"stage": "pruned", "balanced": True}),
        (NANO, {"stage": "quantized", "balanced": True}),
        (NANO, {"stage": "pruned", "survivor_ramp": 0.5, "survivors_second": "0.3"}),
        (NANO, {"stage": "pred", "survivors_first": "0.3", "dense_predictors": True}),
        (NANO, {"stage": "pruned", "survivor_costs": True}),
        (PAIRS, {"stage": "pred", "survivors_first": "0.3"}),
        (NANO, {"stage": "quantized", "epochs": 0, "value_biases": False}),
    ],
)
def test_options_that_change_something_are_not(network: str, asked: dict[str, Any]) -> None:
    options = Options(**asked)
    assert options.idle(network) == {}
    assert options.effective(network) == options
    options.run(network)


def test_what_depends_on_an_idle_option_is_left_out_with_it() -> None:
    """A pair has no second limit, so that there is nothing for the ramp to lead to."""
    options = Options(survivors_second="0.3", survivor_ramp=0.5)
    assert options.effective(NANO) == options
    assert options.effective(PAIRS) == Options()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"survivors_first": "0.3,0.2"}, "shares of survivors: expected one, or one for each of 5 blocks, got 0.3,0.2"),
        ({"max_minutes": math.nan}, "max-minutes: expected 0 or more, got nan"),
        ({"max_minutes": -5.0}, "max-minutes: expected 0 or more, got -5.0"),
    ],
)
def test_what_no_run_can_have_is_refused_before_it_is_submitted(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(ArchonError, match=said):
        Options(**asked).run(NANO)


def test_every_option_of_the_table_is_one() -> None:
    assert EFFECTS.keys() <= vars(Options()).keys()


def test_evenly_pruned_is_what_the_start_has_to_be(tmp_path: Path) -> None:
    even = tiny_spec().with_balanced_pruning()
    run = replace(run_of(tmp_path, "pred"), spec=even)
    run_folder(tmp_path / "pruned", "pruned")
    with pytest.raises(
        ArchonError, match=r"pruned: expected a run that was pruned evenly \(--balanced\), got one that was not"
    ):
        start_of(run)
    run_folder(tmp_path / "pruned", "pruned", even)
    start_of(run)


def test_a_matrix_gives_options_to_the_stages_that_need_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, dataset in excerpt_datasets().items():
        monkeypatch.setitem(DATASETS, name, dataset)
    common = Common(balanced=True, value_biases=False, predictor="constraint", images=128, test_images=16, build=tmp_path)
    chain = plan([NANO], ["cifar10"], None, [0], common)[0]
    assert [combination.options.balanced for combination in chain] == [False, True, True, True]
    assert [combination.run.spec.sparsity.balanced for combination in chain] == [False, True, True, True]
    assert [combination.options.value_biases for combination in chain] == [None, None, None, False]
    assert [combination.run.recipe.predictor for combination in chain] == ["forward", "forward", "forward", "constraint"]
    with pytest.raises(ArchonError, match="--no-value-biases: has an effect in stage quantized, got stage pruned"):
        plan([NANO], ["cifar10"], ["vanilla", "pruned"], [0], replace(common, predictor=None))
