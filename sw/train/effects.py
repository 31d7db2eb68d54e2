"""Options that have an effect only somewhere: in which stages, on which networks, and with what else."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sw.spec import NetworkSpec
from sw.train.recipe import STAGES, Recipe, StageName


@dataclass(frozen=True)
class Effect:
    """What an option needs.

    Attributes:
        stages: one of these.
        untrained: stages in which it needs no epoch.
        kinds: of blocks; the network has one of them.
        limits: limits on survivors.
    """

    stages: tuple[StageName, ...] = STAGES
    untrained: tuple[StageName, ...] = ()
    kinds: tuple[str, ...] = ("fused", "pointwise_pair")
    limits: bool = False

    def lacks(self, spec: NetworkSpec, stage: str, recipe: Recipe) -> str | None:
        """What is not there, and what is instead; None: nothing is missing."""
        if stage not in self.stages:
            return f"in stage {' or '.join(self.stages)}, got stage {stage}"
        if not any(block.kind in self.kinds for block in spec.blocks):
            return f"on blocks of kind {' or '.join(self.kinds)}, got {spec.name}, which has none"
        if self.limits and not recipe.survivor_weight:
            return "with limits on survivors (--survivors-first, --survivors-second), got none"
        if not recipe.epochs and stage not in self.untrained:
            return f"with one epoch or more, got 0 in stage {stage}"
        return None


PREDICTING: tuple[StageName, ...] = ("pred", "quantized")
EFFECTS = {
    "predictor": Effect(PREDICTING),
    # Behind stage pruned it says how the start was pruned, which is checked (sw.train.starts).
    "balanced": Effect(("pruned", *PREDICTING), untrained=("pruned", *PREDICTING)),
    "survivors_first": Effect(untrained=("pred",)),  # predictors are calibrated with it
    "survivors_second": Effect(untrained=("pred",), kinds=("fused",)),
    "survivor_ramp": Effect(limits=True),
    "survivor_costs": Effect(("pruned", *PREDICTING), limits=True),  # before, all channels have as many weights
    "dense_predictors": Effect(PREDICTING, untrained=("pred",)),  # whose masks the next stage trains with
    "value_biases": Effect(("quantized",), untrained=("quantized",)),
}
"""By option; the others have an effect everywhere."""


def option_words(options: Mapping[str, object]) -> list[str]:
    """Options by name, as on the command line."""
    words: list[str] = []
    for name, value in options.items():
        flag = name.replace("_", "-")
        words += [f"--{'' if value else 'no-'}{flag}"] if isinstance(value, bool) else [f"--{flag}", str(value)]
    return words


def without_effect(asked: Mapping[str, Any], spec: NetworkSpec, stage: str, recipe: Recipe) -> dict[str, str]:
    """Those of the options asked for, by name, that change nothing, each with a sentence that says why."""
    lacking = {name: EFFECTS[name].lacks(spec, stage, recipe) for name in asked if name in EFFECTS}
    return {
        name: f"{' '.join(option_words({name: asked[name]}))}: has an effect {lack}"
        for name, lack in lacking.items()
        if lack is not None
    }
