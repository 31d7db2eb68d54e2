"""A network's facts as one page of HTML that needs no other file."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sw.golden import MaskStatistics
from sw.page import figures, style
from sw.page.facts import ConfusionRow, Facts, Picture, Relu, WeightRow
from sw.page.figures import INTEGERS, Measured
from sw.page.maps import gradient, map_address, picture_address, shared_range

HEADINGS: dict[Relu, str] = {
    "first": "first ReLU",
    "second": "second ReLU",
    "second, exact first": "second ReLU, exact first",
}


class Card(NamedTuple):
    """A number on top of the page, and what it is."""

    value: str
    unit: str
    label: str


class Map(NamedTuple):
    """A survivor map: a picture's address, and the mean share of survivors."""

    address: str
    mean: float


def render(facts: Facts) -> str:
    """The whole page."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"percent": _percent, "count": _count}
    maps = [found for picture in facts.pictures for relus in picture.maps.values() for found in relus]
    scale = shared_range(maps) if maps else (0.0, 1.0)
    measured = _measured(facts)
    blocks = list(enumerate(facts.network.spec.blocks, 1))
    return environment.get_template("page.html.jinja").render(
        facts=facts,
        spec=facts.network.spec,
        provenance=facts.network.provenance,
        cards=list(_cards(facts)),
        accuracy=figures.accuracy_figure(measured) if measured else None,
        curves=figures.curve_figures(facts.stages),
        curve_colours={stage.name: style.STAGES[stage.name] for stage in facts.stages if stage.curves},
        missing_curves=figures.missing_curves(facts.stages),
        sparsity=figures.sparsity_figure(facts.sparsity),
        parts={part: style.PARTS[part] for part in style.PARTS if any(row.part == part for row in facts.sparsity)},
        pictures=[(picture, picture_address(picture.pixels), _maps(picture, *scale)) for picture in facts.pictures],
        scale=scale,
        gradient=gradient(),
        headings=HEADINGS,
        confusion={relu: figures.confusion_figure(facts.confusion, relu) for relu in _relus(facts.confusion)},
        decisions=style.DECISIONS,
        weighed={relu: figures.weight_figure(facts.weights, relu) for relu in _relus(facts.weights)},
        wrong={name: style.DECISIONS[name] for name in style.WRONG},
        multiplications=figures.multiplication_figure(facts.multiplications),
        multiplication_colours=style.MULTIPLICATIONS,
        totals={name: sum(getattr(row, name) for row in facts.multiplications) for name in style.MULTIPLICATIONS},
        unfused=[f"block {index}" for index, block in blocks if block.kind == "unfused"],
        pairs=[f"block {index}" for index, block in blocks if block.kind == "pointwise_pair"],
    )


def _relus(rows: Sequence[ConfusionRow] | Sequence[WeightRow]) -> list[Relu]:
    """The ReLUs that there are rows of, in order."""
    return list(dict.fromkeys(row.relu for row in rows))


def _measured(facts: Facts) -> list[Measured]:
    """What is known of the stages' accuracies, and of the integers'."""
    found = [
        Measured(stage.name, stage.accuracy, stage.settings.test_images[0] if stage.settings.test_images else None)
        for stage in facts.stages
        if stage.accuracy is not None
    ]
    if facts.integers is not None:
        found.append(Measured(INTEGERS, facts.integers.accuracy, facts.integers.images))
    return found


def _cards(facts: Facts) -> Iterator[Card]:
    last = next(reversed(_measured(facts)), None)
    # Trained runs of the same network say nothing of random weights.
    if last is not None and (last.stage == INTEGERS or facts.network.provenance.get("weights") != "random"):
        after = "of the integers" if last.stage == INTEGERS else f"after stage {last.stage}"
        of = "" if last.images is None else f", {_count(last.images)} test images"
        yield Card(_percent(last.accuracy, 2), "%", f"accuracy {after}{of}")
    zeros, weights = (sum(getattr(row, name) for row in facts.sparsity) for name in ("zeros", "weights"))
    yield Card(_percent(zeros / weights), "%", "of all weights are zero")
    counted: dict[Relu, MaskStatistics] = {}
    for row in facts.confusion:
        counted.setdefault(row.relu, MaskStatistics()).merge(row.statistics)
    shown = [counted[relu] for relu in ("first", "second") if relu in counted]
    if shown:
        which = "first and second ReLU" if len(shown) > 1 else "predicted ReLU"
        yield Card(" / ".join(_percent(item.survivor_share) for item in shown), "%", f"survive the {which}")
        yield Card(" / ".join(_percent(item.agreement) for item in shown), "%", f"of signs predicted rightly, {which}")
    dense, executed = (sum(getattr(row, name) for row in facts.multiplications) for name in ("dense", "executed"))
    yield Card(f"{dense / executed:.1f}", "times", "fewer multiplications than dense")


def _maps(picture: Picture, low: float, high: float) -> dict[str, list[Map]]:
    return {
        layer: [Map(map_address(found, low, high), float(found.mean())) for found in relus]
        for layer, relus in picture.maps.items()
    }


def _percent(share: float, places: int = 1) -> str:
    """A share without the sign %."""
    return f"{100 * share:.{places}f}"


def _count(number: float) -> str:
    return f"{number:,.0f}"
