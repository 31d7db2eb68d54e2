"""A report for people: the table for the terminal, and a picture."""

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from sim.report import LayerReport, Report, write_whole
from sw.datasets import find_dataset

_KINDS = {
    "dense": ("dense", "tab:blue"),
    "pruned": ("pruned", "tab:orange"),
    "executed": ("executed (1/n of dense)", "tab:green"),
}
_COUNTED = ("cycles", "multiplications_dense", "multiplications_pruned", "multiplications_executed", "additions_executed")
_SHARES = ("survivors_first", "survivors_second", "predictor_agreement_first", "predictor_agreement_second")
_HEADINGS = {
    "cycles": "cycles",
    "multiplications_dense": "mult.\ndense",
    "multiplications_pruned": "mult.\npruned",
    "multiplications_executed": "mult.\nexecuted",
    "additions_executed": "additions\nexecuted",
    "survivors_first": "survive\n1st",
    "survivors_second": "survive\n2nd",
    "predictor_agreement_first": "agree\n1st",
    "predictor_agreement_second": "agree\n2nd",
}


def layer_table(report: Report) -> Table:
    """One row a layer, means over the images, and the sum of the accelerator's layers."""
    table = Table(title=f"{report.network}: {_images(report)}, shares in %", box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("layer", no_wrap=True)
    table.add_column("on", no_wrap=True)
    for heading in _HEADINGS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for layer in report.layers:
        table.add_row(layer.name, layer.on, *_cells(layer), style="" if layer.on == "rtl" else "dim")
    executed = [layer for layer in report.layers if layer.on == "rtl"]
    table.add_section()
    sums = [sum(getattr(layer, name) or 0 for layer in executed) for name in _COUNTED]
    table.add_row("all on rtl", "", *[f"{number:,.0f}" for number in sums], *[""] * len(_SHARES), style="bold")
    return table


def verdict(report: Report) -> Group:
    """Classes, accuracy, speed, and the last line: PASS or FAIL."""
    name = find_dataset("cifar10").class_name
    lines = [
        f"test image {index}: predicted {name(guess)}, label {name(label)}{'' if guess == label else '  (wrong)'}"
        for index, guess, label in zip(report.image_indices, report.predictions, report.labels, strict=True)
    ]
    right = sum(guess == label for guess, label in zip(report.predictions, report.labels, strict=True))
    lines += [
        f"accuracy on these images: {right} of {report.images} ({100 * report.accuracy:.1f} %)",
        f"{report.clock_cycles_per_image:,.0f} clock cycles an image on {report.lanes} lanes",
        f"simulated at {report.simulated_cycles_per_second:,.0f} cycles/s, {report.wall_seconds:.1f} s in all",
    ]
    if report.bit_exact and report.discrepancies:
        others = f"{len(report.discrepancies):,} discrepancies between counters; first: {report.discrepancies[0]}"
        last = Text(f"FAIL: {others}", "bold red")
    elif report.bit_exact:
        last = Text(f"PASS: all {report.compared:,} activations, logits and counters are as expected", "bold green")
    else:
        last = Text(
            f"FAIL: {report.mismatches:,} of {report.compared:,} activations, logits and counters differ; first: ", "bold red"
        )
        last.append(difference_sentence(report))
    return Group(*lines, last)


def difference_sentence(report: Report) -> str:
    """The report's first difference in one line."""
    found = report.first_difference
    if found is None:
        return "none"
    place = "" if found.channel is None else f", channel {found.channel}, row {found.row}, column {found.column}"
    quantity = "" if found.quantity in {"activation", "logit"} else f", {found.quantity}"
    return f"image {found.image}, layer {found.layer}{place}{quantity}: expected {found.expected}, got {found.got}"


def write_picture(report: Report, path: Path) -> None:
    """Cycles of every layer on the accelerator, and multiplications dense, pruned and executed, as bars."""
    layers = [layer for layer in report.layers if layer.on == "rtl"]
    with mpl.rc_context({"axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True}):
        figure = Figure(figsize=(max(7.0, 0.9 * len(layers)), 7.0), layout="constrained")
        figure.suptitle(f"{report.network} on {report.lanes} lanes, {_images(report)}")
        above, below = figure.subplots(2, sharex=True)
        above.bar(range(len(layers)), [layer.cycles or 0 for layer in layers], 0.81, color="tab:gray")
        above.set_ylabel("clock cycles")
        above.yaxis.set_major_formatter("{x:,.0f}")
        _draw_multiplications(below, layers)
        below.set_xticks(range(len(layers)), [layer.name.replace("_", "\n") for layer in layers])
        below.set_xlim(-0.6, len(layers) - 0.4)
        for axes in (above, below):
            axes.grid(axis="y", color="0.9")
        write_whole(path, lambda beside: figure.savefig(beside, format="png", dpi=120))


def _draw_multiplications(axes: Axes, layers: Sequence[LayerReport]) -> None:
    """Three bars a layer on a logarithmic axis; over the last one, which part of the first it is."""
    heights = {kind: [getattr(layer, f"multiplications_{kind}") or 0 for layer in layers] for kind in _KINDS}
    for place, (kind, (label, colour)) in enumerate(_KINDS.items()):
        bars = axes.bar(
            [index + 0.27 * (place - 1) for index in range(len(layers))], heights[kind], 0.27, label=label, color=colour
        )
    parts = [dense / executed if executed else 0 for dense, executed in zip(heights["dense"], heights["executed"], strict=True)]
    axes.bar_label(bars, [f"1/{part:.0f}" if part >= 1 else "" for part in parts], padding=2, fontsize=7)
    least = min((height for row in heights.values() for height in row if height), default=1)
    axes.set_yscale("log")
    axes.set_ylim(bottom=10 ** math.floor(math.log10(least) - 0.2))  # no bar is too short to be seen
    axes.set_ylabel("multiplications")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(_KINDS), frameon=False)


def _images(report: Report) -> str:
    return "one image" if report.images == 1 else f"means of {report.images} images"


def _cells(layer: LayerReport) -> list[str]:
    numbers = [getattr(layer, name) for name in _COUNTED]
    shares = [getattr(layer, name) for name in _SHARES]
    return [
        *["-" if number is None else f"{number:,.0f}" for number in numbers],
        *["-" if share is None else f"{100 * share:.1f}" for share in shares],
    ]
