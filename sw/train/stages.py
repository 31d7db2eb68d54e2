"""Choice of the model and stage of a run."""

from hw.contract.errors import ArchonError
from sw.datasets import ImageSet
from sw.networks.fusion_network import FusionNetwork
from sw.networks.predictor import Survivors
from sw.spec import NetworkSpec
from sw.train.prediction import PredictionStage
from sw.train.pruning import PruningStage
from sw.train.quantization import QuantizationStage
from sw.train.recipe import STAGES, Recipe
from sw.train.stage import Stage

PREDICTORS = ("forward", "constraint")


def make_stage(stage: str, spec: NetworkSpec, recipe: Recipe, training: ImageSet, predictor: str) -> Stage:
    """The stage, with its model.

    Raises:
        ArchonError: unknown stage or way of training the predictor.
    """
    if predictor not in PREDICTORS:
        raise ArchonError(f"unknown predictor training {predictor!r}: expected one of {', '.join(PREDICTORS)}")
    constraint = predictor == "constraint"
    survivors = Survivors(recipe.survivors_first, recipe.survivors_second, recipe.survivor_weight)
    limit = survivors if survivors.weight > 0 else None
    if stage == "vanilla":
        return Stage(FusionNetwork(spec))
    if stage == "pruned":
        return PruningStage(FusionNetwork(spec), spec.sparsity, recipe.ramp)
    if stage == "pred":
        return PredictionStage(FusionNetwork(spec, predicted=True), training, constraint, limit)
    if stage == "quantized":
        return QuantizationStage(FusionNetwork(spec, predicted=True, quantized=True), training, constraint, limit)
    raise ArchonError(f"unknown stage {stage!r}: expected one of {', '.join(STAGES)}")
