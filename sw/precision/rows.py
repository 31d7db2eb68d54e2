"""The table of measurements: JSON with what repeats and resumes them, CSV for people."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from hw.contract.errors import ArchonError
from sw.arrays import csv_content, write_whole
from sw.precision.choices import DEFAULT

Count = Annotated[int, Field(ge=0)]
Bits = Annotated[int, Field(gt=0)]


class Row(BaseModel):
    """One choice, measured; the fields are the columns of the CSV, but for those at the end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: str
    dataset: str
    kind: str
    weight_bits: Bits
    project: str
    adder_limit: Bits
    predictor_input_bits: Bits
    tuned_steps: Count
    """Steps of training with these very numbers; 0: rounded after training for the default."""
    images: Bits
    correct: Count
    gain: float | None = None
    """Points of accuracy beyond the default's, tuned for as many steps."""
    gain_error: float | None = None
    """Its standard error, as the same images are compared."""
    adder_bits: Bits
    """Of A, proven."""
    product_bits: Bits
    bias_product_bits: Bits
    bias_bits: Bits
    predictor_sum_bits: Bits
    pair_rows: Count
    step_rows: Count
    bias_rows: Count
    """Of tables PAIR, STEP and BIAS, all lanes together."""
    updates: Count
    """Steps of accumulation that an output pixel of every block takes where everything survives."""
    value_bits: Count
    """Of these tables."""
    table_bits: Count
    """Of all tables."""
    preset: str
    seed: int
    digest: str
    """Of the weights, or of the checkpoint that training started from."""
    right: str | None = None
    """Hexadecimal bits, the first image's highest: whether it was recognised."""

    @property
    def accuracy(self) -> float:
        """0 to 1."""
        return self.correct / self.images

    def recognised(self) -> NDArray[np.bool_] | None:
        """(images,), if the row still has it."""
        if self.right is None:
            return None
        return np.unpackbits(np.frombuffer(bytes.fromhex(self.right), dtype=np.uint8))[: self.images].astype(bool)


JSON_ONLY = ("right",)
ROWS = TypeAdapter(list[Row])
DIGITS = 4
KEY = (
    "digest", "dataset", "kind", "weight_bits", "project", "adder_limit", "predictor_input_bits", "tuned_steps", "images",
    "preset", "seed",
)  # fmt: skip
"""Columns that say what a measurement is of: rows that agree in them are equal."""


def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a row, given by its columns, is a measurement of."""
    return tuple(row[name] for name in KEY)


def pack(right: NDArray[np.bool_]) -> str:
    """The field `right` of a row."""
    return np.packbits(right).tobytes().hex()


def with_gains(rows: Sequence[Row]) -> list[Row]:
    """Rows with their gains over the default of the same weights, images and steps, where it was measured."""
    defaults = {_group(row): row for row in rows if row.kind == DEFAULT}
    return [_with_gain(row, defaults.get(_group(row))) for row in rows]


def _group(row: Row) -> tuple[str | int, ...]:
    return row.digest, row.dataset, row.tuned_steps, row.images, row.preset, row.seed


def _with_gain(row: Row, default: Row | None) -> Row:
    own, others = row.recognised(), None if default is None else default.recognised()
    if own is None or others is None:
        return row
    difference = own.astype(np.int64) - others
    error = math.sqrt(float(difference.var()) / len(difference))
    points = {"gain": round(100 * float(difference.mean()), DIGITS), "gain_error": round(100 * error, DIGITS)}
    return row.model_copy(update=points)


def read_json(path: Path) -> list[Row]:
    """Rows that were measured before; none without the file.

    Raises:
        ArchonError: the file holds something else.
    """
    if not path.exists():
        return []
    try:
        return ROWS.validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise ArchonError(f"{path}: expected rows as archon precision leaves them, got something else") from error


def write_json(path: Path, rows: Sequence[Row]) -> None:
    """Write all rows."""
    write_whole(path, (json.dumps([row.model_dump() for row in rows], indent=1) + "\n").encode())


def to_csv(rows: Sequence[Row]) -> str:
    """The rows as CSV."""
    names = [name for name in Row.model_fields if name not in JSON_ONLY]
    return csv_content([row.model_dump(include=set(names)) for row in rows], names).decode()


def read_csv(path: Path) -> list[Row]:
    """The rows of a CSV.

    Raises:
        ArchonError: the file is missing or holds something else.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            found = [{name: value or None for name, value in line.items()} for line in csv.DictReader(stream)]
        return ROWS.validate_python(found)
    except (OSError, UnicodeDecodeError, csv.Error, ValidationError) as error:
        raise ArchonError(f"{path}: expected a table as archon precision leaves it, got something else: {error}") from error
