"""Random job descriptors that keep the rules of hw.contract.rules, and ones that differ from them by some bits."""

import random

from hw.contract.config import CHANNELS_PER_WORD, DIMENSION_BITS, ArchonConfig
from hw.contract.descriptor import JOB, PIXEL_BITS
from hw.contract.layout import Layout
from hw.contract.memory import IMAGE_CHANNELS, LEVEL_WORDS
from hw.contract.taps import SMALL_KERNEL, SMALL_TAPS

Fields = dict[str, int]

MOST = (1 << DIMENSION_BITS) - 1


def random_job(config: ArchonConfig, rng: random.Random, unit: int) -> Fields:
    """A job of a cluster or the image unit; what no rule speaks of is random."""
    job = {item.name: rng.getrandbits(item.bits) for item in JOB.fields} | {"end": 0, "cluster": unit}
    stride = 1 + job["stride_two"]
    return job | (_image(config, rng, stride) if unit == config.image_unit else _cluster(config, rng, job))


def flipped(fields: Fields, rng: random.Random, bits: int, layout: Layout = JOB) -> Fields:
    """The descriptor with some bits inverted, but never its `end`."""
    number = layout.pack(fields)
    for _ in range(bits):
        number ^= 1 << rng.randrange(layout.offsets["barrier"], layout.width)
    changed: Fields = layout.unpack(number)  # type: ignore[assignment]
    return changed


def _cluster(config: ArchonConfig, rng: random.Random, job: Fields) -> Fields:
    depths, stride = config.depths, 1 + job["stride_two"]
    kind = _kind(rng) | {"kernel_five": job["kernel_five"] & (config.kernel > SMALL_KERNEL)}
    lane_channels, depthwise = rng.randint(1, 20 if kind["channel_taps"] else 4), kind["depthwise"]
    channels = rng.randint((lane_channels - 1) * config.lanes + 1, lane_channels * config.lanes)
    turns = 1 if depthwise else -(-lane_channels // SMALL_TAPS) if kind["channel_taps"] else lane_channels
    outputs = rng.randint(1, min(depths.output, depths.accumulator // turns // config.adder_rows * config.adder_rows))
    slices = rng.randint(1, min(depths.slices, depths.turned_slices // turns))
    area = depths.activation // lane_channels
    width = rng.randint(1, min(area, MOST if kind["fixed"] else depths.row_store // slices, MOST))
    rows = rng.randint(1, min(area // width, MOST))
    return (
        kind
        | _band(rng, rows, stride, 0 if kind["fixed"] else 1 + kind["kernel_five"])
        | {
            "input_channels": channels,
            "planes": -(-(job["first_byte"] + channels) // CHANNELS_PER_WORD),
            "turns": turns,
            "slices": slices,
            "output_channels": lane_channels if depthwise else outputs,
            "input_width": width,
            "segment": width * rows,
            "output_width": -(-width // stride),
            "table_words": rng.randrange(1, 1 << PIXEL_BITS),
            "raw": job["raw"] & ~job["relu"] & ~job["residual"],
        }
    )


def _band(rng: random.Random, rows: int, stride: int, reach: int) -> Fields:
    """Output rows whose windows, of `reach` rows above and below their centres, lie in some input rows."""
    outputs: list[int] = []
    while not outputs:
        start = rng.choice([0, rng.randrange(MOST - rows + 1)])
        behind = start + rows
        height = rng.choice([behind, rng.randint(behind, MOST)])
        last = behind - 1 - (reach if behind < height else 0)
        outputs = [row for row in range(last // stride + 1) if stride * row >= (start + reach if start else 0)]
    first = rng.choice(outputs)
    fields = {"input_row_start": start, "input_rows": rows, "input_height": height, "output_row_start": first}
    return fields | {"output_rows": rng.randint(1, outputs[-1] - first + 1)}


def _kind(rng: random.Random) -> Fields:
    """A fused job, or a fixed one of one of three mappings."""
    mapping = rng.choice([{}, {"fixed": 1}, {"fixed": 1, "channel_taps": 1}, {"fixed": 1, "depthwise": 1}])
    flags = {name: mapping.get("fixed", 0) & rng.getrandbits(1) for name in ("same_input", "summed")}
    return dict.fromkeys(("fixed", "channel_taps", "depthwise"), 0) | mapping | flags


def _image(config: ArchonConfig, rng: random.Random, stride: int) -> Fields:
    height, width = rng.randint(1, MOST), rng.randint(1, config.depths.image_row)
    channels = rng.randint(1, IMAGE_CHANNELS)
    return {
        "input_height": height,
        "input_width": width,
        "input_channels": channels,
        "output_rows": -(-height // stride),
        "output_width": -(-width // stride),
        "planes": -(-SMALL_TAPS * channels // CHANNELS_PER_WORD),
        "segment": -(-height * width * channels // CHANNELS_PER_WORD),
        "table_words": LEVEL_WORDS,
    }
