"""One of the sets of accumulators of a lane's adder row: a small memory for each kernel tap, and the bias accumulators."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import ArchonConfig, index_bits
from hw.contract.numerics import OUTPUT_ACCUMULATOR_BITS
from hw.rtl.pipeline import copies


def row_bits(config: ArchonConfig) -> int:
    """Width of a row address = turn * output channels of the adder row + place of the output channel in it."""
    return index_bits(config.part_of_row(config.depths.accumulator))


def place_bits(config: ArchonConfig) -> int:
    """Width of the place of an output channel in its adder row."""
    return index_bits(config.part_of_row(config.depths.output))


def tile_bits(config: ArchonConfig) -> int:
    """Width of the number of a bank, one of config.pixel_tile."""
    return (config.pixel_tile - 1).bit_length()


def bank_behind(bank: Value, moves: Value, config: ArchonConfig) -> Value:
    """The bank of the pixel after that of `bank`, if it `moves` on: they take turns."""
    return (bank + moves)[: tile_bits(config)]


def fill_port(config: ArchonConfig) -> wiring.Signature:
    """Read and write ports of a bank, seen from the accumulator.

    `touched` and `bias` show row `read_row` and place `read_place` in the next cycle, with what is written in this one.
    `entries` show row `entry_row` in the next cycle, without what is written in that one; untouched entries read as anything. A
    write stores the entries of `write_taps` and all flags of the row.
    """
    entries = data.ArrayLayout(signed(config.widths.accumulator), config.taps)
    return wiring.Signature(
        {
            "entry_row": Out(row_bits(config)),
            "read_row": Out(row_bits(config)),
            "read_place": Out(place_bits(config)),
            "entries": In(entries),
            "touched": In(config.taps),
            "bias": In(signed(OUTPUT_ACCUMULATOR_BITS)),
            "write_row": Out(row_bits(config)),
            "write_place": Out(place_bits(config)),
            "write_taps": Out(config.taps),
            "new_entries": Out(entries),
            "new_touched": Out(config.taps),
            "write_bias": Out(1),
            "new_bias": Out(signed(OUTPUT_ACCUMULATOR_BITS)),
        }
    )


def walk_port(config: ArchonConfig) -> wiring.Signature:
    """What a walker reads and clears: flags and biases.

    `touched` and `bias` show row `row` and place `place` from the cycle after `enable` until the next one. `clear` makes row
    `clear_row` untouched, `clear_bias` sets the bias at `clear_place` to 0.
    """
    return wiring.Signature(
        {
            "enable": Out(1),
            "row": Out(row_bits(config)),
            "place": Out(place_bits(config)),
            "touched": In(config.taps),
            "bias": In(signed(OUTPUT_ACCUMULATOR_BITS)),
            "clear": Out(1),
            "clear_row": Out(row_bits(config)),
            "clear_bias": Out(1),
            "clear_place": Out(place_bits(config)),
        }
    )


def entry_port(config: ArchonConfig) -> wiring.Signature:
    """What a multiplier reads: `entries` show row `row` in the next cycle, as those of fill_port."""
    entries = data.ArrayLayout(signed(config.widths.accumulator), config.taps)
    return wiring.Signature({"row": Out(row_bits(config)), "entries": In(entries)})


class AccumulatorBank(wiring.Component):
    """Entries A[k, c, d] of one lane and adder row for one pixel: a memory a tap, one touched flag an entry instead of zeroing.

    Parameters: `config`.

    Members: `full`: the bank belongs to `walk` and `entry`, otherwise to `fill`; ports as their signatures say.
    Flags and biases hold rubbish until cleared once after reset.

    Latency of a read 1 cycle, throughput a read and a write a cycle.
    """

    full: Signal
    fill: Any
    walk: Any
    entry: Any

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__(
            {"full": In(1), "fill": In(fill_port(config)), "walk": In(walk_port(config)), "entry": In(entry_port(config))}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, fill, walk, full = self._config, self.fill, self.walk, self.full
        rows, places = (config.part_of_row(depth) for depth in (config.depths.accumulator, config.depths.output))

        m.submodules.touched = touched_memory = memory.Memory(shape=config.taps, depth=rows, init=[])
        touched_write = touched_memory.write_port()
        touched_read = touched_memory.read_port(transparent_for=(touched_write,))
        m.d.comb += [
            touched_read.en.eq(~full | walk.enable),
            touched_read.addr.eq(Mux(full, walk.row, fill.read_row)),
            fill.touched.eq(touched_read.data),
            walk.touched.eq(touched_read.data),
            touched_write.en.eq(Mux(full, walk.clear, fill.write_taps.any())),
            touched_write.addr.eq(Mux(full, walk.clear_row, fill.write_row)),
            touched_write.data.eq(Mux(full, 0, fill.new_touched)),
        ]

        entry_rows = copies(m, Mux(full, self.entry.row, fill.entry_row), config.taps, "entry_row")
        for tap in range(config.taps):
            shape = signed(config.widths.accumulator)
            m.submodules[f"tap{tap}"] = tap_memory = memory.Memory(shape=shape, depth=rows, init=[])
            write = tap_memory.write_port()
            read = tap_memory.read_port(domain="comb")
            m.d.comb += [
                read.addr.eq(entry_rows[tap]),
                fill.entries[tap].eq(read.data),
                self.entry.entries[tap].eq(read.data),
                write.en.eq(fill.write_taps[tap]),
                write.addr.eq(fill.write_row),
                write.data.eq(fill.new_entries[tap]),
            ]

        bias_shape = signed(OUTPUT_ACCUMULATOR_BITS)
        m.submodules.bias = bias_memory = memory.Memory(shape=bias_shape, depth=places, init=[])
        bias_write = bias_memory.write_port()
        bias_read = bias_memory.read_port(transparent_for=(bias_write,))
        m.d.comb += [
            bias_read.en.eq(~full | walk.enable),
            bias_read.addr.eq(Mux(full, walk.place, fill.read_place)),
            fill.bias.eq(bias_read.data),
            walk.bias.eq(bias_read.data),
            bias_write.en.eq(Mux(full, walk.clear_bias, fill.write_bias)),
            bias_write.addr.eq(Mux(full, walk.clear_place, fill.write_place)),
            bias_write.data.eq(Mux(full, 0, fill.new_bias)),
        ]
        return m
