"""Table segments of a memory image, taken apart section by section."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hw.contract.layout import words_to_int
from hw.contract.tables import SECTION_HEADER, TableKind


def sections(memory: NDArray[np.uint64], address: int) -> Iterator[tuple[TableKind, int, NDArray[np.uint64]]]:
    """(kind, lane, packed rows) of every section of the segment at a word address, END excluded."""
    while True:
        header = SECTION_HEADER.unpack(words_to_int(memory[address : address + SECTION_HEADER.words]))
        kind, lane, words, rows = (int(str(header[name])) for name in ("kind", "lane", "words", "rows"))
        if kind == TableKind.END:
            return
        address += SECTION_HEADER.words
        yield TableKind(kind), lane, memory[address : address + rows * words].reshape(rows, words)
        address += rows * words
