"""How long and how fast each stage trains, per network."""

import re
from dataclasses import dataclass, replace
from typing import Literal, get_args

from hw.contract.errors import ArchonError
from sw.datasets import DATASETS
from sw.spec import NetworkSpec

StageName = Literal["vanilla", "pruned", "pred", "quantized"]
STAGES: tuple[StageName, ...] = get_args(StageName)
"""In order: each starts from the checkpoint of the one before. Networks without fused blocks have no stage pred."""

PredictorTraining = Literal["forward", "constraint"]
"""Weights become ternary in the forward pass, with a straight-through gradient, or after every step."""

LAST_STAGE: StageName = "quantized"
"""What it leaves is what the hardware runs."""

SMALL = 15_000_000
"""Multiply-accumulates of an image at most, of networks that a CPU trains."""
Shares = float | tuple[float, ...]
"""A share of survivors of all blocks, or one a block."""
UNLIMITED = 0.5
"""About as many survive a ReLU if nothing is done about it: where falling limits begin."""
SURVIVOR_WEIGHT = 5.0
"""Weight in the loss of survivors above their limits."""


@dataclass(frozen=True)
class Recipe:
    """Optimiser settings of one stage (SGD with Nesterov momentum 0.9).

    Attributes:
        epochs: passes over the training set.
        rate: peak learning rate.
        final_rate: learning rate at the end.
        power: polynomial decay power; 1 falls linearly.
        warmup: fraction of all steps in which the rate rises from zero.
        falling: fraction of all steps after which the rate has fallen, and stays as it is.
        decay: weight decay, decoupled, per unit of learning rate.
        smoothing: label smoothing.
        ramp: fraction of all steps in which the sparsity rises (pruned stage); 0: the masks stay as they come.
        batch: images a step.
        survivors_first: largest share of activations that the predictor lets pass the first ReLU of a block; or one a block.
        survivors_second: the same of the second ReLU.
        survivor_weight: weight in the loss of what exceeds these shares; 0: they are not looked at.
        survivor_costs: channels count by what their survivors add up (sw.networks.limits), not all alike.
        survivor_ramp: fraction of all steps in which these limits fall to their values from those of UNLIMITED.
        dense_predictors: let predictors have weights where pruning left none.
        value_biases: keep b1 and b2 in the value path of fused blocks (stage quantized).
        predictor: "forward" or "constraint", how predictors' weights become ternary.
    """

    epochs: int
    rate: float
    final_rate: float
    power: float = 1.0
    warmup: float = 0.0
    falling: float = 1.0
    decay: float = 0.0
    smoothing: float = 0.0
    ramp: float = 0.0
    batch: int = 128
    survivors_first: Shares = 1.0
    survivors_second: Shares = 1.0
    survivor_weight: float = 0.0
    survivor_costs: bool = False
    survivor_ramp: float = 0.0
    dense_predictors: bool = False
    value_biases: bool = True
    predictor: PredictorTraining = "forward"

    def __post_init__(self) -> None:
        for name in ("survivors_first", "survivors_second"):
            shares = getattr(self, name)
            object.__setattr__(self, name, tuple(shares) if isinstance(shares, list) else shares)  # JSON has lists

    def limits(self, blocks: int) -> list[tuple[float, float]]:
        """Limits on the shares of survivors of both ReLUs, for each of `blocks` blocks that predict.

        Raises:
            ArchonError: limits for another number of blocks.
        """
        columns = []
        for shares in (self.survivors_first, self.survivors_second):
            column = shares if isinstance(shares, tuple) else (shares,) * blocks
            if len(column) != blocks:
                raise ArchonError(
                    f"shares of survivors: expected one, or one for each of {blocks} blocks, got {shares_text(shares)}"
                )
            columns.append(column)
        return list(zip(*columns, strict=True))

    def limited(self, first: float, second: float) -> "Recipe":
        """The recipe with the shares of survivors held to these limits."""
        return replace(self, survivors_first=first, survivors_second=second, survivor_weight=SURVIVOR_WEIGHT)

    def rate_at(self, step: int, steps: int) -> float:
        """Learning rate of step `step` of `steps`."""
        progress = step / max(1, steps)
        if progress < self.warmup:
            return self.rate * (step + 1) / (self.warmup * steps + 1)
        left = max(0.0, self.falling - progress) / (self.falling - self.warmup)
        return self.final_rate + (self.rate - self.final_rate) * left**self.power


CALIBRATED = Recipe(epochs=0, rate=1e-3, final_rate=1e-4, batch=64)
"""Predictors copied from the value path and calibrated, not trained: small networks train them with all else, afterwards."""

NANO_VANILLA = Recipe(epochs=8, rate=0.1, final_rate=1e-4, warmup=0.15, decay=5e-3, smoothing=0.05, batch=64)
NANO_PRUNED = Recipe(epochs=10, rate=0.04, final_rate=1e-4, warmup=0.05, decay=5e-3, ramp=0.5, batch=64)
NANO_QUANTIZED = Recipe(epochs=6, rate=0.02, final_rate=1e-5, warmup=0.05, batch=64).limited(0.5, 0.4)

FULL_SIZE = {
    "vanilla": Recipe(epochs=200, rate=0.1, final_rate=1e-4, power=3, decay=5e-3),
    "pruned": Recipe(epochs=30 + 50, rate=0.1, final_rate=1e-4, power=3, decay=5e-3, ramp=30 / 80),
    "pred": Recipe(epochs=50, rate=1e-3, final_rate=8e-5, power=3, falling=42 / 50),
    "quantized": Recipe(epochs=10, rate=1e-3, final_rate=1e-5, power=3),
}
"""Pruned and pred as their authors published them (Olyaiy, Ng, Lis, ICS 2021): epochs of rising sparsity and of recovery."""
MOBILENET = FULL_SIZE | {"pruned": replace(FULL_SIZE["pruned"], epochs=30 + 170, ramp=30 / 200)}

RECIPES = {
    "fusionet": FULL_SIZE,
    "fusionet-100": FULL_SIZE | {"pred": replace(FULL_SIZE["pred"], rate=2e-2, predictor="constraint")},
    "mobilenetv2": MOBILENET,
    "mobilenetv2-modified": MOBILENET,
    "fusionet-nano": {  # limits from the first epoch on: docs/survivors.md
        "vanilla": replace(NANO_VANILLA, epochs=14, survivor_ramp=0.4).limited(0.3, 0.2),
        "pruned": replace(NANO_PRUNED, epochs=18).limited(0.3, 0.2),
        "pred": CALIBRATED.limited(0.3, 0.2),
        "quantized": replace(NANO_QUANTIZED, epochs=12).limited(0.3, 0.2),
    },
    "shufflenet-modified-nano": {
        "vanilla": replace(NANO_VANILLA, epochs=5),
        "pruned": replace(NANO_PRUNED, epochs=7),
        "pred": CALIBRATED.limited(0.5, 0.4),
        "quantized": replace(NANO_QUANTIZED, epochs=4),
    },
    "fusionet-slim": {
        "vanilla": Recipe(epochs=5, rate=0.1, final_rate=1e-4, warmup=0.15, decay=5e-3, smoothing=0.05, batch=64),
        "pruned": Recipe(epochs=1, rate=0.03, final_rate=1e-4, warmup=0.05, decay=5e-3, ramp=0.5, batch=32),
        "pred": CALIBRATED.limited(0.4, 0.3),
        "quantized": Recipe(epochs=1, rate=8e-3, final_rate=1e-5, batch=32).limited(0.4, 0.3),
    },
}
OTHER_NANO = {"vanilla": NANO_VANILLA, "pruned": NANO_PRUNED, "pred": CALIBRATED.limited(0.5, 0.4), "quantized": NANO_QUANTIZED}
"""Of networks of this size without recipes of their own: an hour on two cores or less."""


def find_recipe(spec: NetworkSpec, stage: str) -> Recipe:
    """Recipe of a network's stage; networks without their own use FULL_SIZE, or OTHER_NANO if they are as small as these.

    Raises:
        ArchonError: unknown stage.
    """
    _check_known(stage)
    for_data = rf"-({spec.classes}|{'|'.join(DATASETS)})$"  # what its name ends in unless it is for CIFAR-10
    names = (spec.name, re.sub(for_data, "", spec.name))
    others = OTHER_NANO if spec.multiply_accumulates() <= SMALL else FULL_SIZE
    return next((RECIPES[name] for name in names if name in RECIPES), others)[stage]


def stages_of(spec: NetworkSpec) -> tuple[str, ...]:
    """The stages of a network, in order: each starts from the checkpoint of the one before."""
    return STAGES if spec.predicts else tuple(stage for stage in STAGES if stage != "pred")


def check_stage(spec: NetworkSpec, stage: str) -> None:
    """Raise ArchonError unless the network has the stage."""
    _check_known(stage)
    if stage not in stages_of(spec):
        raise ArchonError(
            f"{spec.name}: expected one of the stages {', '.join(stages_of(spec))}, got {stage}, which trains predictors: "
            "none of this network's blocks is fused"
        )


def with_epochs(recipe: Recipe, epochs: int | None) -> Recipe:
    """The recipe with another number of epochs, if one is given.

    Raises:
        ArchonError: a negative number.
    """
    if epochs is not None and epochs < 0:
        raise ArchonError(f"epochs: expected 0 or more, got {epochs}")
    return recipe if epochs is None else replace(recipe, epochs=epochs)


def with_survivors(recipe: Recipe, first: str | None, second: str | None, ramp: float | None = None) -> Recipe:
    """The recipe with other limits on the shares of survivors, where they are given as `parse_shares` reads them.

    Raises:
        ArchonError: not shares, or a ramp that is no fraction.
    """
    if ramp is not None and not 0 <= ramp <= 1:
        raise ArchonError(f"survivor ramp: expected a fraction from 0 to 1, got {ramp}")
    return replace(
        recipe,
        survivors_first=recipe.survivors_first if first is None else parse_shares(first),
        survivors_second=recipe.survivors_second if second is None else parse_shares(second),
        survivor_weight=recipe.survivor_weight if first is second is None else recipe.survivor_weight or SURVIVOR_WEIGHT,
        survivor_ramp=recipe.survivor_ramp if ramp is None else ramp,
    )


def parse_shares(text: str) -> Shares:
    """A share of survivors of all blocks, "0.3", or one a block, "0.4,0.3,0.3".

    Raises:
        ArchonError: not shares.
    """
    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ArchonError(f"share of survivors: expected a number, or one a block with commas between, got {text!r}") from error
    for share in shares:
        if not 0 < share <= 1:
            raise ArchonError(f"share of survivors: expected more than 0 and at most 1, got {share}")
    return shares if len(shares) > 1 else shares[0]


def shares_text(shares: Shares) -> str:
    """The same, for parse_shares to read."""
    return ",".join(str(share) for share in shares) if isinstance(shares, tuple) else str(shares)


def _check_known(stage: str) -> None:
    if stage not in STAGES:
        raise ArchonError(f"unknown stage {stage!r}: expected one of {', '.join(STAGES)}")
