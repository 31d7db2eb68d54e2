"""Table segments taken apart, the literal way: the rows that have to lie in the on-chip tables."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.contract import tables
from hw.contract.config import ArchonConfig
from hw.contract.layout import Layout, words_to_int
from hw.contract.tables import PER_LANE, SECTION_HEADER, TableKind, table_layout
from hw.contract.taps import KERNELS

Fields = dict[str, Any]
TableRows = dict[tuple[TableKind, int], list[int]]
"""Packed rows by table and lane (0 for the shared ones), in the order in which they come; see places."""


def places(kind: TableKind, rows: list[int], config: ArchonConfig) -> list[int]:
    """Where the rows of a table lie: one after the other, in the STEP table for each adder row apart."""
    if kind is not TableKind.STEP:
        return list(range(len(rows)))
    adder_rows = _adder_rows(rows, config)
    return [adder_rows[:index].count(number) for index, number in enumerate(adder_rows)]


class SegmentReader:
    """Takes a segment's parts one after the other."""

    def __init__(self, memory: NDArray[np.uint64], address: int) -> None:
        self._memory, self.address = memory, address
        self._kept: dict[str, list[int]] = {}

    def number(self, words: int) -> int:
        """The next words as one number."""
        self.address += words
        return words_to_int(self._memory[self.address - words : self.address])

    def record(self, layout: Layout) -> Fields:
        """A record that begins with a new word."""
        return layout.unpack(self.number(layout.words))

    def dense(self, layout: Layout, count: int) -> list[Fields]:
        """`count` rows that lie several in a word, beginning with what is left of the layout's last word."""
        kept = self._kept.setdefault(layout.name, [])
        while len(kept) < count:
            word = self.number(1)
            kept += [word >> (index * layout.width) & ((1 << layout.width) - 1) for index in range(layout.per_word)]
        rows, self._kept[layout.name] = kept[:count], kept[count:]
        return [layout.unpack(row) for row in rows]


def segment_rows(
    memory: NDArray[np.uint64], address: int, words: int, config: ArchonConfig, job: Mapping[str, int]
) -> TableRows:
    """The tables that the segment of `words` words fills, for a job of these turns, output channels and kernel."""
    reader, rows, kernel = SegmentReader(memory, address), TableRows(), KERNELS[job["kernel_five"]]
    while reader.address < address + words:
        header = reader.record(SECTION_HEADER)
        kind = TableKind(header["kind"])
        if kind is TableKind.LANES:
            rows |= lane_rows(reader, header["rows"], config, job)
        else:
            mask = (1 << table_layout(kind, config, kernel).width) - 1
            rows[kind, 0] = [reader.number(header["words"]) & mask for _ in range(header["rows"])]
    assert reader.address == address + words, "the segment ends with its last section"
    return rows


def lane_rows(reader: SegmentReader, slices: int, config: ArchonConfig, job: Mapping[str, int]) -> TableRows:
    """The rows of all lanes' own tables."""
    rows: TableRows = {(kind, lane): [] for kind in PER_LANE for lane in range(config.lanes)}
    for _ in range(slices):
        channels = [_channel(reader, config, KERNELS[job["kernel_five"]], rows) for _ in range(config.slice_channels)]
        for turn in range(job["turns"]):
            members = reader.record(tables.members_record(config))["members"]
            pairs = [(lane, p) for lane in range(config.lanes) for p in range(config.slice_channels) if members[lane] >> p & 1]
            weights = reader.dense(tables.weight_record(config), len(pairs))
            for lane in range(config.lanes):
                rows[TableKind.MEMBERSHIP, lane].append(members[lane])
            for (lane, p), weight in zip(pairs, weights, strict=True):
                biases = rows[TableKind.BIAS, lane]
                pair = _pair(channels[p], lane, weight["weight"], turn * config.part_of_row(job["output_channels"]))
                pair["bias_row"] = len(biases) * pair["owns_bias"]
                if pair["owns_bias"]:
                    products = [channels[p]["expand_bias"] * value for value in channels[p]["weights"]]
                    biases.append(tables.bias_row(config).pack({"products": products, "bias": channels[p]["bias"]}))
                rows[TableKind.PAIR, lane].append(tables.pair_row(config).pack(pair))
    return rows


def _channel(reader: SegmentReader, config: ArchonConfig, kernel: int, rows: TableRows) -> Fields:
    channel = reader.record(tables.channel_record(config, kernel))
    channel["weights"] += [0] * (config.taps - len(channel["weights"]))
    if channel["has_bias"]:
        channel |= reader.record(tables.bias_record(config))
    steps = reader.dense(tables.step_row(config), channel["step_count"])
    lanes = [lane for lane in range(config.lanes) if channel["lanes"] >> lane & 1]
    channel["step_start"] = {lane: _of_adder_rows(rows[TableKind.STEP, lane], config) for lane in lanes}
    packed = [tables.step_row(config).pack(step) for step in steps]
    channel["step_count"] = _of_adder_rows(packed, config)
    for lane in lanes:
        rows[TableKind.STEP, lane] += packed
    return channel


def _of_adder_rows(steps: list[int], config: ArchonConfig) -> list[int]:
    """How many steps there are for each adder row."""
    numbers = _adder_rows(steps, config)
    return [numbers.count(row) for row in range(config.adder_rows)]


def _adder_rows(steps: list[int], config: ArchonConfig) -> list[int]:
    """The adder row of each step."""
    unpacked: list[Fields] = [tables.step_row(config).unpack(step) for step in steps]
    return [step["output"] % config.adder_rows for step in unpacked]


def _pair(channel: Fields, lane: int, weight: int, accumulator_base: int) -> Fields:
    owns = bool(channel["has_bias"]) and channel["owner"] == lane
    channel["has_bias"] = channel["has_bias"] and not owns  # only the lane's first pair
    return {
        "products": [weight * value for value in channel["weights"]],
        "accumulator_base": accumulator_base,
        "step_start": channel["step_start"][lane],
        "step_count": channel["step_count"],
        "owns_bias": int(owns),
    }
