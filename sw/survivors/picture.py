"""The curve as a picture."""

import re
from pathlib import Path

from matplotlib.axes import Axes

from sw.page.style import BLUE, GRID, INK, ORANGE, PALE, PURPLE
from sw.picture import svg_file
from sw.survivors.points import Point

LIMITS = re.compile(r"[\d.,]+/[\d.,]+")
"""Settings that are limits alone."""


def write_picture(folder: Path, name: str, points: list[Point]) -> Path:
    """survivors.svg: accuracy against survivors, and against the blocks' cycles; a line joins networks trained with limits.

    Points of the knob alone (raised thresholds) are joined to the network whose thresholds they are.
    """
    path = folder / "survivors.svg"
    with svg_file(path, name, 9.6, 4.2) as figure:
        figure.suptitle(f"{name}: what fewer survivors cost, and what they save")
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2, 3))
        trained = [point for point in points if not point.is_raised]
        _draw(left, points, {point: 50 * (point.survivors_first + point.survivors_second) for point in points}, labels=False)
        _draw(right, points, {point: point.cycles / 1000 for point in points}, labels=True)
        left.set_xlabel("survivors, mean of both ReLUs, %")
        right.set_xlabel(f"thousand cycles an image, estimated ({trained[0].preset})")
        left.set_ylabel(f"accuracy in integers, % of {trained[0].images:,} test images")
        right.legend(frameon=False, loc="lower left")
    return path


def _draw(axes: Axes, points: list[Point], places: dict[Point, float], labels: bool) -> None:
    """One plot, with the given place of every point on the horizontal axis."""

    def line(chosen: list[Point], style: str, color: str, label: str | None = None) -> None:
        ordered = sorted(chosen, key=lambda point: places[point])
        axes.plot([places[p] for p in ordered], [100 * p.accuracy for p in ordered], style, color=color, label=label)

    axes.grid(color=GRID)
    axes.set_axisbelow(True)
    axes.margins(x=0.1)
    trained = [point for point in points if not point.is_raised]
    changed = [point for point in trained if not LIMITS.fullmatch(point.setting)]
    for base in trained:
        line([point for point in points if point.weights == base.weights], ":", PALE)
    line([point for point in points if point.is_raised], "^", ORANGE, "thresholds raised, not trained")
    line(changed, "D", PURPLE, "trained otherwise")
    line([point for point in trained if point not in changed], "o-", BLUE, "trained with limits")
    for point in trained if labels else ():
        place, below = (places[point], 100 * point.accuracy), point in changed
        offset, side = ((7, -11 - 11 * (changed.index(point) % 2)), "left") if below else ((0, 7), "right")
        axes.annotate(point.setting, place, offset, textcoords="offset points", ha=side, color=INK, fontsize=8)
