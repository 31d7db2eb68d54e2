"""Survivors of the ReLUs and how often the predictor agrees with the true sign."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass
class MaskStatistics:
    """One of a block's two ReLUs, over all expanded channels, pixels and images: decisions against true signs.

    A decision is positive where the mask lets the activation survive, and true where the pre-activation is above zero exactly
    there.
    """

    true_positives: int = 0
    false_positives: int = 0
    """Let through, although the pre-activation is not above zero."""
    false_negatives: int = 0
    """Dropped, although it is."""
    true_negatives: int = 0

    @property
    def decisions(self) -> int:
        """All of them."""
        return self.true_positives + self.false_positives + self.false_negatives + self.true_negatives

    @property
    def survivors(self) -> int:
        """Decisions that let the activation survive."""
        return self.true_positives + self.false_positives

    @property
    def survivor_share(self) -> float:
        """Share of decisions that let the activation survive."""
        return self.share(self.survivors)

    @property
    def agreement(self) -> float:
        """Share of decisions that agree with the true sign."""
        return self.share(self.true_positives + self.true_negatives)

    def share(self, decisions: int) -> float:
        """Which part so many decisions are of all."""
        return decisions / self.decisions if self.decisions else 0.0

    def add(self, mask: NDArray[np.bool_], preactivation: NDArray[np.number]) -> None:
        """Count the decisions of one array."""
        positive = preactivation > 0
        both = int(np.count_nonzero(mask & positive))
        survivors, positives = int(np.count_nonzero(mask)), int(np.count_nonzero(positive))
        self.true_positives += both
        self.false_positives += survivors - both
        self.false_negatives += positives - both
        self.true_negatives += mask.size - survivors - positives + both

    def merge(self, other: MaskStatistics) -> None:
        """Add what was counted elsewhere."""
        self.true_positives += other.true_positives
        self.false_positives += other.false_positives
        self.false_negatives += other.false_negatives
        self.true_negatives += other.true_negatives


class BlockStatistics:
    """Both ReLUs of a block. The second's true sign is that of z2 as computed from the predicted first activations."""

    def __init__(self) -> None:
        self.first = MaskStatistics()
        self.second = MaskStatistics()

    def add_first(self, mask: NDArray[np.bool_], z1: NDArray[np.number]) -> None:
        """Count decisions of the first ReLU."""
        self.first.add(mask, z1)

    def add_second(self, mask: NDArray[np.bool_], z2: NDArray[np.number]) -> None:
        """Count decisions of the second ReLU."""
        self.second.add(mask, z2)

    def merge(self, other: BlockStatistics) -> None:
        """Add what was counted elsewhere."""
        self.first.merge(other.first)
        self.second.merge(other.second)
