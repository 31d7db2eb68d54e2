"""Run folders: a checkpoint to resume from, the log, and what determines the run."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from hw.contract.errors import ArchonError
from sw.arrays import csv_content, load_arrays, save_arrays, write_whole
from sw.run_folder import CHECKPOINT, CONFIG, LOG

EPOCH = "epoch"
OPTIMIZER_PREFIX = "optimizer/"


def save_checkpoint(folder: Path, variables: dict[str, Any], optimizer: Any, epoch: int) -> None:
    """Write the state after `epoch` epochs: every variable, and the optimizer's."""
    arrays = {name: ops.convert_to_numpy(variable) for name, variable in variables.items()}
    arrays |= {f"{OPTIMIZER_PREFIX}{index}": ops.convert_to_numpy(v) for index, v in enumerate(optimizer.variables)}
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
    for name in sorted(shared):
        expected, received = tuple(variables[name].shape), arrays[name].shape
        if expected != received:
            raise ArchonError(f"{path}: expected {name} of shape {expected}, got {received}")
        variables[name].assign(arrays[name])


def assign_all(variables: dict[str, Any], arrays: dict[str, NDArray[Any]], path: Path) -> None:
    """Set variables from arrays, each of them.

    Raises:
        ArchonError: one has no array, or a shape differs.
    """
    missing = variables.keys() - arrays.keys()
    if missing:
        raise ArchonError(f"{path} is of another network or stage: it lacks {min(missing)}")
    assign(variables, arrays, path)


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


def write_log(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write the whole log."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    write_whole(folder / LOG, csv_content(rows, columns))


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write everything that determines the run."""
    write_whole(folder / CONFIG, (json.dumps(config, indent=2, sort_keys=True) + "\n").encode())
