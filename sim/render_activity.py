"""Where the time goes, for people: a table and a picture of what the units did."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from rich import box
from rich.table import Table

from hw.contract.activity import STATES, Unit
from sim.report import Report, UnitActivity, write_whole

SHOWN = Unit.MULTIPLIERS.label
"""The unit that everything is there for."""

_COLOURS = {"busy": "tab:green", "starved": "tab:orange", "blocked": "tab:red", "drain": "0.8"}


def busiest(rows: Sequence[UnitActivity]) -> UnitActivity:
    """The unit that works the greatest share of a layer's cycles: no layer can be faster than it."""
    return max(rows, key=lambda row: row.busy / row.cycles if row.cycles else 0.0)


def activity_tables(report: Report) -> list[Table]:
    """One row a layer: shares of the multipliers' cycles, and the unit that binds. None where there are no counters."""
    if not report.activity:
        return []
    table = Table(title="shares of cycles, in %", box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("layer", no_wrap=True)
    for state in STATES:
        table.add_column(f"{SHOWN}\n{state}", justify="right", no_wrap=True)
    table.add_column("busiest\nunit", no_wrap=True)
    for state in STATES:
        table.add_column(f"\n{state}", justify="right", no_wrap=True)
    for layer, rows in _by_layer(report).items():
        multipliers = next((_shares(row) for row in rows if row.unit == SHOWN), ["-"] * len(STATES))
        most = busiest(rows)
        table.add_row(layer, *multipliers, most.unit, *_shares(most))
    return [table]


def write_activity_picture(report: Report, path: Path) -> None:
    """A stacked bar a layer of what the multipliers did, and of every unit how much of the layer's time it was busy."""
    layers = _by_layer(report)
    units = [unit.label for unit in Unit if any(row.unit == unit.label for row in report.activity)]
    with mpl.rc_context({"axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(max(8.0, 1.0 * len(layers)), 4.0 + 0.32 * len(units)), layout="constrained")
        figure.suptitle(f"{report.network} on {report.lanes} lanes: where the cycles go")
        above, below = figure.subplots(2, sharex=True, height_ratios=[3.0, 0.32 * len(units)])
        _draw_bars(above, layers)
        _draw_units(below, layers, units)
        below.set_xticks(range(len(layers)), [layer.replace("_", "\n") for layer in layers])
        write_whole(path, lambda beside: figure.savefig(beside, format="png", dpi=120))


def _draw_bars(axes: Axes, layers: dict[str, list[UnitActivity]]) -> None:
    bottom = [0.0] * len(layers)
    rows = [next((row for row in of_layer if row.unit == SHOWN), None) for of_layer in layers.values()]
    for state in STATES:
        heights = [100 * getattr(row, state) / row.cycles if row and row.cycles else 0.0 for row in rows]
        bars = axes.bar(range(len(layers)), heights, 0.8, bottom=bottom, label=state, color=_COLOURS[state])
        axes.bar_label(bars, [f"{height:.0f}" if height >= 4 else "" for height in heights], label_type="center", fontsize=8)
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    for place, row in enumerate(rows):
        if row is None:
            axes.text(place, 3, "not used", rotation=90, ha="center", va="bottom", color="0.5", fontsize=8)
    axes.set_ylabel(f"{SHOWN}: % of cycles")
    axes.set_ylim(0, 100)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(STATES), frameon=False)


def _draw_units(axes: Axes, layers: dict[str, list[UnitActivity]], units: Sequence[str]) -> None:
    """A table in colours; the busiest unit of a layer is framed."""
    for place, rows in enumerate(layers.values()):
        most = busiest(rows)
        for row in rows:
            height, share = units.index(row.unit), row.busy / row.cycles if row.cycles else 0.0
            edge = {"edgecolor": "black", "linewidth": 1.5, "zorder": 2} if row is most else {"edgecolor": "white"}
            axes.add_patch(Rectangle((place - 0.48, height - 0.46), 0.96, 0.92, facecolor=_shade(share), **edge))
            colour = "white" if share > 0.6 else "black"
            axes.text(place, height, f"{100 * share:.0f}", ha="center", va="center", fontsize=8, color=colour, zorder=3)
    axes.set_xlim(-0.6, len(layers) - 0.4)
    axes.set_ylim(len(units) - 0.4, -0.6)
    axes.set_yticks(range(len(units)), [unit.replace("_", " ") for unit in units])
    axes.set_ylabel("busy: % of cycles\n(framed: the busiest unit)")
    axes.tick_params(length=0)


def _shade(share: float) -> tuple[float, ...]:
    return tuple(mpl.colormaps["Greens"](share))


def _shares(row: UnitActivity) -> list[str]:
    return [f"{100 * getattr(row, state) / row.cycles:.1f}" if row.cycles else "-" for state in STATES]


def _by_layer(report: Report) -> dict[str, list[UnitActivity]]:
    layers: dict[str, list[UnitActivity]] = {layer.name: [] for layer in report.layers}
    for row in report.activity:
        layers[row.layer].append(row)
    return {name: rows for name, rows in layers.items() if rows}
