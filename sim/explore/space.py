"""Which accelerators are compared: generator parameters and the values that they take."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hw.contract.config import ArchonConfig
from hw.contract.errors import ArchonError

Parameters = Mapping[str, int]
"""Values by name: `lanes` in all, fields of ArchonConfig, and of its queues as `queues.NAME`."""


@dataclass(frozen=True)
class Space:
    """Parameters to go through, beside those of a base.

    Args:
        crossed: Values that are combined with each other.
        single: Values that are tried one at a time, the others being the base's.
    """

    crossed: Mapping[str, Sequence[int]]
    single: Mapping[str, Sequence[int]]

    def points(self, base: Parameters) -> Iterator[Parameters]:
        """Every combination once, the base first."""
        crossed = (dict(zip(self.crossed, values, strict=True)) for values in itertools.product(*self.crossed.values()))
        single = ({name: value} for name, values in self.single.items() for value in values)
        found = [dict(base) | changes for changes in ({}, *crossed, *single)]
        yield from (point for index, point in enumerate(found) if point not in found[:index])


QUEUES = {
    "queues.slice_word": (4, 8, 32),
    "queues.survivor": (8, 16, 64),
    "queues.pair": (4, 16),
    "queues.row": (2, 8),
    "queues.partial": (4, 8, 32),
    "queues.table": (16, 32, 128),
    "queues.residual": (16, 32, 128),
}


def space(lanes: int, *, many: bool = False) -> Space:
    """The parameters that are gone through around an accelerator of so many lanes.

    Args:
        lanes: Of the base.
        many: More values, and more of them combined.
    """
    if many:
        crossed = {
            "lanes": sorted({max(1, lanes // 4), max(1, lanes // 2), lanes, 2 * lanes, 4 * lanes}),
            "adder_rows": (1, 2, 4),
            "pixel_tile": (1, 2, 4),
        }
        return Space(crossed, {"slice_channels": (4, 8, 16, 32), "row_banks": (4, 8, 16), **QUEUES})
    crossed = {"lanes": sorted({max(1, lanes // 2), lanes, 2 * lanes}), "adder_rows": (1, 2)}
    return Space(crossed, {"pixel_tile": (1, 4), "slice_channels": (8,), "row_banks": (8,), "queues.partial": (8,)})


def parameters_of(config: ArchonConfig) -> dict[str, int]:
    """Those that a space goes through."""
    names = ("adder_rows", "pixel_tile", "slice_channels", "row_banks")
    found = {"lanes": config.multipliers} | {name: getattr(config, name) for name in names}
    return found | {name: getattr(config.queues, name.removeprefix("queues.")) for name in QUEUES}


def configured(base: ArchonConfig, parameters: Parameters) -> ArchonConfig:
    """The base with these parameters; memories of a lane grow as lanes become fewer (ArchonConfig.with_lanes).

    Raises:
        ArchonError: an unknown parameter, or one with a value that it cannot have.
    """
    queues: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    lanes = base.multipliers
    known = parameters_of(base)
    for name, value in parameters.items():
        if name not in known:
            raise ArchonError(f"unknown parameter {name!r}, expected one of {', '.join(known)}")
        if name == "lanes":
            lanes = value
        elif name.startswith("queues."):
            queues[name.removeprefix("queues.")] = value
        else:
            fields["row_store_banks" if name == "row_banks" else name] = value
    config = base if lanes == base.multipliers else base.with_lanes(lanes)
    return dataclasses.replace(config, queues=dataclasses.replace(config.queues, **queues), **fields)


def difference(parameters: Parameters, base: Parameters) -> str:
    """What a point is called: lanes, and what else is not the base's."""
    changed = [name for name, value in parameters.items() if value != base[name] and name != "lanes"]
    plain = (f"{name.removeprefix('queues.').replace('_', ' ')} {parameters[name]}" for name in changed)
    return ", ".join([f"{parameters['lanes']} lane{'s' * (parameters['lanes'] > 1)}", *plain])
