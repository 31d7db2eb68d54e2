"""One of a lane's two sets of accumulators: a small memory for each kernel tap, and the bias accumulators."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import TAPS, ArchonConfig, index_bits
from hw.contract.numerics import OUTPUT_ACCUMULATOR_BITS


def bank_port(config: ArchonConfig) -> wiring.Signature:
    """The one access port of a bank, seen from whoever uses it.

    `address` = turn * output channels + output channel; `output` the output channel alone. `entries`, `touched` and `bias`
    show that row in the same cycle; untouched entries read as zero. A write takes effect at the clock edge: entries whose
    `write_taps` bit is set become touched; `clear_taps` makes the row untouched; `write_bias` stores `new_bias`.
    """
    entries = data.ArrayLayout(signed(config.widths.accumulator), TAPS)
    return wiring.Signature(
        {
            "address": Out(index_bits(config.depths.accumulator)),
            "output": Out(index_bits(config.depths.output)),
            "entries": In(entries),
            "touched": In(TAPS),
            "bias": In(signed(OUTPUT_ACCUMULATOR_BITS)),
            "write_taps": Out(TAPS),
            "new_entries": Out(entries),
            "clear_taps": Out(1),
            "write_bias": Out(1),
            "new_bias": Out(signed(OUTPUT_ACCUMULATOR_BITS)),
        }
    )


class AccumulatorBank(wiring.Component):
    """Entries A[k, c, d] of one lane for one pixel: TAPS memories of depths.accumulator rows, written and read in one cycle.

    Members: `port` as in bank_port. Reads are combinational, so a row can be updated every cycle without hazards.
    A touched flag an entry replaces zeroing; flags and biases hold rubbish until cleared once after reset.
    """

    port: Any

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__({"port": In(bank_port(config))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, port = self._config, self.port
        depth = config.depths.accumulator

        m.submodules.touched = touched_memory = memory.Memory(shape=TAPS, depth=depth, init=[])
        touched_write, touched_read = touched_memory.write_port(), touched_memory.read_port(domain="comb")
        m.d.comb += [
            touched_read.addr.eq(port.address),
            port.touched.eq(touched_read.data),
            touched_write.addr.eq(port.address),
            touched_write.data.eq(Mux(port.clear_taps, 0, touched_read.data | port.write_taps)),
            touched_write.en.eq(port.clear_taps | port.write_taps.any()),
        ]

        for tap in range(TAPS):
            shape = signed(config.widths.accumulator)
            m.submodules[f"tap{tap}"] = tap_memory = memory.Memory(shape=shape, depth=depth, init=[])
            write, read = tap_memory.write_port(), tap_memory.read_port(domain="comb")
            m.d.comb += [
                read.addr.eq(port.address),
                port.entries[tap].eq(Mux(touched_read.data[tap], read.data, 0)),
                write.addr.eq(port.address),
                write.data.eq(port.new_entries[tap]),
                write.en.eq(port.write_taps[tap]),
            ]

        bias_shape = signed(OUTPUT_ACCUMULATOR_BITS)
        m.submodules.bias = bias_memory = memory.Memory(shape=bias_shape, depth=config.depths.output, init=[])
        bias_write, bias_read = bias_memory.write_port(), bias_memory.read_port(domain="comb")
        m.d.comb += [
            bias_read.addr.eq(port.output),
            port.bias.eq(bias_read.data),
            bias_write.addr.eq(port.output),
            bias_write.data.eq(port.new_bias),
            bias_write.en.eq(port.write_bias),
        ]
        return m


class BankCounter(wiring.Component):
    """Walks every row of a bank once, so that both banks can be cleared when a job starts.

    Members: `start` begins, `busy` while walking, `row` the row to clear. Takes as many cycles as the deepest memory has rows.
    """

    start: Signal
    busy: Signal
    row: data.View

    def __init__(self, config: ArchonConfig) -> None:
        self._rows = max(config.depths.accumulator, config.depths.output)
        super().__init__({"start": In(1), "busy": Out(1), "row": Out(index_bits(self._rows))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        busy, row = Signal(), Signal(index_bits(self._rows))
        m.d.comb += [self.busy.eq(busy), self.row.eq(row)]
        with m.If(self.start):
            m.d.sync += [busy.eq(1), row.eq(0)]
        with m.Elif(busy):
            m.d.sync += row.eq(row + 1)
            with m.If(row == self._rows - 1):
                m.d.sync += busy.eq(0)
        return m
