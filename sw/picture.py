"""Pictures as files of their own; those of a page are in sw.page.style."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from sw.arrays import write_whole


@contextmanager
def svg_file(path: Path, name: str, width: float, height: float) -> Iterator[Figure]:
    """Within, draw on the figure; then it is written, the same figure as the same bytes.

    Args:
        path: of the file.
        name: what identifiers within the picture are made from.
        width: in inches.
        height: in inches.
    """
    with mpl.rc_context({"svg.hashsalt": name, "font.size": 9, "axes.spines.right": False, "axes.spines.top": False}):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        content = io.BytesIO()
        figure.savefig(content, format="svg", metadata={"Date": None})
    write_whole(path, content.getvalue())
