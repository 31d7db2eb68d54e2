"""Named arrays in npz files, and other files, written whole or not at all."""

import csv
import hashlib
import io
import lzma
import os
import zipfile
import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.contract.errors import ArchonError


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place, then move it there; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def csv_content(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    """A table as a CSV file: a line of column names, then a row a line."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write named arrays as one compressed npz file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_whole(path, buffer.getvalue())


def load_arrays(path: Path, only: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
    """Read all arrays of an npz file, or those of some names.

    Raises:
        ArchonError: the file is missing or damaged.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files if only is None or name in only}
    except FileNotFoundError as error:
        raise ArchonError(f"{path} is missing") from error
    except (OSError, ValueError, AttributeError, EOFError, zipfile.BadZipFile, lzma.LZMAError, zlib.error) as error:
        raise ArchonError(f"{path} is damaged: {error}") from error


def file_digest(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
