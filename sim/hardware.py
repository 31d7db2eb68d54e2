"""Which accelerator runs a network."""

from dataclasses import dataclass

from hw.contract.config import PRESETS, ArchonConfig, preset
from hw.contract.errors import ArchonError
from sw.bundle.network import IntegerNetwork
from sw.program import MemoryImage, network_image


@dataclass(frozen=True)
class Hardware:
    """A configuration, the preset that it comes from, and a network's memory image for it."""

    preset: str
    config: ArchonConfig
    image: MemoryImage


def choose_hardware(network: IntegerNetwork, lanes: int | None = None, name: str | None = None) -> Hardware:
    """The named preset, or the smallest one into which the network fits, with another number of lanes if given.

    Fewer or more lanes share the memories of the preset out anew (ArchonConfig.with_lanes).

    Args:
        network: What is to run.
        lanes: Lanes in all; as many as the preset has by default.
        name: Name of a preset.

    Raises:
        ArchonError: unknown preset, impossible number of lanes, or a network that fits nowhere.
    """
    if name is not None:
        config = _with_lanes(preset(name), lanes)
        try:
            return Hardware(name, config, network_image(network, config))
        except ArchonError as error:
            raise ArchonError(f"{network.spec.name} does not fit {_described(name, lanes)}: {error}") from error
    refused = ArchonError("expected at least one preset, got none")
    for candidate in sorted(PRESETS, key=lambda known: (PRESETS[known].multipliers, PRESETS[known].depths.step)):
        config = _with_lanes(PRESETS[candidate], lanes)
        try:
            return Hardware(candidate, config, network_image(network, config))
        except ArchonError as error:
            refused = error
    raise ArchonError(f"{network.spec.name} fits no preset; on the largest one: {refused}") from refused


def _described(name: str, lanes: int | None) -> str:
    return f"preset {name}" if lanes is None else f"preset {name} with {lanes} lanes"


def _with_lanes(config: ArchonConfig, lanes: int | None) -> ArchonConfig:
    return config if lanes is None else config.with_lanes(lanes)
