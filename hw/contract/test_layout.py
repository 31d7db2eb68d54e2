"""Packed words: what was packed is unpacked, and what does not fit is refused."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.contract.errors import ArchonError
from hw.contract.layout import Field, Layout, int_to_words

WIDE = Layout("wide", (Field("a", 3), Field("word", 64), Field("number", 64, signed=True), Field("many", 64, count=2)))
SIGNED = st.integers(-(2**63), 2**63 - 1)
UNSIGNED = st.integers(0, 2**64 - 1)


def row(**changes: Any) -> dict[str, Any]:
    return {"a": 5, "word": 0, "number": 0, "many": [0, 0]} | changes


@given(word=UNSIGNED, number=SIGNED, many=st.lists(UNSIGNED, min_size=2, max_size=2))
def test_all_values_of_64_bits_come_back(word: int, number: int, many: list[int]) -> None:
    values = row(word=word, number=number, many=many)
    assert WIDE.unpack(WIDE.pack(values)) == values


@given(st.lists(st.tuples(UNSIGNED, SIGNED), min_size=1, max_size=4))
def test_rows_are_packed_as_one_row_is(pairs: list[tuple[int, int]]) -> None:
    words, numbers = [pair[0] for pair in pairs], np.array([pair[1] for pair in pairs])
    others: dict[str, Any] = {"a": [5] * len(pairs), "number": numbers, "many": np.zeros((len(pairs), 2), np.int8)}
    expected = [int_to_words(WIDE.pack(row(word=word, number=number)), WIDE.words) for word, number in pairs]
    for column in (words, np.array(words, dtype=np.uint64)):
        assert WIDE.pack_rows({**others, "word": column}).tolist() == expected


def test_no_rows_are_no_words() -> None:
    columns: dict[str, Any] = {"a": [], "word": [], "number": [], "many": np.zeros((0, 2), dtype=np.uint64)}
    assert WIDE.pack_rows(columns).shape == (0, WIDE.words)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"a": 8}, "layout wide.a holds 0..7, got 8"),
        ({"word": -1}, "layout wide.word holds 0..18446744073709551615, got -1"),
        ({"word": 2**64}, "layout wide.word holds 0..18446744073709551615, got 18446744073709551616"),
        ({"word": np.uint64(2**63), "number": np.uint64(2**63)}, "layout wide.number holds .*, got 9223372036854775808"),
        ({"many": [2**63, -1]}, "layout wide.many holds 0..18446744073709551615, got -1"),
        ({"a": 1.5}, "layout wide.a expects integers: .*float"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ArchonError, match=sentence):
        WIDE.pack(row(**changes))
