"""Makes the lanes' own tables from the slices of a table segment."""

from typing import Any

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import ArchonConfig
from hw.contract.tables import SECTION_HEADER, TableKind, bias_record
from hw.rtl.channel_loader import ChannelLoader, channel_row, step_counts
from hw.rtl.interfaces import JOB, READ_DATA, struct, table_write
from hw.rtl.pair_loader import PairLoader


class LaneTableLoader(wiring.Component):
    """Writes MEMBERSHIP, PAIR, BIAS and STEP of all lanes from a section of kind LANES (hw.contract.tables).

    What the pairs of a channel have in common waits in three memories of a row a channel until the weights of the slice come.

    Parameters: `config`.

    Members: `job`; `begin`: the next word is the first one of a section of `slices` slices; `words` in; `busy` from the
    next cycle until the section's last row is on its way; `table_writes[l]` the rows of lane l.

    Throughput: a word of a record, a step in all lanes that list it, or a pair a cycle; a pair with biases takes two and a
    lane without pairs in a turn of a slice one. Latency at most pair_loader.PIPELINE_CYCLES from word to row.
    """

    job: data.View
    begin: Signal
    slices: Signal
    words: stream.Interface
    busy: Signal
    table_writes: list[Any]

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        rows = next(item.bits for item in SECTION_HEADER.fields if item.name == "rows")
        super().__init__(
            {
                "job": In(JOB),
                "begin": In(1),
                "slices": In(rows),
                "words": In(READ_DATA),
                "busy": Out(1),
                "table_writes": Out(table_write(config)).array(config.lanes),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self._config
        m.submodules.channels = channels = ChannelLoader(config)
        m.submodules.pairs = pairs = PairLoader(config)
        slices_left, bias_known = Signal.like(self.slices), Signal(config.slice_channels)
        m.d.comb += [channels.kernel_five.eq(self.job.kernel_five), pairs.job.eq(self.job), pairs.bias_known.eq(bias_known)]
        for unit in (channels, pairs):
            m.d.comb += [unit.restart.eq(self.begin), unit.words.payload.eq(self.words.payload)]
        with m.FSM() as control:
            m.d.comb += self.busy.eq(~control.ongoing("IDLE"))
            with m.State("IDLE"):
                m.d.sync += slices_left.eq(self.slices)
                with m.If(self.begin):
                    m.next = "SLICE"
            with m.State("SLICE"):
                m.d.sync += [slices_left.eq(slices_left - 1), bias_known.eq(0)]
                m.next = "IDLE"
                with m.If(slices_left != 0):
                    m.d.comb += channels.begin.eq(1)
                    m.next = "CHANNELS"
            with m.State("CHANNELS"):
                m.d.comb += [channels.words.valid.eq(self.words.valid), self.words.ready.eq(channels.words.ready)]
                with m.If(channels.bias_valid):
                    m.d.sync += bias_known.bit_select(channels.channel, 1).eq(1)
                with m.If(channels.done):
                    m.d.comb += pairs.begin.eq(1)
                    m.next = "PAIRS"
            with m.State("PAIRS"):
                m.d.comb += [pairs.words.valid.eq(self.words.valid), self.words.ready.eq(pairs.words.ready)]
                with m.If(pairs.done):
                    m.next = "SLICE"
        shapes = {"row": channel_row(config), "bias": struct(bias_record(config)), "counts": step_counts(config)}
        for name, shape in shapes.items():
            m.submodules[f"{name}_memory"] = store = memory.Memory(shape=shape, depth=config.slice_channels, init=[])
            write, read = store.write_port(), store.read_port(domain="comb")
            m.d.comb += [
                write.addr.eq(channels.counted if name == "counts" else channels.channel),
                write.data.eq(getattr(channels, name)),
                write.en.eq(getattr(channels, f"{name}_valid")),
                read.addr.eq(pairs.channel),
                getattr(pairs, name).eq(read.data),
            ]
        self._write(m, channels, pairs)
        return m

    def _write(self, m: Module, channels: ChannelLoader, pairs: PairLoader) -> None:
        """Steps, membership rows, biases and pairs are never due in the same cycle."""
        step, step_lanes, step_rows = (Signal.like(value) for value in (channels.step, channels.step_lanes, channels.step_rows))
        m.d.sync += [step.eq(channels.step), step_lanes.eq(channels.step_lanes), step_rows.eq(channels.step_rows)]
        for lane, bus in enumerate(self.table_writes):
            m.d.comb += bus.half.eq(self.job.half)
            m.d.comb += [
                bus.valid.eq(step_lanes[lane]),
                bus.kind.eq(TableKind.STEP),
                bus.row.eq(step_rows[lane]),
                bus.data.eq(step),
            ]
            with m.If(pairs.member_valid):
                m.d.comb += [bus.valid.eq(1), bus.kind.eq(TableKind.MEMBERSHIP)]
                m.d.comb += [bus.row.eq(pairs.member_row), bus.data.eq(pairs.members[lane])]
            with m.If(pairs.pair_valid):
                m.d.comb += [bus.valid.eq(pairs.pair_lane == lane), bus.kind.eq(TableKind.PAIR)]
                m.d.comb += [bus.row.eq(pairs.pair_row), bus.data.eq(Value.cast(pairs.pair))]
            with m.If(pairs.bias_valid):
                m.d.comb += [bus.valid.eq(pairs.pair_lane == lane), bus.kind.eq(TableKind.BIAS)]
                m.d.comb += [bus.row.eq(pairs.bias_row), bus.data.eq(Value.cast(pairs.biases))]
