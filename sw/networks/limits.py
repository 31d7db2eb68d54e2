"""Limits on the shares of activations that survive ReLUs, as an addition to the loss."""

from dataclasses import dataclass
from typing import Any

from keras import ops

from sw.networks.layers import NamedLayer
from sw.networks.rounding import straight_through

Tensor = Any

SURVIVOR_STRIDE = 8
"""One image in this many is looked at when survivors are counted for the loss."""
GATE_SLOPE = 4.0
"""Steepness of the sigmoid that stands for a step in gradients."""


@dataclass(frozen=True)
class Survivors:
    """Shares of activations that may survive the two ReLUs, and the weight of what exceeds them in the loss.

    With `costs`, an expanded channel counts by the products W2*D*W1 that pruning left it: what its survivors add up.
    """

    first: float
    second: float
    weight: float
    costs: bool = False


class LimitedLayer(NamedLayer):
    """A layer that knows which of a block's activations survive, and can be held to shares of them.

    Args:
        name: what it is called in files.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.limited: Survivors | None = None
        self.limits = self.add_weight(shape=(2,), initializer="ones", trainable=False, name="limits")

    def limit_to(self, survivors: Survivors | None, start: float = 1.0, progress: float = 1.0) -> None:
        """Hold survivors to shares; with progress below 1, to what lies so far on the way there from a share `start`."""
        self.limited = survivors
        if survivors is not None:
            shares = (survivors.first, survivors.second)
            self.limits.assign([max(share, start + progress * (share - start)) for share in shares])

    def survivor_costs(self) -> Tensor | None:
        """What an activation of each expanded channel adds up where it survives, by the masks [E]; None: nothing is fused."""
        return None

    def costs(self) -> Tensor | None:
        """By which channels count where survivors are limited, [E], 1 in the mean; None: all alike."""
        if self.limited is None or not self.limited.costs:
            return None
        costs = self.survivor_costs()
        return None if costs is None else costs / ops.maximum(ops.mean(costs), 1e-6)

    def limit_survivors(self, first: Tensor, second: Tensor | None = None) -> None:
        """Add a loss for the survivor shares beyond the allowed ones."""
        if self.limited is not None:
            beyond = ops.relu(first - self.limits[0])
            if second is not None:
                beyond = beyond + ops.relu(second - self.limits[1])
            self.add_loss(self.limited.weight * beyond)


def share(pre_activations: Tensor, slope: float = 1.0, costs: Tensor | None = None) -> Tensor:
    """Share of positive values, of some images, with the gradient of the mean sigmoid.

    Args:
        pre_activations: [N, H, W, E].
        slope: factor of them in the sigmoid.
        costs: by which channels count, [E], 1 in the mean.
    """
    positive = step(slope * pre_activations[::SURVIVOR_STRIDE])
    return ops.mean(positive if costs is None else positive * costs)


def step(x: Tensor) -> Tensor:
    """1 where x is positive, else 0; backward a sigmoid."""
    return straight_through(ops.cast(x > 0, "float32"), ops.sigmoid(x))
