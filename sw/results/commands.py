"""The commands that make what the table shows, or what it lacks."""

from collections.abc import Iterator

from sw.results.runs import is_balanced
from sw.results.subjects import Subject
from sw.run_folder import RunSettings
from sw.train.recipe import STAGES, Recipe, find_recipe, shares_text

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


def _limits(facts: RunSettings, recipe: Recipe) -> Iterator[tuple[str, object, object]]:
    """Limits on survivors: options, what the run has, what the recipe has."""
    yield "--survivors-first", shares_text(facts.recipe.survivors_first), shares_text(recipe.survivors_first)
    yield "--survivors-second", shares_text(facts.recipe.survivors_second), shares_text(recipe.survivors_second)
    if facts.recipe.survivor_weight:
        yield "--survivor-ramp", facts.recipe.survivor_ramp, recipe.survivor_ramp


def _options(subject: Subject, stage: str, facts: RunSettings) -> list[str]:
    """Those in which a run differs from the recipe as it is now."""
    recipe, said = find_recipe(subject.spec, stage), []
    size = facts.training_images or [subject.training_images, subject.spec.height, subject.spec.width, 0]
    tested = subject.images if facts.test_images is None else facts.test_images[0]
    changed: list[tuple[str, object, object]] = [
        ("--epochs", facts.recipe.epochs, recipe.epochs),
        ("--seed", facts.seed, 0),
        ("--predictor", facts.predictor, recipe.predictor),
        *(_limits(facts, recipe) if subject.spec.predicts else ()),
        ("--images", size[0], subject.training_images),
        ("--test-images", tested, subject.images),
        ("--resolution", size[1], subject.spec.height),
    ]
    for option, value, usual in changed:
        said += [] if value == usual else [option, str(value)]
    for name in ("survivor_costs", "dense_predictors", "value_biases"):
        if getattr(facts.recipe, name) != getattr(recipe, name):
            said.append(("--" if getattr(facts.recipe, name) else "--no-") + name.replace("_", "-"))
    if is_balanced(facts) and not subject.spec.sparsity.balanced and stage != STAGES[0]:  # nothing is pruned there
        said.append("--balanced")
    if facts.widened_from is not None:
        said += ["--widen", f"build/{facts.widened_from}"]
    if facts.started_from is not None:
        said += ["--start", f"build/{facts.started_from}"]
    return said
