"""Shapes and signatures shared by the RTL units; every width comes from hw.contract."""

from typing import Any

from amaranth.hdl import Shape, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import Out

from hw.contract import activity, descriptor, numerics
from hw.contract.config import ArchonConfig, index_bits
from hw.contract.layout import WORD_BITS, Layout
from hw.contract.tables import PER_LANE, SHARED, table_layout


def struct(layout: Layout) -> data.StructLayout:
    """A contract layout as an Amaranth struct: same fields, same bit positions."""
    members: dict[str, Shape | data.ArrayLayout] = {}
    for item in layout.fields:
        shape = signed(item.bits) if item.signed else unsigned(item.bits)
        members[item.name] = shape if item.count is None else data.ArrayLayout(shape, item.count)
    return data.StructLayout(members)


JOB = struct(descriptor.JOB)
"""Job settings, held stable while a cluster runs."""

READ_REQUEST = stream.Signature(struct(descriptor.READ_REQUEST))
READ_DATA = stream.Signature(WORD_BITS)
WRITE = stream.Signature(struct(descriptor.WRITE))
OUTPUT_WRITE = stream.Signature(struct(descriptor.OUTPUT_WRITE))
COMMAND = stream.Signature(struct(descriptor.COMMAND))
REPORT = stream.Signature(struct(descriptor.REPORT))
ACTIVITY = stream.Signature(struct(activity.ACTIVITY))


def drive(sink: Any, source: Any) -> list[object]:
    """Assign every member of a broadcast bus."""
    return [getattr(sink, name).eq(getattr(source, name)) for name in source.signature.members]


def table_row_bits(config: ArchonConfig) -> int:
    """Width of the widest table row."""
    return max(table_layout(kind, config).width for kind in (*PER_LANE, *SHARED))


def table_write(config: ArchonConfig) -> wiring.Signature:
    """Bus that fills tables: while `valid`, row `row` of half `half` of table `kind` takes `data`'s low bits."""
    members = {"valid": Out(1), "half": Out(1), "kind": Out(4), "row": Out(16), "data": Out(table_row_bits(config))}
    return wiring.Signature(members)


def activation_write(config: ArchonConfig) -> wiring.Signature:
    """Broadcast bus that fills activation stores: lane l's row `address[l]` takes int8 `data[l]` where `enable[l]` is set."""
    address = unsigned(index_bits(config.depths.activation))
    return wiring.Signature(
        {
            "enable": Out(config.lanes),
            "address": Out(data.ArrayLayout(address, config.lanes)),
            "data": Out(data.ArrayLayout(signed(numerics.ACTIVATION_BITS), config.lanes)),
        }
    )


def lane_activation_write(config: ArchonConfig) -> wiring.Signature:
    """One lane's part of activation_write."""
    return wiring.Signature(
        {"enable": Out(1), "address": Out(index_bits(config.depths.activation)), "data": Out(signed(numerics.ACTIVATION_BITS))}
    )


def slice_word(config: ArchonConfig) -> data.StructLayout:
    """Predicted masks of one slice of one pixel: second[p] is m2, first[p][tap] is m1; `last` marks the pixel's last slice."""
    channels = config.slice_channels
    return data.StructLayout({"second": channels, "first": data.ArrayLayout(config.taps, channels), "last": 1})


def level_word(config: ArchonConfig) -> data.ArrayLayout:
    """First predictor outputs r1 of one slice of one pixel: 4 bits a channel, zero = off."""
    return data.ArrayLayout(unsigned(numerics.LEVEL_BITS), config.slice_channels)


def survivor(config: ArchonConfig) -> data.StructLayout:
    """A surviving pair of a lane: its row in the pair table and m1 of every tap; or, with `end`, the end of the pixel."""
    return data.StructLayout({"end": 1, "pair": index_bits(config.depths.pair), "taps": config.taps})


PARTIAL = stream.Signature(signed(numerics.OUTPUT_ACCUMULATOR_BITS))
"""One lane's (or all lanes') sum for one output channel of one pixel, in order of pixel, then channel."""
