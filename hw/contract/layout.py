"""Packed words: named bit fields, packed least significant first, for memory images, streams and RTL alike."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hw.contract.errors import ArchonError

WORD_BITS = 64
"""External memory word."""

_WORD_MASK = (1 << WORD_BITS) - 1
_EXACT = np.frompyfunc(operator.index, 1, 1)


@dataclass(frozen=True)
class Field:
    """`count` neighbouring numbers of `bits` bits (at most 64), element 0 lowest; an array when `count` is given."""

    name: str
    bits: int
    signed: bool = False
    count: int | None = None

    @property
    def width(self) -> int:
        """All bits of the field."""
        return self.bits * (1 if self.count is None else self.count)


@dataclass(frozen=True)
class Layout:
    """An ordered set of fields; field 0 occupies the least significant bits."""

    name: str
    fields: tuple[Field, ...]
    offsets: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        offsets, position = {}, 0
        for item in self.fields:
            if item.name in offsets or not 0 < item.bits <= WORD_BITS:
                raise ArchonError(f"layout {self.name}: bad field {item.name} of {item.bits} bits")
            offsets[item.name] = position
            position += item.width
        object.__setattr__(self, "offsets", offsets)

    @property
    def width(self) -> int:
        """All bits of a row."""
        return sum(item.width for item in self.fields)

    @property
    def words(self) -> int:
        """64-bit words that a row occupies in external memory."""
        return -(-self.width // WORD_BITS)

    @property
    def per_word(self) -> int:
        """Rows that lie in a word where they lie side by side: 0 for rows wider than a word."""
        return WORD_BITS // self.width

    def side_by_side(self, rows: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Packed rows (rows, 1) as words (words,): `per_word` a word, the first one lowest, the last word filled up with 0."""
        if self.width > WORD_BITS:
            raise ArchonError(f"layout {self.name}: rows of {self.width} bits do not lie side by side in a word")
        padded = np.zeros((-(-len(rows) // self.per_word), self.per_word), dtype=np.uint64)
        padded.reshape(-1)[: len(rows)] = rows.reshape(-1)
        shifts = np.arange(self.per_word, dtype=np.uint64) * np.uint64(self.width)
        return np.asarray(np.bitwise_or.reduce(padded << shifts, axis=1))

    def pack_rows(self, columns: Mapping[str, ArrayLike]) -> NDArray[np.uint64]:
        """Pack one row per leading index: columns[name] is (rows,) or (rows, count); returns (rows, words) uint64.

        Raises ArchonError for a missing or unknown column, a wrong shape, or a value outside its field.
        """
        expected = {item.name for item in self.fields}
        if set(columns) != expected:
            raise ArchonError(f"layout {self.name} expects columns {sorted(expected)}, got {sorted(columns)}")
        rows = len(np.asarray(columns[self.fields[0].name]))
        packed = np.zeros((rows, self.words), dtype=np.uint64)
        for item in self.fields:
            values = self._integers(item, columns[item.name])
            shape = (rows,) if item.count is None else (rows, item.count)
            if values.shape != shape:
                raise ArchonError(f"layout {self.name}.{item.name} expects shape {shape}, got {values.shape}")
            self._check_range(item, values)
            raw = (values & _WORD_MASK if values.dtype == object else values).astype(np.uint64)
            for index in range(item.count or 1):
                column = raw if item.count is None else raw[:, index]
                _place(packed, self.offsets[item.name] + index * item.bits, item.bits, column)
        return packed

    def _integers(self, item: Field, values: ArrayLike) -> NDArray[np.int64] | NDArray[np.object_]:
        """As int64, or as Python's integers where int64 may not hold them."""
        array = np.asarray(values)
        if array.dtype.kind in "biu" and array.dtype != np.uint64:
            return array.astype(np.int64)
        try:
            return np.asarray(_EXACT(np.asarray(values, dtype=object)), dtype=object)
        except TypeError as error:
            raise ArchonError(f"layout {self.name}.{item.name} expects integers: {error}") from error

    def _check_range(self, item: Field, values: NDArray[np.int64] | NDArray[np.object_]) -> None:
        low, high = (-(1 << (item.bits - 1)), (1 << (item.bits - 1)) - 1) if item.signed else (0, (1 << item.bits) - 1)
        if values.size and (values.min() < low or values.max() > high):
            worst = int(values.min() if values.min() < low else values.max())
            raise ArchonError(f"layout {self.name}.{item.name} holds {low}..{high}, got {worst}")

    def pack(self, values: Mapping[str, int | Iterable[int]]) -> int:
        """Pack one row into a Python int."""
        columns: dict[str, Any] = {name: [value] for name, value in values.items()}
        return words_to_int(self.pack_rows(columns)[0])

    def unpack(self, row: int) -> dict[str, int | list[int]]:
        """The fields of one packed row; arrays come as lists."""
        result: dict[str, int | list[int]] = {}
        for item in self.fields:
            numbers = []
            for index in range(item.count or 1):
                number = (row >> (self.offsets[item.name] + index * item.bits)) & ((1 << item.bits) - 1)
                if item.signed and number >> (item.bits - 1):
                    number -= 1 << item.bits
                numbers.append(number)
            result[item.name] = numbers[0] if item.count is None else numbers
        return result


def _place(packed: NDArray[np.uint64], offset: int, bits: int, values: NDArray[np.uint64]) -> None:
    word, start = divmod(offset, WORD_BITS)
    raw = values & np.uint64((1 << bits) - 1)
    packed[:, word] |= raw << np.uint64(start)
    if start + bits > WORD_BITS:
        packed[:, word + 1] |= raw >> np.uint64(WORD_BITS - start)


def words_to_int(words: Iterable[int]) -> int:
    """64-bit words, least significant first, as one number."""
    return sum(int(word) << (WORD_BITS * index) for index, word in enumerate(words))


def int_to_words(number: int, count: int) -> list[int]:
    """The inverse of words_to_int, `count` words long."""
    return [(number >> (WORD_BITS * index)) & _WORD_MASK for index in range(count)]
