"""The parts of the agents that need no simulation: a testbench that cannot fail proves nothing."""

import itertools
import random

import pytest

from tb.streams import PATTERNS, Number, Scoreboard, difference, pattern


@pytest.mark.parametrize(
    ("number", "low", "high"),
    [(Number(8), 0, 255), (Number(8, signed=True), -128, 127), (Number(1), 0, 1), (Number(32, signed=True), -(2**31), 5)],
)
def test_numbers_survive_packing(number: Number, low: int, high: int) -> None:
    for value in (low, high):
        bits = number.pack(value)
        assert 0 <= bits < 1 << number.width
        assert number.unpack(bits) == value


@pytest.mark.parametrize(("number", "value"), [(Number(4), 16), (Number(4), -1), (Number(4, signed=True), 8)])
def test_a_number_that_does_not_fit_is_refused(number: Number, value: int) -> None:
    with pytest.raises(ValueError, match="a payload of 4 bits holds"):
        number.pack(value)


@pytest.mark.parametrize(
    ("expected", "got", "message"),
    [
        (3, 3, ""),
        (3, 4, "expected 3, got 4"),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, "b expected 2, got 3"),
        ({"a": 1}, {"a": 1, "b": 3}, ""),
        ({"a": 1, "b": 2}, {"a": 1}, "b expected 2, got None"),
        ({"taps": [1, 2]}, {"taps": [1, 3]}, "taps [1] expected 2, got 3"),
        ([1, 2], [1], "expected 2 elements, got 1"),
    ],
)
def test_differences_are_named(expected: object, got: object, message: str) -> None:
    assert difference(expected, got) == message


def test_a_scoreboard_names_place_and_fields() -> None:
    board = Scoreboard("sums", [{"y": 1}, {"y": 2}], lambda index: f"channel {index}")
    board.check({"y": 1})
    with pytest.raises(AssertionError, match=r"sums: expected 2 items, got 1"):
        board.finish()
    with pytest.raises(AssertionError, match=r"sums\[1\] \(channel 1\): y expected 2, got 5"):
        board.check({"y": 5})
    board.check({"y": 2})
    board.finish()
    with pytest.raises(AssertionError, match="expected no more items"):
        board.check({"y": 2})


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns_repeat_with_their_seed_and_let_pass(name: str) -> None:
    first = list(itertools.islice(pattern(name, random.Random(5)), 400))
    assert first == list(itertools.islice(pattern(name, random.Random(5)), 400))
    assert first.count(False) > 40
    assert (True in first) == (name != "never")
