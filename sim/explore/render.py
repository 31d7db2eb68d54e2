"""Points of an exploration as a table and as pictures."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator
from rich import box
from rich.table import Table

from sim.explore.points import Cost, Point, dsp_of, lut4_of, pareto
from sim.report import write_whole

MARKERS = ("o", "s", "D", "^", "v", "P", "X")
COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple", "tab:brown", "tab:pink")

PANELS: tuple[tuple[str, Cost], ...] = (("LUT4 (with carry and distributed RAM)", lut4_of), ("DSP (18 x 18)", dsp_of))


def numbered(points: Sequence[Point]) -> dict[str, int]:
    """A number for each point of a front, by its name; the fastest is 1."""
    found = {point.name: point.cycles or 0 for _, cost in PANELS for point in pareto(points, cost)}
    return {name: number for number, name in enumerate(sorted(found, key=lambda name: found[name]), 1)}


def points_table(points: Sequence[Point]) -> Table:
    """A row a point, fastest first; those of a front have the numbers of the pictures."""
    fronts, numbers = [pareto(points, cost) for _, cost in PANELS], numbered(points)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("no.", "point", "cycles", "LUT4", "DSP", "BRAM", "FF", "Pareto in", "RTL, cycles", "error", "worst layer"):
        table.add_column(heading, justify="left" if heading in {"point", "Pareto in"} else "right")
    known = sorted((point for point in points if point.cycles is not None), key=lambda point: point.cycles or 0)
    for point in known:
        names = [name for name, front in zip(("LUT4", "DSP"), fronts, strict=True) if point in front]
        facts = (point.cycles, point.lut4, point.dsp, point.bram, point.ff)
        errors = (_percent(point.error, "+"), _percent(point.worst))
        number = str(numbers.get(point.name, ""))
        table.add_row(number, point.name, *map(_number, facts), ", ".join(names), _number(point.measured), *errors)
    for point in points:
        if point.refused is not None:
            table.add_row("", point.summary)
    return table


def write_pictures(points: Sequence[Point], network: str, folder: Path) -> list[Path]:
    """Cycles against LUT4 and against DSP, as explore.png and explore.svg; nothing where no point is complete."""
    complete = [point for point in points if point.complete]
    if not complete:
        return []
    with mpl.rc_context({"axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "svg.hashsalt": "-"}):
        figure = Figure(figsize=(13.0, 6.2), layout="constrained")
        figure.suptitle(f"{network}: clock cycles an image against area on an ECP5, {len(complete)} accelerators")
        panels = figure.subplots(1, 2, sharey=True)
        for axes, (label, cost) in zip(panels, PANELS, strict=True):
            _draw(axes, complete, cost)
            axes.set_xlabel(label)
        panels[0].set_ylabel("clock cycles an image")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
        names = [f"{number}  {name}" for name, number in numbered(complete).items()]
        figure.legend(
            [Line2D([], [], linestyle="none")] * len(names), names, loc="outside right upper", frameon=False,
            title="Pareto points", alignment="left", handlelength=0, handletextpad=0,
        )  # fmt: skip
        files = [folder / f"explore.{form}" for form in ("png", "svg")]
        for path in files:
            write_whole(path, partial(figure.savefig, format=path.suffix[1:], dpi=130))
    return files


def _draw(axes: Axes, points: Sequence[Point], cost: Cost) -> None:
    """All points; the Pareto points are joined and numbered, those that ran on the RTL have a ring at their measured cycles."""
    front, numbers = pareto(points, cost), numbered(points)
    places = [cost(point) for point in front], [point.cycles or 0 for point in front]
    axes.step(*places, where="post", color="0.55", linewidth=1.2, label="Pareto front")
    for number, count in enumerate(sorted({point.parameters["lanes"] for point in points})):
        chosen = [point for point in points if point.parameters["lanes"] == count]
        places = [cost(point) for point in chosen], [point.cycles or 0 for point in chosen]
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        axes.scatter(*places, s=34, color=colour, marker=marker, label=f"{count} lane" + "s" * (count > 1))
    measured = [point for point in points if point.measured is not None]
    axes.scatter(
        [cost(point) for point in measured], [point.measured or 0 for point in measured], 110,
        facecolors="none", edgecolors="black", linewidths=1.2, label="measured on the RTL",
    )  # fmt: skip
    for index, point in enumerate(front):
        offset = (13, 7) if index % 2 == 0 else (-9, -19)  # neighbours lie close
        place = cost(point), point.cycles or 0
        text = str(numbers[point.name])
        axes.annotate(text, place, offset, textcoords="offset points", ha="center", fontsize=10, fontweight="bold")
    axes.set(xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter("{x:,.0f}")
    axes.margins(x=0.12, y=0.1)
    axes.grid(color="0.92")


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _percent(share: float | None, sign: str = "") -> str:
    return "-" if share is None else f"{100 * share:{sign}.1f} %"
