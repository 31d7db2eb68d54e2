"""The table of a matrix: a row a run, in files that are written anew with every change."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from rich import box
from rich.table import Table

from hw.contract.errors import ArchonError
from sw.arrays import csv_content, write_whole
from sw.run_folder import finished_accuracy, logged_epochs, read_log
from sw.train.matrix.plan import Combination
from sw.train.recipe import STAGES

State = Literal["finished", "interrupted", "failed", "running", "waiting"]
COLOURS = {"finished": "green", "interrupted": "yellow", "failed": "red", "running": "cyan", "waiting": "dim"}


class Row(BaseModel):
    """A run.

    Attributes:
        network: its name, which tells classes or data set.
        dataset: what it is trained on.
        seed: of everything random.
        stage: of training.
        state: waiting: not begun, or queued; interrupted: to be resumed.
        accuracy: on the test images, 0 to 1, once it is finished.
        epochs: that are done.
        planned: epochs in all.
        seconds: that the epochs took, or, without any, the evaluation; None before that.
        folder: of the run.
        command: trains it, alone, where there is nothing of it.
        job: "local" or "slurm", and the number of its last job.
        log: of that job.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: str
    dataset: str
    seed: int
    stage: str
    state: State
    accuracy: float | None
    epochs: int
    planned: int
    seconds: float | None
    folder: str
    command: str
    job: str | None = None
    log: str | None = None


class _Rows(BaseModel):
    rows: list[Row]


def row_of(combination: Combination, state: State, before: Row | None = None) -> Row:
    """The row of a run in a state, with what its folder says of it.

    Args:
        combination: the run.
        state: of it.
        before: its last row, of which the job is kept.
    """
    run = combination.run
    log = [] if state == "waiting" else read_log(run.folder)
    return Row(
        network=run.spec.name,
        dataset=run.dataset,
        seed=run.seed,
        stage=run.stage,
        state=state,
        accuracy=finished_accuracy(run.folder) if state == "finished" else None,
        epochs=logged_epochs(log),
        planned=run.recipe.epochs,
        seconds=sum(float(epoch["seconds"]) for epoch in log) if log else None,
        folder=str(run.folder),
        command=combination.command,
        job=None if before is None else before.job,
        log=None if before is None else before.log,
    )


class Results:
    """All rows, those of earlier matrices in the same folder among them.

    Args:
        folder: of the files.

    Raises:
        ArchonError: the folder holds something else.
    """

    def __init__(self, folder: Path) -> None:
        self._json, self._csv = folder / "results.json", folder / "results.csv"
        self._rows: dict[str, Row] = {}
        if self._json.exists():
            try:
                found = _Rows.model_validate_json(self._json.read_bytes())
            except ValidationError as error:
                raise ArchonError(f"{self._json}: expected a matrix's results, got something else; move it away") from error
            self._rows = {row.folder: _refreshed(row) for row in found.rows}

    @property
    def files(self) -> list[Path]:
        """Of the results."""
        return [self._json, self._csv]

    @property
    def rows(self) -> list[Row]:
        """All of them."""
        return list(self._rows.values())

    def find(self, combination: Combination) -> Row | None:
        """The last row of a run."""
        return self._rows.get(str(combination.run.folder))

    def put(self, rows: Iterable[Row]) -> None:
        """Take up rows, in place of those of the same runs, and write the files."""
        self._rows |= {row.folder: row for row in rows}
        self._rows = {row.folder: row for row in sorted(self._rows.values(), key=_place)}
        write_whole(self._json, (_Rows(rows=self.rows).model_dump_json(indent=1) + "\n").encode())
        write_whole(self._csv, csv_content([row.model_dump() for row in self.rows], list(Row.model_fields)))

    def table(self) -> Table:
        """For the terminal."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("network", "data set", "seed", "stage", "state", "accuracy", "epochs", "time"):
            right = name in {"seed", "accuracy", "epochs", "time"}
            table.add_column(name, justify="right" if right else "left", no_wrap=name != "network", overflow="fold")
        for row in self.rows:
            table.add_row(
                row.network,
                row.dataset,
                str(row.seed),
                row.stage,
                f"[{COLOURS[row.state]}]{row.state}[/]",
                "-" if row.accuracy is None else f"{100 * row.accuracy:.2f} %",
                f"{row.epochs} of {row.planned}",
                "-" if row.seconds is None else _duration(row.seconds),
            )
        return table


def _place(row: Row) -> tuple[str, str, int, int]:
    return row.network, row.dataset, row.seed, STAGES.index(row.stage) if row.stage in STAGES else len(STAGES)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _refreshed(row: Row) -> Row:
    """A row of an earlier matrix, whose run may have ended since, or be there no more."""
    accuracy = finished_accuracy(Path(row.folder))
    if row.state == "failed" or (accuracy is None and row.state != "finished"):
        return row
    if accuracy is None:
        return row.model_copy(update={"state": "waiting", "accuracy": None, "epochs": 0, "seconds": None})
    return row.model_copy(update={"state": "finished", "accuracy": accuracy})
