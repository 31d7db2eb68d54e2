"""The measurements as a table for the terminal, as CSV and as a picture; the page of them is sw.precision.page."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from rich import box
from rich.table import Table

from sw.arrays import write_whole
from sw.page.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, SKY, VERMILION, Canvas
from sw.precision.choices import DEFAULT, KINDS
from sw.precision.rows import Row, to_csv

CSV, PICTURE = "precision.csv", "precision.svg"
KIB = 8 * 1024
LEFT = 3
"""Columns of text; those behind them are numbers."""
HEADINGS = (
    "kind", "W1, D", "W2", "predictor input", "accuracy, %", "against default", "v", "A", "D b1 / b2", "T1 sum",
    "value tables, KiB", "all tables, KiB", "updates",
)  # fmt: skip
COLOURS = dict(zip(KINDS, (INK, BLUE, SKY, GREEN, ORANGE, PURPLE, GREY, VERMILION), strict=True))
LOWEST = -6.0
"""Points that the picture reaches down to."""
MARKERS = {False: "o", True: "^"}


def cells(row: Row) -> list[str]:
    """A row as text, in the order of HEADINGS."""
    gain = "-" if row.gain is None or row.gain_error is None else f"{row.gain:+.2f} ± {row.gain_error:.2f}"
    return [
        row.kind, str(row.weight_bits), row.project, str(row.predictor_input_bits), f"{100 * row.accuracy:.2f}", gain,
        str(row.product_bits), str(row.adder_bits), f"{row.bias_product_bits} / {row.bias_bits}", str(row.predictor_sum_bits),
        f"{row.value_bits / KIB:.1f}", f"{row.table_bits / KIB:.1f}", f"{row.updates:,}",
    ]  # fmt: skip


def how(row: Row) -> str:
    """How the integers of a row came about, and on how many images it was measured."""
    seed = f" (seed {row.seed})" if row.seed else ""
    way = f"tuned for {row.tuned_steps} steps{seed}" if row.tuned_steps else "rounded after training"
    return f"{way}, {row.images:,} images"


def grouped(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Rows that can be compared with each other, in the order of the choices' kinds."""
    kinds = list(KINDS)
    ordered = sorted(rows, key=lambda row: (row.tuned_steps, row.seed, row.images, kinds.index(row.kind)))
    return [(way, list(part)) for way, part in groupby(ordered, key=how)]


def terminal_tables(rows: Sequence[Row]) -> list[Table]:
    """For the terminal, one of rows that can be compared with each other."""
    made = []
    for way, part in grouped(rows):
        shown = Table(title=way, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for index, heading in enumerate(HEADINGS):
            shown.add_column(heading, justify="left" if index < LEFT else "right", no_wrap=index < LEFT)
        for row in part:
            shown.add_row(*cells(row), style="bold" if row.kind == DEFAULT else "")
        made.append(shown)
    return made


def picture(rows: Sequence[Row]) -> str:
    """Accuracy beyond the default's over the size of the value path's tables, as SVG."""
    title = f"{rows[0].network}: accuracy against the size of tables"
    rows = [row for row in rows if row.gain is not None and row.gain > LOWEST]
    with (canvas := Canvas("precision", title, 4.2, 7.0)) as axes:
        for kind, colour in COLOURS.items():
            for tuned, marker in MARKERS.items():
                part = [row for row in rows if row.kind == kind and bool(row.tuned_steps) == tuned]
                if not part:
                    continue
                sizes, gains = [row.value_bits / KIB for row in part], [row.gain or 0.0 for row in part]
                label = f"{kind}, tuned" if tuned else kind
                face = colour if tuned else "none"
                axes.scatter(sizes, gains, 34, marker=marker, facecolors=face, edgecolors=colour, label=label)
        axes.set_xlabel("tables of the value path, KiB")
        axes.set_ylabel("accuracy against the default, points")
        axes.grid()
        axes.legend(frameon=False, fontsize=7, ncols=2, loc="lower right")
    return canvas.svg + "\n"


def write_files(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write precision.csv and .svg."""
    contents = {CSV: to_csv(rows), PICTURE: picture(rows)}
    for name, content in contents.items():
        write_whole(folder / name, content.encode())
    return [folder / name for name in contents]
