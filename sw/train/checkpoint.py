"""Run folders: checkpoints to resume from, a log, and the final weights, each written whole or not at all."""

import csv
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.contract.errors import ArchonError

CHECKPOINT = "checkpoint.npz"
WEIGHTS = "weights.npz"
CONFIG = "config.json"
LOG = "log.csv"
EPOCH = "epoch"
OPTIMIZER_PREFIX = "optimizer/"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place, then move it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def save_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write named arrays as one compressed npz file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_whole(path, buffer.getvalue())


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read an npz file.

    Raises:
        ArchonError: the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except FileNotFoundError as error:
        raise ArchonError(f"{path} is missing: train the stage that writes it first") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ArchonError(f"{path} is damaged: {error}") from error


def save_checkpoint(folder: Path, variables: dict[str, Any], optimizer: Any, epoch: int) -> None:
    """Write the state after `epoch` epochs: every variable, and the optimizer's."""
    arrays = {name: np.asarray(variable) for name, variable in variables.items()}
    arrays |= {f"{OPTIMIZER_PREFIX}{index}": np.asarray(v) for index, v in enumerate(optimizer.variables)}
    arrays[EPOCH] = np.asarray(epoch)
    save_arrays(folder / CHECKPOINT, arrays)


def assign(variables: dict[str, Any], arrays: dict[str, NDArray[Any]], path: Path) -> None:
    """Set variables from arrays of the same names; variables without an array keep their values.

    Raises:
        ArchonError: nothing fits, or a shape differs.
    """
    shared = variables.keys() & arrays.keys()
    if not shared:
        raise ArchonError(f"{path} holds no variable of this network")
    for name in shared:
        expected, received = tuple(variables[name].shape), arrays[name].shape
        if expected != received:
            raise ArchonError(f"{path}: expected {name} of shape {expected}, got {received}")
        variables[name].assign(arrays[name])


def restore_checkpoint(folder: Path, variables: dict[str, Any], optimizer: Any) -> int:
    """Continue from a checkpoint: sets every variable and returns the number of epochs done.

    Raises:
        ArchonError: the checkpoint is missing, damaged or of another network or stage.
    """
    path = folder / CHECKPOINT
    arrays = load_arrays(path)
    missing = variables.keys() - arrays.keys()
    if missing or EPOCH not in arrays:
        raise ArchonError(f"{path} is of another network or stage: it lacks {min(missing | {EPOCH})}")
    assign(variables, arrays, path)
    for index, variable in enumerate(optimizer.variables):
        stored = arrays.get(f"{OPTIMIZER_PREFIX}{index}")
        if stored is None or stored.shape != tuple(variable.shape):
            raise ArchonError(f"{path}: the optimizer's state does not fit this network")
        variable.assign(stored)
    return int(arrays[EPOCH])


def read_log(folder: Path, epochs: int) -> list[dict[str, str]]:
    """Rows of the log for the first `epochs` epochs."""
    path = folder / LOG
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))[:epochs]


def write_log(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write the whole log."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(folder / LOG, text.getvalue().encode())


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write everything that determines the run."""
    write_whole(folder / CONFIG, (json.dumps(config, indent=2, sort_keys=True) + "\n").encode())
