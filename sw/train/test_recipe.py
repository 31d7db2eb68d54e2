"""How long and how fast stages train, and where their recipes are found."""

import pytest

from hw.contract.errors import ArchonError
from sw.spec import NetworkSpec, known_specs, load_spec
from sw.train.recipe import FULL_SIZE, OTHER_NANO, RECIPES, Recipe, find_recipe, with_survivors


def test_recipes_end_at_their_final_rate() -> None:
    for network in RECIPES.values():
        for recipe in network.values():
            rates = [recipe.rate_at(step, 1000) for step in range(1001)]
            assert max(rates) == pytest.approx(recipe.rate, rel=1e-2)
            assert rates[-1] == pytest.approx(recipe.final_rate)
    with pytest.raises(ArchonError, match="unknown stage 'distilled': expected one of vanilla"):
        find_recipe(load_spec("fusionet"), "distilled")


def test_rates_rise_while_warming_up_and_then_fall_by_hand() -> None:
    recipe = Recipe(epochs=1, rate=0.2, final_rate=0.02, power=2.0, warmup=0.1, falling=0.9)
    rates = [recipe.rate_at(step, 100) for step in (0, 4, 9, 10, 50, 90, 99)]
    assert rates == pytest.approx([0.2 / 11, 0.2 * 5 / 11, 0.2 * 10 / 11, 0.2, 0.02 + 0.18 / 4, 0.02, 0.02])


@pytest.mark.parametrize(
    ("network", "pruned", "rising", "rate", "predictor"),
    [
        ("fusionet", 80, 30, 1e-3, "forward"),
        ("fusionet-100", 80, 30, 2e-2, "constraint"),
        ("mobilenetv2-modified", 200, 30, 1e-3, "forward"),
        ("mobilenetv2-modified-100", 200, 30, 1e-3, "forward"),
        ("mnasnet-modified", 80, 30, 1e-3, "forward"),
    ],
)
def test_recipes_of_full_size_are_the_published_ones(
    network: str, pruned: int, rising: int, rate: float, predictor: str
) -> None:
    spec = named(network)
    pruning, prediction = find_recipe(spec, "pruned"), find_recipe(spec, "pred")
    assert (pruning.epochs, round(pruning.ramp * pruning.epochs)) == (pruned, rising)
    assert (prediction.epochs, prediction.rate, prediction.predictor) == (50, rate, predictor)
    assert prediction.rate_at(21, 50) == pytest.approx(8e-5 + (rate - 8e-5) / 8)  # half of the 42 epochs in which it falls
    assert prediction.rate_at(42, 50) == prediction.rate_at(49, 50) == pytest.approx(8e-5)


def named(name: str) -> NetworkSpec:
    """The description called without classes or data set, under this name, with 100 classes where it says so."""
    found = next(known for known in sorted(known_specs(), key=len, reverse=True) if name.startswith(known))
    return load_spec(found, 100 if name.endswith("-100") else None).model_copy(update={"name": name})


def test_recipes_are_found_by_name_then_by_size() -> None:
    slim, nano = RECIPES["fusionet-slim"], RECIPES["fusionet-nano"]
    assert find_recipe(named("fusionet-slim-fashion-mnist"), "vanilla") == slim["vanilla"]
    assert find_recipe(named("fusionet-nano-svhn"), "quantized") == nano["quantized"]
    assert find_recipe(named("fusionet-nano-100"), "pruned") == nano["pruned"]
    assert find_recipe(named("mobilenetv2-7"), "pruned") == FULL_SIZE["pruned"]
    assert find_recipe(named("fusionet-nano-2"), "vanilla") == OTHER_NANO["vanilla"]  # a network of one's own
    small, large = load_spec("fusionet-nano"), load_spec("fusionet")
    assert find_recipe(small.model_copy(update={"name": "mine"}), "vanilla") == OTHER_NANO["vanilla"]
    assert find_recipe(large.model_copy(update={"name": "mine"}), "vanilla") == FULL_SIZE["vanilla"]


def test_survivor_limits_are_shares() -> None:
    recipe = find_recipe(load_spec("fusionet-nano"), "pred")
    changed = with_survivors(recipe, "0.5", None)
    assert (changed.survivors_first, changed.survivors_second) == (0.5, recipe.survivors_second)
    with pytest.raises(ArchonError, match=r"share of survivors: expected more than 0 and at most 1, got 1\.5"):
        with_survivors(recipe, None, "1.5")
