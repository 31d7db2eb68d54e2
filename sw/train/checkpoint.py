"""Run folders: a checkpoint to resume from, the log, and what determines the run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from hw.contract.errors import ArchonError
from sw.arrays import csv_content, load_arrays, save_arrays, write_whole
from sw.run_folder import CHECKPOINT, CONFIG, LOG
from sw.train.begun import EPOCH

OPTIMIZER_PREFIX = "optimizer/"
NAMED = 4
"""Missing variables that a message names at most."""


def save_checkpoint(folder: Path, variables: dict[str, Any], optimizer: Any, epoch: int) -> None:
    """Write the state after `epoch` epochs: every variable, and the optimizer's."""
    arrays = {name: ops.convert_to_numpy(variable) for name, variable in variables.items()}
    arrays |= {f"{OPTIMIZER_PREFIX}{index}": ops.convert_to_numpy(v) for index, v in enumerate(optimizer.variables)}
    arrays[EPOCH] = np.asarray(epoch)
    save_arrays(folder / CHECKPOINT, arrays)


def assign(
    variables: dict[str, Any], arrays: dict[str, NDArray[Any]], path: Path, made: Callable[[str], bool] = lambda _: False
) -> None:
    """Set variables from arrays of the same names.

    Args:
        variables: by name.
        arrays: by name; what no variable is called after is left alone.
        path: where they are from.
        made: whether a variable of a name may do without an array, and keep its value.

    Raises:
        ArchonError: any other variable has no array, or a shape differs.
    """
    missing = sorted(name for name in variables.keys() - arrays.keys() if not made(name))
    if missing:
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        raise ArchonError(f"{path} is of another network or stage: it lacks {', '.join(missing[:NAMED])}{more}")
    for name in sorted(variables.keys() & arrays.keys()):
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
    if EPOCH not in arrays:
        raise ArchonError(f"{path} is of another network or stage: it lacks {EPOCH}")
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
