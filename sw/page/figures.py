"""The pictures of a page, each an SVG element."""

from collections.abc import Sequence
from itertools import cycle
from typing import Literal, NamedTuple

from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from sw.curves import CURVES
from sw.page.facts import ConfusionRow, MultiplicationRow, Relu, SparsityRow, WeightRow
from sw.page.stages import Stage
from sw.page.style import DECISIONS, GREY, INK, MULTIPLICATIONS, PALE, PANEL, PARTS, ROW, STAGES, WRONG, Canvas, label_rows

_DASHES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")


INTEGERS = "integers"
"""What stands behind the stages of training."""


class Measured(NamedTuple):
    """An accuracy, 0 to 1, of a stage of training or of INTEGERS, and on how many images if that is known."""

    stage: str
    accuracy: float
    images: int | None


def accuracy_figure(measured: Sequence[Measured]) -> str:
    """Accuracy after every stage."""
    canvas = Canvas("accuracy", "Accuracy by stage", 2.4)
    values = [100 * item.accuracy for item in measured]
    with canvas as axes:
        axes.plot(range(len(values)), values, color=PALE, zorder=1)
        for place, (item, value) in enumerate(zip(measured, values, strict=True)):
            axes.scatter(place, value, 60, color=STAGES[item.stage], zorder=2)
            axes.annotate(f"{value:.2f}", (place, value), (0, 8), textcoords="offset points", ha="center")
        labels = [f"{item.stage}\n" + ("-" if item.images is None else f"of {item.images:,}") for item in measured]
        axes.set_xticks(range(len(values)), labels)
        axes.tick_params(axis="x", length=0, labelcolor=INK)
        axes.margins(x=0.12, y=0.3)
        axes.set_xlabel("stage, and of how many test images")
        axes.set_ylabel("accuracy, %")
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="y")
    return canvas.svg


def curve_figures(stages: Sequence[Stage]) -> dict[str, str]:
    """What the logs hold of CURVES, over the epochs of all stages one after the other."""
    figures = {key: _curve_figure(key, stages) for key in CURVES}
    return {key: figure for key, figure in figures.items() if figure}


def missing_curves(stages: Sequence[Stage]) -> list[str]:
    """What the logs do not hold of CURVES."""
    return [key for key in CURVES if not _columns(key, stages)]


def _columns(key: str, stages: Sequence[Stage]) -> list[str]:
    """Of all logs, those with one of CURVES."""
    return [name for name in CURVES[key].columns if any(name in stage.curves for stage in stages)]


def _curve_figure(key: str, stages: Sequence[Stage]) -> str:
    names, curve = _columns(key, stages), CURVES[key]
    if not names:
        return ""
    label = curve.label
    canvas = Canvas(f"curve-{key}", f"{label}, over the epochs of all stages".capitalize(), 2.3, PANEL)
    with canvas as axes:
        before = 0
        for stage in stages:
            for name, dash in zip(names, cycle(_DASHES), strict=False):
                if name in stage.curves:
                    epochs, values = curve.points(stage.curves, name)
                    axes.plot(
                        [before + epoch for epoch in epochs],
                        values,
                        dash,
                        color=STAGES[stage.name],
                        marker=".",
                        markersize=5,
                        linewidth=1.5,
                    )
            before += stage.epochs
            if stage.curves:
                axes.axvline(before + 0.5, color=PALE, linewidth=0.8, linestyle=":")
        if len(names) > 1:
            handles = [Line2D([], [], color=GREY, linestyle=dash) for _, dash in zip(names, cycle(_DASHES), strict=False)]
            axes.legend(handles, [name.replace("_", " ") for name in names], frameon=False)
        axes.set_xlabel("epochs of all stages")
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y")
    return canvas.svg


def sparsity_figure(rows: Sequence[SparsityRow]) -> str:
    """A row a layer, a marker a matrix."""
    layers = list(dict.fromkeys(row.layer for row in rows))
    canvas = Canvas("sparsity", "Share of zero weights by layer", 0.8 + 1.3 * ROW * len(layers))
    with canvas as axes:
        for part, (colour, marker, _, offset) in PARTS.items():
            chosen = [row for row in rows if row.part == part]
            places = [layers.index(row.layer) + offset for row in chosen]
            axes.scatter([100 * row.share for row in chosen], places, 26, color=colour, marker=marker, linewidths=0)
        label_rows(axes, layers)
        axes.set_xlim(-3, 103)
        axes.set_xlabel("zero weights, %")
    return canvas.svg


def confusion_figure(rows: Sequence[ConfusionRow], relu: Relu) -> str:
    """A bar a layer: what the decisions of one of the ReLUs were."""
    chosen = [row for row in rows if row.relu == relu]
    shares = {name: [100 * row.statistics.share(getattr(row.statistics, name)) for row in chosen] for name in DECISIONS}
    canvas = Canvas(f"confusion-{relu}", f"Predicted against true signs, {relu}", 0.7 + ROW * len(chosen), PANEL)
    with canvas as axes:
        left = [0.0] * len(chosen)
        for name, (_, colour) in DECISIONS.items():
            bars = axes.barh(range(len(chosen)), shares[name], 0.8, left=left, color=colour, edgecolor="white")
            texts = [f"{share:.0f}" if share >= 5 else "" for share in shares[name]]
            axes.bar_label(bars, texts, label_type="center", fontsize=8, color="white" if name == "true_positives" else INK)
            left = [low + share for low, share in zip(left, shares[name], strict=True)]
        label_rows(axes, [row.layer for row in chosen])
        axes.set_xlim(0, 100)
        axes.set_xlabel("decisions, %")
    return canvas.svg


def weight_figure(rows: Sequence[WeightRow], relu: Relu) -> str:
    """A bar a layer: what wrong decisions of one of the ReLUs weigh; all ReLUs' figures have the same axis."""
    chosen = [row for row in rows if row.relu == relu]
    largest = max(100 * (row.weight.false_positive_share + row.weight.false_negative_share) for row in rows)
    shares = {
        "false_positives": [100 * row.weight.false_positive_share for row in chosen],
        "false_negatives": [100 * row.weight.false_negative_share for row in chosen],
    }
    canvas = Canvas(f"weight-{relu}", f"Weight of wrong predictions in the output, {relu}", 0.7 + ROW * len(chosen), PANEL)
    with canvas as axes:
        left = [0.0] * len(chosen)
        for name in WRONG:
            bars = axes.barh(range(len(chosen)), shares[name], 0.8, left=left, color=DECISIONS[name][1], edgecolor="white")
            left = [low + share for low, share in zip(left, shares[name], strict=True)]
        axes.bar_label(bars, [f"{total:.1f}" for total in left], padding=3, fontsize=8)
        label_rows(axes, [row.layer for row in chosen])
        axes.set_xlim(0, max(1.0, 1.15 * largest))
        axes.set_xlabel("share of all contributions, %")
    return canvas.svg


def multiplication_figure(rows: Sequence[MultiplicationRow]) -> str:
    """Three bars a layer on a logarithmic axis; at the last one, which part of the first it is."""
    rows = [row for row in rows if max(row.dense, row.pruned, row.executed)]
    canvas = Canvas("multiplications", "Multiplications of an image by layer", 0.8 + 1.8 * ROW * len(rows))
    with canvas as axes:
        for place, (name, (_, colour)) in enumerate(MULTIPLICATIONS.items()):
            places = [index + 0.28 * (place - 1) for index in range(len(rows))]
            bars = axes.barh(places, [getattr(row, name) for row in rows], 0.26, color=colour)
        parts = [row.dense / row.executed if row.executed else 0 for row in rows]
        axes.bar_label(bars, [f"1/{part:.1f}" if part >= 1.05 else "" for part in parts], padding=3, fontsize=8)
        label_rows(axes, [row.layer for row in rows])
        axes.set_xscale("log")
        least = min(value for row in rows for value in (row.dense, row.pruned, row.executed) if value)
        axes.set_xlim(left=least / 2)
        axes.xaxis.set_major_locator(LogLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
        axes.set_xlabel("multiplications, one image")
    return canvas.svg


def _short(value: float) -> str:
    """10,000 as 10k."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.0f}{letter}"
    return f"{value:.0f}"
