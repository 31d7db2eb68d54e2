"""Second half of a slice of a table segment: membership, and a pair for every weight."""

from typing import Any

from amaranth.hdl import Array, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import ArchonConfig, index_bits
from hw.contract.tables import bias_record, members_record, pair_row, weight_record
from hw.rtl.arithmetic import lowest_bit, shifted_product
from hw.rtl.channel_loader import channel_row
from hw.rtl.interfaces import JOB, READ_DATA, struct
from hw.rtl.record_reader import RecordReader

PIPELINE_CYCLES = 2
"""From a turn's record or a pair's weight to the row."""


class PairLoader(wiring.Component):
    """Takes the turns of a slice off the stream; gives the membership rows and, from the channels' records, the pairs.

    A pair with biases takes two passes through the multiplication by D: b1, then its weight.

    Parameters: `config`.

    Members: `job`; `restart` begins with the first row of all tables; `begin` a slice; `words` in; `done` in the cycle in
    which its last turn is complete, PIPELINE_CYCLES before its last row; `bias_known` marks the channels of the slice that
    have biases (cleared by `done`); `channel` asks for the slice's channel, `row` and `bias` answer in the same cycle;
    `members` are row `member_row` of the lanes while `member_valid`; `pair` is row `pair_row` of lane `pair_lane` while
    `pair_valid`.

    Throughput one word of membership or one pass a cycle, one cycle for a lane without pairs; stalls with `words`.
    """

    job: data.View
    restart: Signal
    begin: Signal
    words: stream.Interface
    done: Signal
    bias_known: Signal
    channel: Signal
    row: Any
    bias: Any
    members: Any
    member_valid: Signal
    member_row: Signal
    pair: Any
    pair_valid: Signal
    pair_lane: Signal
    pair_row: Signal

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__(
            {
                "job": In(JOB),
                "restart": In(1),
                "begin": In(1),
                "words": In(READ_DATA),
                "done": Out(1),
                "bias_known": In(config.slice_channels),
                "channel": Out(range(config.slice_channels)),
                "row": In(channel_row(config)),
                "bias": In(struct(bias_record(config))),
                "members": Out(data.ArrayLayout(config.slice_channels, config.lanes)),
                "member_valid": Out(1),
                "member_row": Out(index_bits(config.depths.turned_slices)),
                "pair": Out(struct(pair_row(config))),
                "pair_valid": Out(1),
                "pair_lane": Out(range(config.lanes)),
                "pair_row": Out(index_bits(config.depths.pair)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, words = self._config, self.words
        m.submodules.records = records = RecordReader(members_record(config))
        turn, base = Signal.like(self.job.turns), Signal(index_bits(config.depths.accumulator))
        lane, visited = Signal(range(config.lanes)), Signal(config.slice_channels)
        candidates, lowest = Signal(config.slice_channels), Signal(config.slice_channels)
        last_lane, lane_ends, word_ends = Signal(), Signal(), Signal()
        biased, bias_needed, bias_pass, pair_pass = Signal(), Signal(), Signal(), Signal()
        given, position = Signal(config.slice_channels), Signal(range(weight_record(config).per_word))
        m.d.comb += [
            records.words.payload.eq(words.payload),
            records.words.valid.eq(words.valid),
            candidates.eq(Array(records.kept.members)[lane] & ~visited),
            lowest.eq(lowest_bit(candidates)),
            last_lane.eq(lane == config.lanes - 1),
            bias_needed.eq((self.bias_known & ~given & lowest).any() & (self.bias.owner == lane)),
        ]
        for index in range(config.slice_channels):
            with m.If(lowest[index]):
                m.d.comb += self.channel.eq(index)

        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.begin):
                    m.d.sync += [turn.eq(0), base.eq(0), given.eq(0)]
                    m.next = "MEMBERS"
            with m.State("MEMBERS"):
                m.d.comb += [records.enable.eq(1), words.ready.eq(records.words.ready)]
                m.d.sync += lane.eq(0)
                with m.If(records.valid):
                    m.next = "PAIRS"
            with m.State("PAIRS"):
                with m.If(candidates != 0):
                    m.d.comb += [
                        bias_pass.eq(bias_needed & ~biased),
                        pair_pass.eq(~bias_pass & words.valid),
                        lane_ends.eq(pair_pass & ((candidates & ~lowest) == 0)),
                        word_ends.eq(position == weight_record(config).per_word - 1),
                        words.ready.eq(pair_pass & (word_ends | (lane_ends & last_lane))),
                    ]
                with m.Else():
                    # A word that the lanes before have begun ends with the turn.
                    m.d.comb += [lane_ends.eq(1), words.ready.eq(last_lane & (position != 0))]
                with m.If(pair_pass):
                    m.d.sync += [visited.eq(visited | lowest), position.eq(Mux(word_ends, 0, position + 1))]
                    m.d.sync += given.eq(given | Mux(biased, lowest, 0))
                with m.If(lane_ends):
                    m.d.sync += [lane.eq(lane + 1), visited.eq(0)]
                with m.If(lane_ends & last_lane):
                    m.d.sync += [position.eq(0), turn.eq(turn + 1), base.eq(base + self.job.output_channels)]
                    m.next = "MEMBERS"
                    with m.If(turn == self.job.turns - 1):
                        m.d.comb += self.done.eq(1)
                        m.next = "IDLE"
        m.d.sync += biased.eq(bias_pass | (biased & ~pair_pass))
        self._member_rows(m, records)
        weight = words.payload.word_select(position, weight_record(config).width).as_signed()
        self._pair_rows(m, lane, pair_pass, bias_pass, biased, Mux(bias_pass, self.bias.expand_bias, weight), base)
        return m

    def _member_rows(self, m: Module, records: RecordReader) -> None:
        """The record is kept while its rows are written."""
        valid = Signal(PIPELINE_CYCLES)
        m.d.sync += valid.eq((valid << 1) | records.valid)
        m.d.comb += [self.members.eq(records.kept.members), self.member_valid.eq(valid[-1])]
        with m.If(self.restart):
            m.d.sync += self.member_row.eq(0)
        with m.Elif(self.member_valid):
            m.d.sync += self.member_row.eq(self.member_row + 1)

    def _pair_rows(
        self, m: Module, lane: Signal, pair_pass: Signal, bias_pass: Signal, biased: Signal, operand: Any, base: Signal
    ) -> None:
        """Cycle 1: the channel's row and what D is multiplied by. Cycle 2: products; those with b1 wait for the others."""
        config = self._config
        widths = config.widths
        pair_rows = Array(Signal(index_bits(config.depths.pair), name=f"row_of_lane{index}") for index in range(config.lanes))
        pair_due, bias_due, lane_due = Signal(), Signal(), Signal.like(lane)
        row_due, operand_due = Signal.like(pair_rows[0]), Signal(signed(max(widths.bias_product, widths.weight)))
        weights: Any = Signal.like(self.row.weights)
        due: Any = Signal(struct(pair_row(config)))
        m.d.sync += [
            pair_due.eq(pair_pass),
            bias_due.eq(bias_pass),
            lane_due.eq(lane),
            row_due.eq(pair_rows[lane]),
            weights.eq(self.row.weights),
            operand_due.eq(operand),
            due.accumulator_base.eq(base),
            due.step_start.eq(Array(self.row.step_start)[lane]),
            due.step_count.eq(self.row.step_count),
            due.owns_bias.eq(biased),
            due.bias.eq(Mux(biased, self.bias.bias, 0)),
        ]
        for index, row in enumerate(pair_rows):
            with m.If(self.restart):
                m.d.sync += row.eq(0)
            with m.Elif(pair_pass & (lane == index)):
                m.d.sync += row.eq(row + 1)

        products = [shifted_product(operand_due, weight) for weight in weights]
        bias_products: Any = Signal.like(self.pair.bias_products)
        with m.If(bias_due):
            m.d.sync += [bias_products[tap].eq(value) for tap, value in enumerate(products)]
        m.d.sync += [self.pair_valid.eq(pair_due), self.pair_lane.eq(lane_due), self.pair_row.eq(row_due)]
        m.d.sync += [self.pair.products[tap].eq(value) for tap, value in enumerate(products)]
        for name in ("accumulator_base", "step_start", "step_count", "owns_bias", "bias"):
            m.d.sync += self.pair[name].eq(due[name])
        for tap, value in enumerate(bias_products):
            m.d.sync += self.pair.bias_products[tap].eq(Mux(due.owns_bias, value, 0))
