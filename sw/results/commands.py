"""The commands that make what the table shows, or what it lacks."""

from dataclasses import replace

from sw.results.runs import is_balanced
from sw.results.subjects import Subject
from sw.run_folder import RunSettings
from sw.train.effects import option_words, without_effect
from sw.train.recipe import STAGES, find_recipe, shares_text

MANY_IMAGES, FEW_IMAGES = 960, 4
"""On which operations are counted, of a small network and of a large one: some minutes."""


def train_command(subject: Subject, stage: str, facts: RunSettings | None = None, *, resume: bool = False) -> str:
    """Trains a stage; with a run's facts, in the way in which that run was trained, as far as options can say it."""
    options = [] if facts is None else _options(subject, stage, facts)
    words = ["archon", "train", subject.argument, "--dataset", subject.dataset, "--stage", stage, *options]
    return " ".join([*words, "--resume"] if resume else words)


def export_command(subject: Subject) -> str:
    """Makes the bundle of what was trained."""
    return f"archon export {subject.argument} --dataset {subject.dataset} --weights trained"


def evaluate_command(subject: Subject, *, fused: bool = False, images: int | None = None) -> str:
    """Evaluates the bundle in integers."""
    name = subject.spec.name
    network = f"build/{name}/{name}.archon" if subject.own else subject.network
    words = ["archon", "evaluate", network, "--dataset", subject.dataset]
    words += ["--mode", "fused"] if fused else []
    words += ["--images", str(images)] if images is not None and images < subject.images else []
    return " ".join(words)


def _options(subject: Subject, stage: str, facts: RunSettings) -> list[str]:
    """Those in which a run differs from the recipe as it is now, without what would change nothing and be refused."""
    recipe, of_run = find_recipe(subject.spec, stage), facts.recipe
    size = facts.training_images or [subject.training_images, subject.spec.height, subject.spec.width, 0]
    tested = subject.images if facts.test_images is None else facts.test_images[0]
    values: dict[str, tuple[object, object]] = {
        "epochs": (of_run.epochs, recipe.epochs),
        "seed": (facts.seed, 0),
        "predictor": (facts.predictor, recipe.predictor),
        "survivors_first": (shares_text(of_run.survivors_first), shares_text(recipe.survivors_first)),
        "survivors_second": (shares_text(of_run.survivors_second), shares_text(recipe.survivors_second)),
        "survivor_ramp": (of_run.survivor_ramp, recipe.survivor_ramp),
        "images": (size[0], subject.training_images),
        "test_images": (tested, subject.images),
        "resolution": (size[1], subject.spec.height),
    }
    values |= {
        name: (getattr(of_run, name), getattr(recipe, name)) for name in ("survivor_costs", "dense_predictors", "value_biases")
    }
    asked = {name: value for name, (value, usual) in values.items() if value != usual}
    trained = replace(recipe, epochs=of_run.epochs, survivor_weight=of_run.survivor_weight)
    idle = without_effect(asked, subject.spec, stage, trained)
    said = option_words({name: value for name, value in asked.items() if name not in idle})
    if is_balanced(facts) and not subject.spec.sparsity.balanced and stage != STAGES[0]:  # nothing is pruned there
        said.append("--balanced")
    if facts.widened_from is not None:
        said += ["--widen", f"build/{facts.widened_from}"]
    if facts.started_from is not None:
        said += ["--start", f"build/{facts.started_from}"]
    return said
