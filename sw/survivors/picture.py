"""The curve as a picture."""

import io
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sw.arrays import write_whole
from sw.page.style import BLUE, GRID, INK, ORANGE, PALE
from sw.survivors.points import Point


def write_picture(folder: Path, name: str, points: list[Point]) -> Path:
    """survivors.svg: accuracy against survivors, and against the blocks' cycles; a line joins networks trained with limits.

    Points of the knob alone (raised thresholds) are joined to the network whose thresholds they are.
    """
    with mpl.rc_context({"svg.hashsalt": name, "font.size": 9, "axes.spines.right": False, "axes.spines.top": False}):
        figure = Figure(figsize=(8.4, 3.6), layout="constrained")
        figure.suptitle(f"{name}: what fewer survivors cost, and what they save")
        left, right = figure.subplots(1, 2, sharey=True)
        trained = [point for point in points if not point.is_raised]
        _draw(left, points, {point: 50 * (point.survivors_first + point.survivors_second) for point in points})
        _draw(right, points, {point: point.cycles / 1000 for point in points})
        left.set_xlabel("survivors, mean of both ReLUs, %")
        right.set_xlabel(f"thousand cycles an image, estimated ({trained[0].preset})")
        left.set_ylabel(f"accuracy in integers, % of {trained[0].images:,} test images")
        left.legend(frameon=False, loc="lower right")
        text = io.BytesIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    path = folder / "survivors.svg"
    write_whole(path, text.getvalue())
    return path


def _draw(axes: Axes, points: list[Point], places: dict[Point, float]) -> None:
    """One plot, with the given place of every point on the horizontal axis."""

    def line(chosen: list[Point], style: str, color: str, label: str | None = None) -> None:
        ordered = sorted(chosen, key=lambda point: places[point])
        axes.plot([places[p] for p in ordered], [100 * p.accuracy for p in ordered], style, color=color, label=label)

    axes.grid(color=GRID)
    axes.set_axisbelow(True)
    trained, label = [point for point in points if not point.is_raised], "thresholds raised, not trained"
    for base in trained:
        same = [point for point in points if point.weights == base.weights]
        line(same, "-", PALE)
    line([point for point in points if point.is_raised], "^", ORANGE, label)
    line(trained, "o-", BLUE, "trained with limits")
    for point in trained:
        place = (places[point], 100 * point.accuracy)
        axes.annotate(point.setting, place, (0, 7), textcoords="offset points", ha="center", color=INK)
