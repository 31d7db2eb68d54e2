"""Comparing what the accelerator gave with what it should have given, bit by bit; the first difference is named."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hw.contract.errors import ArchonError

COUNTERS = ("multiplications", "additions", "steps")
"""Fields of a job's report that are known exactly beforehand, summed over a layer's jobs."""


@dataclass(frozen=True)
class Difference:
    """One number that is not what it should be: an activation, a logit, or (with no place) a layer's counter.

    Args:
        image: Number of the image in this run.
        layer: Name of the layer.
        quantity: "activation" (int8), "logit" (int32) or one of COUNTERS.
        channel: Of the activation; None for a counter, as row and column.
        row: Of the activation.
        column: Of the activation.
        expected: By golden model and program.
        got: From the accelerator.
    """

    image: int
    layer: str
    quantity: str
    channel: int | None
    row: int | None
    column: int | None
    expected: int
    got: int


@dataclass
class Comparison:
    """How many numbers were compared, how many differ, and the first that does."""

    compared: int = 0
    mismatches: int = 0
    first: Difference | None = field(default=None)

    @property
    def bit_exact(self) -> bool:
        """Nothing differs, and something was compared."""
        return self.compared > 0 and self.mismatches == 0

    def tensor(self, image: int, layer: str, expected: NDArray[np.integer], got: NDArray[np.integer]) -> None:
        """Compare two (channels, height, width) tensors; the first difference is the lowest channel, row, column."""
        if expected.shape != got.shape:
            raise ArchonError(f"{layer}: a tensor of shape {expected.shape} was expected, got {got.shape}")
        places = np.argwhere(expected != got)
        self.compared += expected.size
        self.mismatches += len(places)
        if len(places) and self.first is None:
            channel, row, column = (int(part) for part in places[0])
            numbers = int(expected[channel, row, column]), int(got[channel, row, column])
            quantity = "activation" if expected.dtype == np.int8 else "logit"
            self.first = Difference(image, layer, quantity, channel, row, column, *numbers)

    def counter(self, image: int, layer: str, name: str, expected: int, got: int) -> None:
        """Compare a layer's counter."""
        self.compared += 1
        if expected != got:
            self.mismatches += 1
            self.first = self.first or Difference(image, layer, name, None, None, None, expected, got)


def compare(
    expected_outputs: Sequence[Mapping[str, NDArray[np.integer]]],
    expected_counts: Sequence[Mapping[str, Mapping[str, int]]],
    got_outputs: Sequence[Mapping[str, NDArray[np.integer]]],
    got_counts: Sequence[Mapping[str, Mapping[str, int]]],
) -> Comparison:
    """Compare every image's layers in the order in which they ran, a layer's output before its counters.

    Args:
        expected_outputs: For every image, layer name to output tensor.
        expected_counts: For every image, layer name to COUNTERS.
        got_outputs: As expected_outputs, from the accelerator.
        got_counts: As expected_counts, from the accelerator.
    """
    comparison = Comparison()
    parts = zip(expected_outputs, expected_counts, got_outputs, got_counts, strict=True)
    for image, (tensors, counts, other_tensors, other_counts) in enumerate(parts):
        for layer, tensor in tensors.items():
            comparison.tensor(image, layer, tensor, other_tensors[layer])
            for name, number in _chosen(counts[layer]):
                comparison.counter(image, layer, name, number, other_counts[layer][name])
    return comparison


def _chosen(counts: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    return ((name, counts[name]) for name in COUNTERS)
