"""Steps of accumulation: the weights of W2 as one or more additions each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.contract import numerics

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Steps:
    """All steps of W2, by expanded channel, then output, then shift down."""

    start: Integers
    """(E,): first step of each expanded channel."""
    count: Integers
    """(E,): steps of each expanded channel."""
    expanded: Integers
    """(steps,): expanded channel of each step."""
    columns: dict[str, Integers]
    """Of the step table."""

    def of_adder_rows(self, adder_rows: int) -> Integers:
        """(adder_rows, E): steps of each expanded channel in each adder row of a lane."""
        counts = np.zeros((adder_rows, len(self.count)), dtype=np.int64)
        np.add.at(counts, (self.columns["output"] % adder_rows, self.expanded), 1)
        return counts


def list_steps(project_weight: Integers, shift_max: int) -> Steps:
    """Steps of W2 (K, E) as `numerics.accumulation_steps` gives them."""
    steps = {int(value): numerics.accumulation_steps(int(value), shift_max) for value in np.unique(project_weight)}
    expanded, output = np.nonzero(project_weight.T)
    weights = project_weight[output, expanded].tolist()
    lengths = np.array([len(steps[weight]) for weight in weights], dtype=np.int64)
    rows = np.array([_step_fields(step) for weight in weights for step in steps[weight]], dtype=np.int64).reshape(-1, 5)
    names = ("negative", "shift", "second", "second_negative", "second_shift")
    of_step = np.repeat(expanded, lengths)
    count = np.bincount(of_step, minlength=project_weight.shape[1]).astype(np.int64)
    columns = {"output": np.repeat(output, lengths)} | dict(zip(names, rows.T, strict=True))
    return Steps(np.cumsum(count) - count, count, of_step, columns)


def _step_fields(terms: list[tuple[bool, int]]) -> tuple[int, ...]:
    first, second = terms[0], terms[1] if len(terms) > 1 else (False, 0)
    return (*first, len(terms) > 1, *second)
