"""Which accelerator runs a network."""

import dataclasses
from dataclasses import dataclass

from hw.contract.config import PRESETS, ArchonConfig, preset
from hw.contract.errors import ArchonError
from hw.contract.taps import SMALL_KERNEL
from sw.bundle.network import IntegerNetwork
from sw.program import MemoryImage, network_image

MOST_WORK = 1_000_000
"""Multiply-accumulates of an image for each lane, all layers dense, up to which a preset is quick enough to be chosen."""


@dataclass(frozen=True)
class Hardware:
    """A configuration, the preset that it comes from, and a network's memory image for it."""

    preset: str
    config: ArchonConfig
    image: MemoryImage


def choose_hardware(
    network: IntegerNetwork, lanes: int | None = None, name: str | None = None, kernel: int | None = None
) -> Hardware:
    """The named preset, or the smallest one that suits the network, with another number of lanes or kernel if given.

    A preset suits a network that fits and has up to MOST_WORK multiply-accumulates a lane; if none does, it is the largest one
    into which the network fits.

    Fewer or more lanes share the memories of the preset out anew (ArchonConfig.with_lanes). Where neither preset nor kernel are
    named, the hardware has the largest kernel of the network.

    Args:
        network: What is to run.
        lanes: Lanes in all; as many as the preset has by default.
        name: Name of a preset.
        kernel: Largest kernel of the hardware.

    Raises:
        ArchonError: unknown preset, impossible number of lanes, or a network that fits nowhere.
    """
    if name is not None:
        config = _changed(preset(name), lanes, kernel)
        try:
            return Hardware(name, config, network_image(network, config))
        except ArchonError as error:
            raise ArchonError(f"{network.spec.name} does not fit {_described(name, lanes, kernel)}: {error}") from error
    kernel = kernel or max(SMALL_KERNEL, *(layer.kernel for layer in network.spec.layers))
    work, fitting = network.spec.multiply_accumulates(), None
    refused = ArchonError("expected at least one preset, got none")
    for candidate in sorted(PRESETS, key=lambda known: (PRESETS[known].multipliers, PRESETS[known].depths.step)):
        config = _changed(PRESETS[candidate], lanes, kernel)
        try:
            fitting = Hardware(candidate, config, network_image(network, config))
        except ArchonError as error:
            refused = error
            continue
        if work <= MOST_WORK * PRESETS[candidate].multipliers:
            break
    if fitting is not None:
        return fitting
    raise ArchonError(f"{network.spec.name} fits no preset; on the largest one: {refused}") from refused


def _described(name: str, lanes: int | None, kernel: int | None) -> str:
    changes = ([f"{lanes} lanes"] if lanes is not None else []) + ([f"kernel {kernel}"] if kernel is not None else [])
    return " with ".join([f"preset {name}", *([" and ".join(changes)] if changes else [])])


def _changed(config: ArchonConfig, lanes: int | None, kernel: int | None) -> ArchonConfig:
    config = config if lanes is None else config.with_lanes(lanes)
    return config if kernel is None else dataclasses.replace(config, kernel=kernel)
