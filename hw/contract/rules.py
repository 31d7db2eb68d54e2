"""What a job descriptor must be like, so that its job comes to its end inside the memories that there are.

The controller refuses a descriptor that breaks a rule. Addresses are no part of it: the windows of the bus watch over them.
"""

from __future__ import annotations

from collections.abc import Mapping

from hw.contract.config import CHANNELS_PER_WORD, TAPS, ArchonConfig
from hw.contract.memory import IMAGE_CHANNELS, LEVEL_WORDS

COUNTED = (
    "input_width", "input_rows", "output_width", "output_rows", "input_channels", "planes", "turns", "slices",
    "output_channels", "segment", "table_words",
)  # fmt: skip
"""Fields that are at least 1 in a cluster's job."""


def broken_rules(fields: Mapping[str, int], config: ArchonConfig) -> list[str]:
    """Names of the rules that a descriptor breaks; none if it may run. That it ends the program is looked at before.

    Args:
        fields: Of hw.contract.descriptor.JOB.
        config: Hardware configuration.
    """
    if fields["cluster"] > config.image_unit:
        return ["cluster"]
    rules = _image_rules(fields, config) if fields["cluster"] == config.image_unit else _cluster_rules(fields, config)
    stride = 1 + fields["stride_two"]
    rules["output_width"] = fields["output_width"] == -(-fields["input_width"] // stride)
    return [name for name, kept in rules.items() if not kept]


def _cluster_rules(fields: Mapping[str, int], config: ArchonConfig) -> dict[str, bool]:
    job, depths = fields, config.depths
    stride, turns, slices = 1 + job["stride_two"], job["turns"], job["slices"]
    input_behind = job["input_row_start"] + job["input_rows"]
    last_center = stride * (job["output_row_start"] + job["output_rows"] - 1)
    return {
        **{name: job[name] != 0 for name in COUNTED},
        "turns of input_channels": turns == -(-job["input_channels"] // config.lanes),
        "planes of input_channels": job["planes"] == -(-(job["first_byte"] + job["input_channels"]) // CHANNELS_PER_WORD),
        "rows of the image": input_behind <= job["input_height"],
        "rows of the output": job["input_row_start"] <= stride * job["output_row_start"] and last_center < input_behind,
        "segment of the rows": job["segment"] == job["input_rows"] * job["input_width"],
        "activation memory": turns * job["segment"] <= depths.activation,
        "membership memory": turns * slices <= depths.turned_slices,
        "accumulators": turns * job["output_channels"] <= depths.accumulator,
        "requantize memory": job["output_channels"] <= depths.output,
        "slices": bool(job["fixed"]) or slices <= depths.slices,
        "row store": bool(job["fixed"]) or slices * job["input_width"] <= depths.row_store,
        "raw": not (job["raw"] and (job["relu"] or job["residual"])),
    }


def _image_rules(fields: Mapping[str, int], config: ArchonConfig) -> dict[str, bool]:
    job = fields
    height, width, channels = job["input_height"], job["input_width"], job["input_channels"]
    return {
        "input_height": height != 0,
        "input_width": 1 <= width <= config.depths.image_row,
        "input_channels": 1 <= channels <= IMAGE_CHANNELS,
        "output_rows": job["output_rows"] == -(-height // (1 + job["stride_two"])),
        "planes of the windows": job["planes"] == -(-TAPS * channels // CHANNELS_PER_WORD),
        "segment of the image": job["segment"] == -(-height * width * channels // CHANNELS_PER_WORD),
        "table_words": job["table_words"] == LEVEL_WORDS,
    }
