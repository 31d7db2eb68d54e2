"""Survivors of the ReLUs and how often the predictor agrees with the true sign."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass
class MaskStatistics:
    """One of a block's two ReLUs, over all expanded channels, pixels and images."""

    decisions: int = 0
    survivors: int = 0
    agreements: int = 0
    """Decisions that equal the sign of the pre-activation: survives exactly where it is above zero."""

    @property
    def survivor_share(self) -> float:
        """Share of decisions that let the activation survive."""
        return self.survivors / self.decisions if self.decisions else 0.0

    @property
    def agreement(self) -> float:
        """Share of decisions that agree with the true sign."""
        return self.agreements / self.decisions if self.decisions else 0.0

    def add(self, mask: NDArray[np.bool_], preactivation: NDArray[np.number]) -> None:
        """Count the decisions of one array."""
        self.decisions += mask.size
        self.survivors += int(np.count_nonzero(mask))
        self.agreements += int(np.count_nonzero(mask == (preactivation > 0)))

    def merge(self, other: MaskStatistics) -> None:
        """Add what was counted elsewhere."""
        self.decisions += other.decisions
        self.survivors += other.survivors
        self.agreements += other.agreements


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
