"""Points of an exploration as a table and as pictures."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich import box
from rich.table import Table

from sim.explore.points import Cost, Point, dsp_of, lut4_of, pareto
from sim.report import write_whole

MARKERS = ("o", "s", "D", "^", "v", "P", "X")
COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple", "tab:brown", "tab:pink")

PANELS: tuple[tuple[str, Cost], ...] = (("LUT4 (with carry and distributed RAM)", lut4_of), ("DSP (18 x 18)", dsp_of))


def points_table(points: Sequence[Point]) -> Table:
    """A row a point, fastest first; a star for each front that it is on."""
    fronts = [pareto(points, cost) for _, cost in PANELS]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("point", "cycles", "LUT4", "DSP", "BRAM", "Pareto", "RTL, cycles", "error", "worst layer"):
        table.add_column(heading, justify="left" if heading in {"point", "Pareto"} else "right")
    known = sorted((point for point in points if point.cycles is not None), key=lambda point: point.cycles or 0)
    for point in known:
        names = [name for name, front in zip(("LUT4", "DSP"), fronts, strict=True) if point in front]
        numbers = (point.cycles, point.lut4, point.dsp, point.bram)
        errors = (_percent(point.error, "+"), _percent(point.worst))
        table.add_row(point.name, *map(_number, numbers), ", ".join(names), _number(point.measured), *errors)
    for point in points:
        if point.refused is not None:
            table.add_row(point.name, f"does not fit: {point.refused}")
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
        figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
        files = [folder / f"explore.{form}" for form in ("png", "svg")]
        for path in files:
            write_whole(path, partial(figure.savefig, format=path.suffix[1:], dpi=130))
    return files


def _draw(axes: Axes, points: Sequence[Point], cost: Cost) -> None:
    """All points; the Pareto points are joined and named, those that ran on the RTL have a ring at their measured cycles."""
    lanes = sorted({point.parameters["lanes"] for point in points})
    for number, count in enumerate(lanes):
        chosen = [point for point in points if point.parameters["lanes"] == count]
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        label = f"{count} lane" + "s" * (count > 1)
        places = [cost(point) for point in chosen], [point.cycles or 0 for point in chosen]
        axes.scatter(*places, s=34, color=colour, marker=marker, label=label)
    front = pareto(points, cost)
    axes.step(
        [cost(point) for point in front],
        [point.cycles or 0 for point in front],
        where="post",
        color="0.4",
        label="Pareto front",
    )
    measured = [point for point in points if point.measured is not None]
    axes.scatter(
        [cost(point) for point in measured], [point.measured or 0 for point in measured], 150,
        facecolors="none", edgecolors="black", linewidths=1.4, label="confirmed on the RTL",
    )  # fmt: skip
    for point in front:
        place = (cost(point), point.cycles or 0)
        axes.annotate(point.name, place, (6, 7), textcoords="offset points", fontsize=7.5)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_minor_formatter("{x:,.0f}")
    axes.tick_params(axis="y", which="minor", labelsize=8)
    axes.margins(x=0.12, y=0.08)
    axes.grid(which="both", color="0.92")


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _percent(share: float | None, sign: str = "") -> str:
    return "-" if share is None else f"{100 * share:{sign}.1f} %"
