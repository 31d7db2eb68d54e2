"""Command line of the table of results: archon results."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console

from hw.contract.errors import ArchonError
from sw.arrays import write_whole
from sw.command import refused
from sw.results.published import load_published
from sw.results.render import page, terminal_tables, write_files
from sw.results.subjects import ROOT, Sources
from sw.results.table import make_rows

PAGE = ROOT / "docs" / "results.md"
TABLE_WIDTH = 200

app = App(name="sw.results", help="What all networks reached, beside what was published.")


@app.default
def main(
    *,
    docs: Annotated[Path, Parameter(help="the page of what comes with the project")] = PAGE,
    build: Annotated[Path, Parameter(help="folder of all artefacts")] = Path("build"),
) -> int:
    """Accuracy and work of every network, data set and stage, from the logs of training and evaluation.

    The page DOCS is of the runs that come with the project. The terminal, and BUILD/results/results.json, .csv and .md, show
    those in BUILD as well, which go before them.
    """
    console = Console()
    try:
        published = load_published()
        with console.status("reading logs and bundles"):
            rows = make_rows(Sources(build=build), published)
            text = page(make_rows(Sources(), published), published)
        paths = write_files(rows, published, build / "results")
        write_whole(docs, text.encode())
    except (ArchonError, OSError) as error:
        return refused(error)
    console.width = max(console.width, TABLE_WIDTH)
    for table in terminal_tables(rows):
        console.print(table)
    console.print(", ".join(map(str, (*paths, docs))), highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(app())
