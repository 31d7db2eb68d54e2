"""What the log of a training run shows epoch by epoch, and the picture of it that lies beside the log."""

import math
from pathlib import Path
from typing import NamedTuple

from matplotlib.ticker import MaxNLocator

from hw.contract.errors import ArchonError
from sw.picture import svg_file
from sw.run_folder import ACCURACY, LOG, SPARSITY, SURVIVORS, read_log

EPOCH = "epoch"
PICTURE = "curves.svg"
Curves = dict[str, list[float]]
"""Column of a log to its value in every epoch, NaN where there is none; empty without a log."""


class Curve(NamedTuple):
    """One plot: the columns of the log in it, what its axis says, and the factor of the axis' unit."""

    columns: tuple[str, ...]
    label: str
    factor: int

    def within(self, curves: Curves) -> list[str]:
        """Those of its columns that a log has."""
        return [name for name in self.columns if name in curves]

    def points(self, curves: Curves, name: str) -> tuple[list[float], list[float]]:
        """Epochs with a value in a column, and the values: a line joins those of an accuracy found every few epochs, too."""
        pairs = zip(curves[EPOCH], curves[name], strict=True)
        known = [(epoch, self.factor * value) for epoch, value in pairs if not math.isnan(value)]
        return [epoch for epoch, _ in known], [value for _, value in known]


CURVES = {
    "loss": Curve(("loss",), "training loss", 1),
    "accuracy": Curve((ACCURACY,), "accuracy on test images, %", 100),
    "survivors": Curve(SURVIVORS, "survivors, %", 100),
    "sparsity": Curve((SPARSITY,), "zero weights, %", 100),
}


def read_curves(folder: Path) -> Curves:
    """The log of a run as numbers.

    Raises:
        ArchonError: it is not a table of numbers, or does not count epochs.
    """
    rows = read_log(folder)
    names = list(rows[0]) if rows else []
    try:
        curves = {name: [float("nan" if row[name] == "" else row[name]) for row in rows] for name in names}
    except (TypeError, ValueError) as error:
        raise ArchonError(f"{folder / LOG}: expected a table of numbers, got something else: {error}") from error
    if curves and EPOCH not in curves:
        raise ArchonError(f"{folder / LOG}: expected a column {EPOCH}, got {', '.join(names)}")
    return curves


def write_picture(folder: Path, title: str) -> None:
    """Draw what the log holds of CURVES, side by side, as PICTURE in the run folder."""
    curves = read_curves(folder)
    shown = [curve for curve in CURVES.values() if curve.within(curves)]
    if not shown:
        return
    with svg_file(folder / PICTURE, PICTURE, 3.2 * len(shown), 2.8) as figure:
        figure.suptitle(title)
        for axes, curve in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
            for name in curve.within(curves):
                axes.plot(*curve.points(curves, name), marker=".", label=name.replace("_", " "))
            if len(curve.columns) > 1:
                axes.legend(frameon=False)
            axes.set_xlabel(EPOCH)
            axes.set_ylabel(curve.label)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axes.grid(axis="y", color="#e6eaef")
