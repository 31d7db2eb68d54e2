"""The command line: archon COMMAND (python -m sw does the same)."""

import sys

from cyclopts import App

from sw.evaluation import evaluate
from sw.export.__main__ import main as export
from sw.page.command import report
from sw.precision.__main__ import main as precision
from sw.results.__main__ import main as results
from sw.speed import speed
from sw.survivors.command import survivors
from sw.thresholds import thresholds
from sw.train.__main__ import main as train
from sw.train.matrix.__main__ import main as matrix

app = App(name="archon", help="Train networks stage by stage, evaluate them, and make bundles of integers of them.")
app.command(train, name="train")
app.command(matrix, name="matrix")
app.command(evaluate, name="evaluate")
app.command(export, name="export")
app.command(report, name="report")
app.command(results, name="results")
app.command(precision, name="precision")
app.command(speed, name="speed")
app.command(survivors, name="survivors")
app.command(thresholds, name="thresholds")


if __name__ == "__main__":
    sys.exit(app())
