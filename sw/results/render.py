"""The table for the terminal, as a page, and as JSON and CSV."""

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path

import pandas as pd
from rich import box
from rich.table import Table

from sw.arrays import write_whole
from sw.datasets import find_dataset
from sw.results.published import Published
from sw.results.table import INTEGERS, Row

HEADINGS = (
    "network", "stage", "accuracy, %", "published", "parameters", "MACs", "non-zero weights", "MACs of these",
    "executed multiplications of what is fused", "survivors 1st / 2nd, %",
)  # fmt: skip
LEFT = 2
"""Columns of text; those after them are numbers."""
SHORT = {
    "non-zero weights": "non-zero\nweights", "MACs of these": "MACs\nof these", HEADINGS[8]: "executed mult.\nof what is fused",
    HEADINGS[9]: "survivors\n1st / 2nd",
}  # fmt: skip
"""Headings in the terminal."""

NONE = "-"

CONDITIONS = """\
`make results` (`archon results`) wrote this page, from the logs in `sw/train/runs`, the bundles in `sw/bundle/trained` and the
descriptions in `sw/spec`; do not edit it. What was trained on the machine at hand, in `build`, shows in the terminal and in
`build/results`. It comes in here when its folder `build/NAME/train/STAGE` is copied to `sw/train/runs/NAME/STAGE`, and
`build/NAME/integers.json`, with the bundle, to `sw/train/runs/NAME` and `sw/bundle/trained`.

- `-` is what no log shows, or what was not published; `no log` what the authors list without a figure.
- Accuracy is that on the whole test set, or on its first images where their number stands beside. Stages of training are
  evaluated in Keras, with the stage's quantisation. `integers` is the golden model, which the RTL equals bit for bit.
- Parameters: weights, biases and BatchNorm's four values a channel, as frameworks count them, without predictors. MACs:
  multiply-accumulates of one image, every weight counted and nothing fused. Both follow from the description alone.
- Non-zero weights, and MACs with these alone: of the float weights that a stage left, in `integers` of the bundle.
- Executed multiplications: what the multipliers do in fused blocks and pairs of layers, the mean of as many images as stand
  beside, out of the MACs of the same layers. Survivors: the mean of the same blocks, over the images of the accuracy; the
  second ReLU of pairs is exact, and has no limit (`0.5 / -`).
- Published accuracies are the column of that name, other published figures stand in brackets. The one of executed
  multiplications counts all layers, and every entry of a fused map, touched or not.
- `fusionet-slim` is not there to be compared: `fusionet` was grown from it, on CIFAR-10 alone, after brief training.
"""

JPEG = """\
The copy of CIFAR-10 on which the runs in `sw/train/runs` were evaluated has 23 test images from JPEG copies: on the official
test set an accuracy may differ by up to 0.23 points.
"""


def cells(row: Row, number: Callable[[float], str] = "{:,.0f}".format) -> list[str]:
    """A row as text, in the order of HEADINGS; `number` writes what is counted."""
    executed = NONE
    if row.fused_executed is not None:
        executed = f"{number(row.fused_executed)} of {number(row.fused_dense)} ({row.counted_images:,} images)"
    dense, pruned, fused = (
        _millions(row.published_multiplications if row.stage == stage else None) for stage in ("vanilla", "pruned", "pred")
    )
    weights, kept = (
        NONE if value is None else number(value) for value in (row.nonzero_weights, row.nonzero_multiply_accumulates)
    )
    survivors = NONE
    if row.survivors_first is not None and row.survivors_second is not None:
        survivors = f"{100 * row.survivors_first:.1f} / {100 * row.survivors_second:.1f}"
    parameters = f"{number(row.parameters)}{_millions(row.published_parameters)}"
    return [
        row.network, row.stage, _accuracy(row), _published(row), parameters, f"{number(row.multiply_accumulates)}{dense}",
        weights, f"{kept}{pruned}", f"{executed}{fused}", survivors,
    ]  # fmt: skip


def remarks(row: Row) -> str:
    """Why there are no figures, or what is special about them."""
    if row.measured:
        return "; ".join(row.notes)
    return f"{row.status}: {'; '.join(row.notes)}" if row.notes else row.status


def terminal_tables(rows: Sequence[Row]) -> list[Table]:
    """A table a data set; rows without figures are dim."""
    tables = []
    for dataset, part in _by_dataset(rows):
        table = Table(title=find_dataset(dataset).title, box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for index, heading in enumerate(HEADINGS):
            table.add_column(SHORT.get(heading, heading), justify="left" if index < LEFT else "right", no_wrap=True)
        table.add_column("remarks")
        for row in part:
            table.add_row(
                *cells(row, _short), remarks(row), style="" if row.measured else "dim", end_section=row.stage == INTEGERS
            )
        tables.append(table)
    return tables


def page(rows: Sequence[Row], published: Published) -> str:
    """The page, in Markdown."""
    text = f"# Results\n\n{CONDITIONS}\n{JPEG}\n{_sources(published)}"
    for dataset, part in _by_dataset(rows):
        headings = [*HEADINGS, "remarks, or the command that is missing"]
        lines = [[*cells(row), _page_remarks(row)] for row in part]
        text += f"\n## {find_dataset(dataset).title}\n\n{_grid(headings, lines, LEFT)}"
    logs = [[row.network, row.dataset, row.stage, f"`{row.log}`", _code(row.commands)] for row in rows if row.log is not None]
    text += (
        "\n## Logs\n\nAccuracy, and where there was any, training epoch by epoch; settings, the seed among them, lie beside as "
        "`config.json`. The commands say the same as the settings, as far as options can; pauses and changes of mind are in\n"
        "[sw/train/runs/README.md](../sw/train/runs/README.md). `archon` is `.venv/bin/archon`.\n\n"
    )
    return text + _grid(["network", "data set", "stage", "log", "command"], logs, 5)


def write_files(rows: Sequence[Row], published: Published, folder: Path) -> list[Path]:
    """Write results.json, results.csv and results.md; each appears whole or not at all."""
    values = [row.model_dump(mode="json") for row in rows]
    whole = {"published": published.sources.model_dump(), "rows": values}
    table = pd.DataFrame([value | {key: "; ".join(value[key]) for key in ("notes", "commands", "wanting")} for value in values])
    contents = {
        "results.json": json.dumps(whole, indent=2) + "\n",
        "results.csv": table.to_csv(index=False, lineterminator="\n"),
        "results.md": page(rows, published),
    }
    for name, content in contents.items():
        write_whole(folder / name, content.encode())
    return [folder / name for name in contents]


def _by_dataset(rows: Iterable[Row]) -> Iterable[tuple[str, list[Row]]]:
    return ((dataset, list(part)) for dataset, part in groupby(rows, key=lambda row: row.dataset))


def _accuracy(row: Row) -> str:
    if row.accuracy is None:
        return NONE
    images = "" if row.images == row.test_set else f" ({row.images:,} images)" if row.images else " (? images)"
    return f"{100 * row.accuracy:.2f}{images}"


def _published(row: Row) -> str:
    if row.published_accuracy is not None:
        return f"{100 * row.published_accuracy:.2f}"
    return "no log" if row.published_without_log else NONE


def _short(value: float) -> str:
    return f"{value / 1e6:.2f} M" if value >= 1e6 else f"{value / 1e3:.1f} k"


def _millions(value: float | None) -> str:
    return "" if value is None else f" [{value / 1e6:g} M]"


def _page_remarks(row: Row) -> str:
    if row.wanting:
        return f"{remarks(row)}; trained at full width needs a GPU: {_code(row.wanting)}"
    return remarks(row) if row.measured else f"{remarks(row)}: {_code(row.commands)}"


def _code(commands: Iterable[str]) -> str:
    return ", ".join(f"`{command}`" for command in commands)


def _grid(headings: Sequence[str], lines: Iterable[Sequence[str]], left: int) -> str:
    numbers = len(headings) - 1 if left < len(headings) else left
    rules = ["---:" if left <= index < numbers else "---" for index in range(len(headings))]
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in (headings, rules, *escaped))


def _sources(published: Published) -> str:
    sources, notes = published.sources, [item for item in published.networks if item.note is not None]
    lines = [f"Published accuracies: {sources.accuracy}.", f"Other published figures: {sources.size}."]
    lines += [f"{item.network} on {find_dataset(item.dataset).title}: {item.note}." for item in notes]
    claims = "; ".join(claim.text for claim in published.claims)
    lines.append(f"Published besides ({sources.claims}): {claims}.")
    return "".join(f"- {line}\n" for line in lines)
