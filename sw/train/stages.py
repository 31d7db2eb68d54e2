"""Choice of the model and stage of a run."""

from hw.contract.errors import ArchonError
from sw.datasets import ImageSet
from sw.networks.limits import Survivors
from sw.networks.network import Network
from sw.quantize.precision import Precision
from sw.spec import NetworkSpec
from sw.train.prediction import PredictionStage, PredictorPlan
from sw.train.pruning import PruningStage
from sw.train.quantization import QuantizationStage
from sw.train.recipe import Recipe, check_stage
from sw.train.stage import FallingLimits, Stage

PREDICTORS = ("forward", "constraint")


def make_stage(
    stage: str, spec: NetworkSpec, recipe: Recipe, training: ImageSet, predictor: str, precision: Precision | None = None
) -> Stage:
    """The stage, with its model; `precision` is that of stage quantized, the hardware's when left out.

    Raises:
        ArchonError: unknown stage or way of training the predictor, predictors asked of a network without fused blocks, or
            limits on survivors for another number of blocks.
    """
    if predictor not in PREDICTORS:
        raise ArchonError(f"unknown predictor training {predictor!r}: expected one of {', '.join(PREDICTORS)}")
    check_stage(spec, stage)
    limits = _limits(spec, recipe)
    plan = PredictorPlan(predictor == "constraint", limits, recipe.dense_predictors, recipe.value_biases)
    if stage == "vanilla":
        return Stage(Network(spec), limits)
    if stage == "pruned":
        return PruningStage(Network(spec), spec.sparsity, recipe.ramp, limits)
    if stage == "pred":
        return PredictionStage(Network(spec, predicted=True), training, plan)
    return QuantizationStage(Network(spec, predicted=spec.predicts, quantized=True), training, plan, precision)


def _limits(spec: NetworkSpec, recipe: Recipe) -> FallingLimits | None:
    """Of every block that predicts; None where nothing is limited."""
    if not recipe.survivor_weight:
        return None
    weight, costs = recipe.survivor_weight, recipe.survivor_costs
    survivors = [Survivors(first, second, weight, costs) for first, second in recipe.limits(spec.predicting_blocks)]
    return FallingLimits(survivors, recipe.survivor_ramp)
