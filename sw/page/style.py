"""What all pictures of a page have in common: colours that colour-blind readers can tell apart, sizes, SVG."""

import io
import re
from collections.abc import Mapping
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH, PANEL = 4.6, 3.7
"""Of a figure and of one that has others beside it, in inches: letters stay readable where it is as wide as a phone."""

ROW = 0.25
"""Height of a row of a figure by layers, in inches."""

# Okabe and Ito's palette, and greys.
BLUE, SKY, GREEN, ORANGE, VERMILION, PURPLE = "#0072b2", "#56b4e9", "#009e73", "#e69f00", "#d55e00", "#cc79a7"
INK, GREY, PALE, GRID = "#1c2733", "#5d6b7a", "#c3cdd8", "#e6eaef"

DECISIONS: Mapping[str, tuple[str, str]] = {
    "true_positives": ("survives, rightly", BLUE),
    "false_positives": ("let through, wrongly", PURPLE),
    "false_negatives": ("dropped, wrongly", ORANGE),
    "true_negatives": ("dropped, rightly", PALE),
}
"""What a prediction can be: its name for people, and its colour."""

WRONG = ("false_positives", "false_negatives")
MULTIPLICATIONS: Mapping[str, tuple[str, str]] = {
    "dense": ("dense", PALE),
    "pruned": ("pruned", SKY),
    "executed": ("executed", BLUE),
}
STAGES: Mapping[str, str] = {"vanilla": SKY, "pruned": BLUE, "pred": ORANGE, "quantized": GREEN, "integers": INK}
PARTS: Mapping[str, tuple[str, str, str, float]] = {
    "weights": (INK, "o", "●", 0),
    "expand": (BLUE, "s", "■", -0.3),
    "depthwise": (ORANGE, "^", "▲", -0.15),
    "project": (GREEN, "D", "◆", 0),
    "predictor expand": (SKY, "P", "✚", 0.15),
    "predictor depthwise": (PURPLE, "X", "✖", 0.3),
}
"""Colour and marker of a matrix of weights, the marker as a letter, and its place in the layer's row."""

_RC: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": PALE,
    "axes.labelcolor": GREY,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "grid.color": GRID,
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": PALE,
    "xtick.labelcolor": GREY,
    "ytick.color": PALE,
    "ytick.labelcolor": INK,
}

_PROLOGUE = re.compile(r"^.*?(?=<svg)|<metadata>.*?</metadata>", re.DOTALL)
_UNUSED_NAME = re.compile(r' id="[a-zA-Z]+[a-zA-Z0-9.]*_\d+"')


class Canvas:
    """One picture: draw on `axes` in a with statement, then take `svg`.

    Args:
        name: of the picture, unlike all others on the page.
        title: what it shows, for those who do not see it.
        height: in inches.
        width: in inches.
    """

    def __init__(self, name: str, title: str, height: float, width: float = WIDTH) -> None:
        self.title = title
        self._context = mpl.rc_context({**_RC, "svg.hashsalt": name})
        self._size = width, height
        self.svg = ""

    def __enter__(self) -> Axes:
        self._context.__enter__()
        self._figure = Figure(figsize=self._size, layout="constrained")
        return self._figure.subplots()

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                text = io.StringIO()
                self._figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
                self.svg = self._inline(text.getvalue())
        finally:
            self._context.__exit__(None, None, None)

    def _inline(self, svg: str) -> str:
        """An element of the page: without what only a file of its own has, and without names that other pictures have, too."""
        element = _UNUSED_NAME.sub("", _PROLOGUE.sub("", svg)).strip()
        return element.replace("<svg", f'<svg role="img" aria-label="{escape(self.title)}"', 1)


def label_rows(axes: Axes, labels: list[str]) -> None:
    """Names of rows, the first one on top."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
