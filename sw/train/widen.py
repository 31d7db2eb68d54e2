"""Growing a trained network: every expanded channel is copied, so that the wider network starts as the same function.

T. Chen, I. Goodfellow, J. Shlens, "Net2Net: Accelerating Learning via Knowledge Transfer", ICLR 2016: copies share what
leaves them (the project layer's weights are divided by their number), and a little noise lets them become different.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.contract.errors import ArchonError
from sw.spec import NetworkSpec

NOISE = 0.05
"""Deviation of the factors that the copies' weights are multiplied by, around 1."""
COPIED = ("expand", "depthwise", "predictor_expand", "predictor_depthwise", "predictor.shift")
"""What has the expanded channels as its first axis; they are the last axis of the project layer's arrays."""
SHARED = ("weight", "rounding")

Arrays = dict[str, NDArray[Any]]


def widening(narrow: NetworkSpec, wide: NetworkSpec) -> list[int]:
    """How many copies of its expanded channels each block needs.

    Raises:
        ArchonError: the networks differ in more than that, have other blocks than fused ones, or a width is no multiple.
    """
    before, after = (
        spec.model_dump(exclude={"name": True, "blocks": {"__all__": {"expanded_channels"}}}) for spec in (narrow, wide)
    )
    different = [key for key in after if before.get(key) != after[key]]
    if different:
        raise ArchonError(f"{wide.name} cannot be grown from {narrow.name}: they differ in {', '.join(different)}")
    copies = []
    for index, (small, large) in enumerate(zip(narrow.fused_blocks, wide.fused_blocks, strict=True), start=1):
        if large.expanded_channels % small.expanded_channels:
            raise ArchonError(
                f"{wide.name} cannot be grown from {narrow.name}: block {index} expands to {large.expanded_channels} channels, "
                f"expected a multiple of {small.expanded_channels}"
            )
        copies.append(large.expanded_channels // small.expanded_channels)
    return copies


def widen(arrays: Arrays, narrow: NetworkSpec, wide: NetworkSpec, seed: int, noise: float = NOISE) -> Arrays:
    """Variables of a checkpoint of `narrow` as variables of `wide`; the optimiser's are left out.

    Args:
        arrays: the checkpoint.
        narrow: its network.
        wide: the same network with more expanded channels.
        seed: of the noise.
        noise: deviation of the factors on the copies' weights; 0: exactly the same function.

    Raises:
        ArchonError: the networks do not fit.
    """
    random = np.random.default_rng(seed)
    copies = widening(narrow, wide)
    grown = {}
    for name, array in arrays.items():
        parts = name.split(".")
        if parts[0] != "blocks":
            grown[name] = array
            continue
        index, part = int(parts[1]), ".".join(parts[2:])
        grown[name] = _grow(part, array, copies[index], wide.blocks[index].groups)
        if parts[-1] == "weight" and noise > 0 and copies[index] > 1:
            factors = 1 + noise * random.standard_normal(grown[name].shape)
            grown[name] = (grown[name] * factors).astype(np.float32)
    return grown


def _grow(part: str, array: NDArray[Any], copies: int, groups: int) -> NDArray[Any]:
    if part.startswith(COPIED):
        by_group = array.reshape(groups, -1, *array.shape[1:])
        return np.tile(by_group, (1, copies, *(1,) * (array.ndim - 1))).reshape(-1, *array.shape[1:])
    if part.startswith("project.") and array.ndim == 2:
        tiled = np.tile(array, (1, copies))
        return (tiled / copies).astype(np.float32) if part.endswith(SHARED) else tiled
    return array
