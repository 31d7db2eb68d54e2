"""What a job descriptor must be like, so that its job comes to its end inside the memories that there are.

The controller refuses a descriptor that breaks a rule. Addresses are no part of it: the windows of the bus watch over them.

The rules are written once, for numbers and for the hardware's signals alike: `choose(condition, one, other)` is the choice
between two of either, `keep(value)` the value where the hardware has it in a register, and what has to be multiplied is listed
as a Product.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hw.contract.config import CHANNELS_PER_WORD, ArchonConfig, index_bits
from hw.contract.memory import IMAGE_CHANNELS, LEVEL_WORDS
from hw.contract.tables import adder_row_bits
from hw.contract.taps import SMALL_KERNEL, SMALL_TAPS

Fields = Mapping[str, Any] | Any
"""Of hw.contract.descriptor.JOB: numbers or signals, by name."""

Choose = Callable[[Any, Any, Any], Any]

Keep = Callable[[Any], Any]

COUNTED = (
    "input_width", "input_rows", "output_width", "output_rows", "input_channels", "planes", "turns", "slices",
    "output_channels", "segment", "table_words",
)  # fmt: skip
"""Fields that are at least 1 in a cluster's job."""

WORD_SHIFT = index_bits(CHANNELS_PER_WORD)


@dataclass(frozen=True)
class Product:
    """A rule: least <= factor * amount <= most.

    Args:
        name: Of the rule.
        factor: A number without sign, which the hardware takes bit by bit.
        amount: A number without sign.
        most: May be below `least` or negative, as nothing is then right.
        least: A number.
    """

    name: str
    factor: Any
    amount: Any
    most: Any
    least: Any = 0


def broken_rules(fields: Mapping[str, int], config: ArchonConfig) -> list[str]:
    """Names of the rules that a descriptor breaks; none if it may run. That it ends the program is looked at before.

    Args:
        fields: Of hw.contract.descriptor.JOB.
        config: Hardware configuration.
    """
    if fields["cluster"] > config.image_unit:
        return ["cluster"]
    of_unit = image_rules if fields["cluster"] == config.image_unit else cluster_rules
    rules, products = of_unit(fields, config, choose, same)
    broken = [name for name, kept in rules.items() if not kept]
    return broken + [rule.name for rule in products if not rule.least <= rule.factor * rule.amount <= rule.most]


def choose(condition: Any, one: Any, other: Any) -> Any:
    """For numbers."""
    return one if condition else other


def same(value: Any) -> Any:
    """For numbers."""
    return value


def outputs_of_pixel(job: Fields, choose: Choose) -> Any:
    """Outputs that a cluster's job has for a pixel: rows of its REQUANTIZE table."""
    return choose(job["depthwise"], job["input_channels"], job["output_channels"])


def cluster_rules(job: Fields, config: ArchonConfig, choose: Choose, keep: Keep) -> tuple[dict[str, Any], list[Product]]:
    """The rules for a job of a cluster: by name, whether each is kept, and those about products."""
    depths, fused = config.depths, job["fixed"] == 0
    turns, lanes_shift = job["turns"], (config.lanes - 1).bit_length()
    lane_channels, row_outputs = (
        keep(_parts(job["input_channels"], lanes_shift)),
        keep(_parts(job["output_channels"], adder_row_bits(config))),
    )
    nines = keep((turns << 3) + turns)  # SMALL_TAPS * turns
    input_behind = keep(job["input_row_start"] + job["input_rows"])
    first_center = keep(job["output_row_start"] << job["stride_two"])
    last_center = keep((job["output_row_start"] + job["output_rows"] - 1) << job["stride_two"])
    # The predictor waits for all rows of a window that are in the image.
    reach = choose(job["kernel_five"], 2, 1) if config.kernel > SMALL_KERNEL else 1
    cuts = (job["input_row_start"] != 0, input_behind < job["input_height"])
    above, below = (keep(choose(fused & cut, reach, 0)) for cut in cuts)
    rules = {
        **{name: job[name] != 0 for name in COUNTED},
        "turns of input_channels": choose(
            job["channel_taps"],
            (nines >= lane_channels) & (nines < lane_channels + SMALL_TAPS),
            turns == choose(job["depthwise"], 1, lane_channels),
        ),
        "output_channels of a lane": (job["depthwise"] == 0) | (job["output_channels"] == lane_channels),
        "planes of input_channels": job["planes"] == _parts(job["first_byte"] + job["input_channels"], WORD_SHIFT),
        "kernel": (job["kernel_five"] == 0) | (config.kernel > SMALL_KERNEL),
        "rows of the image": input_behind <= job["input_height"],
        "first row of the output": job["input_row_start"] + above <= first_center,
        "last row of the output": last_center + below < input_behind,
        "output_width": job["output_width"] == _reduced(job["input_width"], job),
        "requantize memory": outputs_of_pixel(job, choose) <= depths.output,
        "slices": (job["fixed"] != 0) | (job["slices"] <= depths.slices),
        "mapping": (job["channel_taps"] & job["depthwise"]) == 0,
        "fixed": (job["fixed"] != 0) | ((job["channel_taps"] | job["depthwise"] | job["same_input"] | job["summed"]) == 0),
        "raw": (job["raw"] & (job["relu"] | job["residual"])) == 0,
    }
    products = [
        Product("segment of the rows", job["input_rows"], job["input_width"], job["segment"], job["segment"]),
        Product("activation memory", lane_channels, job["segment"], depths.activation),
        Product("membership memory", turns, job["slices"], depths.turned_slices),
        Product("accumulators", turns, row_outputs, config.part_of_row(depths.accumulator)),
        Product("row store", job["slices"], choose(fused, job["input_width"], 0), depths.row_store),
    ]
    return rules, products


def image_rules(job: Fields, config: ArchonConfig, choose: Choose, keep: Keep) -> tuple[dict[str, Any], list[Product]]:
    """The rules for a job of the image unit, as cluster_rules."""
    height, width, channels = job["input_height"], job["input_width"], job["input_channels"]
    of_row, windows = width, 2
    for count in range(2, IMAGE_CHANNELS + 1):
        of_row = choose(channels == count, sum((width << bit) for bit in range(3) if count >> bit & 1), of_row)
        windows = choose(channels == count, -(-SMALL_TAPS * count // CHANNELS_PER_WORD), windows)
    of_row, windows = keep(of_row), keep(windows)
    rules = {
        "input_height": height != 0,
        "input_width": (width != 0) & (width <= config.depths.image_row),
        "input_channels": (channels != 0) & (channels <= IMAGE_CHANNELS),
        "output_rows": job["output_rows"] == _reduced(height, job),
        "output_width": job["output_width"] == _reduced(width, job),
        "planes of the windows": job["planes"] == windows,
        "table_words": job["table_words"] == LEVEL_WORDS,
    }
    most = job["segment"] << WORD_SHIFT
    return rules, [Product("segment of the image", height, of_row, most, most - (CHANNELS_PER_WORD - 1))]


def _parts(count: Any, shift: int) -> Any:
    """Parts of 2**shift that hold `count`."""
    return (count + ((1 << shift) - 1)) >> shift


def _reduced(size: Any, job: Fields) -> Any:
    """Output rows or columns of an image."""
    return (size + job["stride_two"]) >> job["stride_two"]
