"""Payloads of streams inside a cluster; their widths are checked against the design when an agent is made."""

from hw.contract.config import ArchonConfig, index_bits
from hw.contract.layout import Field, Layout


def slice_word(config: ArchonConfig) -> Layout:
    """Predicted masks of one slice of one pixel: second[p] is m2, first[p] holds m1 of every tap."""
    channels = config.slice_channels
    return Layout("slice_word", (Field("second", channels), Field("first", config.taps, count=channels), Field("last", 1)))


def survivor(config: ArchonConfig) -> Layout:
    """A surviving pair of a lane, or the end of a pixel."""
    return Layout("survivor", (Field("end", 1), Field("pair", index_bits(config.depths.pair)), Field("taps", config.taps)))
