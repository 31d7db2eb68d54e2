"""Second half of a slice of a table segment: membership, and a pair for every weight."""

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import ArchonConfig, index_bits
from hw.contract.tables import adder_row_bits, bias_record, bias_row, members_record, pair_row, weight_record
from hw.rtl.arithmetic import lowest_bit, shifted_terms, tree_sum
from hw.rtl.channel_loader import channel_row, step_counts
from hw.rtl.interfaces import JOB, READ_DATA, struct
from hw.rtl.packed_reader import PackedReader
from hw.rtl.pipeline import delay, delay_flags
from hw.rtl.record_reader import RecordReader

PIPELINE_CYCLES = 3
"""From a pair's weight to its row."""

MEMBER_CYCLES = 2
"""From a turn's record to its rows."""


class _Chosen:
    """Registers of the pair that is next: its lane, its channel in the slice; `taken`: it goes on to the next registers."""

    def __init__(self, config: ArchonConfig, name: str = "chosen") -> None:
        self.valid, self.taken = Signal(name=f"{name}_valid"), Signal(name=f"{name}_taken")
        self.lane = Signal(range(config.lanes), name=f"{name}_lane")
        self.channel = Signal(range(config.slice_channels), name=f"{name}_channel")


class _Found(_Chosen):
    """Registers of the pair after it, which makes its passes, and its channel's records; `bias_due`: it gets the biases."""

    def __init__(self, config: ArchonConfig, row: Any, bias: Any, counts: Any) -> None:
        super().__init__(config, "found")
        self.bias_due = Signal(name="found_bias_due")
        self.weights, self.counts, self.bias = Signal.like(row.weights), Signal.like(counts), Signal.like(bias)
        self.step_start = Signal.like(row.step_start[0])


class PairLoader(wiring.Component):
    """Takes the turns of a slice off the stream; gives the membership rows and, from the channels' records, the pairs.

    A pair with biases takes two passes through the multiplication by D: b1, then its weight. Pairs are chosen two ahead.

    Parameters: `config`.

    Members: `job`; `restart` begins with the first row of all tables; `begin` a slice; `words` in; `done` in the cycle in
    which its last turn is complete, PIPELINE_CYCLES before its last row; `bias_known` marks the channels of the slice that
    have biases (cleared by `done`); `channel` asks for the slice's channel, `row`, `bias` and `counts` answer in the same
    cycle; `members` are row `member_row` of the lanes while `member_valid`; `pair` is row `pair_row` of lane `pair_lane` while
    `pair_valid`; before the first pair with its channel's biases these come as `biases`, row `bias_row` of that lane, while
    `bias_valid`.

    Throughput one word of membership or one pass a cycle, one cycle for a lane without pairs, two cycles a turn; stalls with
    `words`.
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
    counts: Any
    members: Any
    member_valid: Signal
    member_row: Signal
    pair: Any
    pair_valid: Signal
    pair_lane: Signal
    pair_row: Signal
    biases: Any
    bias_valid: Signal
    bias_row: Signal

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
                "counts": In(step_counts(config)),
                "members": Out(data.ArrayLayout(config.slice_channels, config.lanes)),
                "member_valid": Out(1),
                "member_row": Out(index_bits(config.depths.turned_slices)),
                "pair": Out(struct(pair_row(config))),
                "pair_valid": Out(1),
                "pair_lane": Out(range(config.lanes)),
                "pair_row": Out(index_bits(config.depths.pair)),
                "biases": Out(struct(bias_row(config))),
                "bias_valid": Out(1),
                "bias_row": Out(index_bits(config.depths.bias)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, words = self._config, self.words
        m.submodules.records = records = RecordReader(members_record(config))
        turn, base = Signal.like(self.job.turns), Signal(index_bits(config.part_of_row(config.depths.accumulator)))
        lane, left = Signal(range(config.lanes)), Signal(config.slice_channels)
        walking, walked = Signal(), Signal()
        m.d.comb += [records.words.payload.eq(words.payload), records.words.valid.eq(words.valid)]
        chosen = self._choose(m, records, lane, left, walking, walked)
        given = Signal(config.slice_channels)
        found = self._find(m, chosen, given)
        self._passes(m, found, given, base)
        self._member_rows(m, records)

        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.begin):
                    m.d.sync += [turn.eq(0), base.eq(0), given.eq(0)]
                    m.next = "MEMBERS"
            with m.State("MEMBERS"):
                m.d.comb += [records.enable.eq(1), words.ready.eq(records.words.ready)]
                m.d.sync += [lane.eq(0), left.eq(records.record.members[0])]
                with m.If(records.valid):
                    m.next = "PAIRS"
            with m.State("PAIRS"):
                m.d.comb += walking.eq(1)
                with m.If(walked):
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                with m.If(~chosen.valid & ~found.valid):
                    outputs = (self.job.output_channels + config.adder_rows - 1) >> adder_row_bits(config)
                    m.d.sync += [turn.eq(turn + 1), base.eq(base + outputs)]
                    m.next = "MEMBERS"
                    with m.If(turn == self.job.turns - 1):
                        m.d.comb += self.done.eq(1)
                        m.next = "IDLE"
        return m

    def _choose(self, m: Module, records: RecordReader, lane: Signal, left: Signal, walking: Signal, walked: Signal) -> _Chosen:
        """Lane by lane, the next of its pairs into registers; `left` are those of the lane, `walked` in the last cycle."""
        config = self._config
        chosen = _Chosen(config)
        lowest, take, lane_ends = Signal(config.slice_channels), Signal(), Signal()
        members = [records.kept.members[min(index + 1, config.lanes - 1)] for index in range(config.lanes)]
        m.d.comb += [
            lowest.eq(lowest_bit(left)),
            take.eq(~chosen.valid | chosen.taken),
            lane_ends.eq(walking & ((left & ~lowest) == 0) & (take | (left == 0))),
            walked.eq(lane_ends & (lane == config.lanes - 1)),
        ]
        with m.If(take):
            m.d.sync += [chosen.valid.eq(walking & (left != 0)), chosen.lane.eq(lane)]
            for bit in range(len(chosen.channel)):
                places = [lowest[index] for index in range(config.slice_channels) if index >> bit & 1]
                m.d.sync += chosen.channel[bit].eq(Cat(places).any())
        with m.If(lane_ends):
            m.d.sync += [lane.eq(lane + 1), left.eq(Array(members)[lane])]
        with m.Elif(walking & take):
            m.d.sync += left.eq(left & ~lowest)
        return chosen

    def _find(self, m: Module, chosen: _Chosen, given: Signal) -> _Found:
        """The chosen pair's records into registers. A lane has one pair of a channel in a turn: `given` is of turns before."""
        found = _Found(self._config, self.row, self.bias, self.counts)
        m.d.comb += [self.channel.eq(chosen.channel), chosen.taken.eq(~found.valid | found.taken)]
        with m.If(chosen.taken):
            m.d.sync += [
                found.valid.eq(chosen.valid),
                found.lane.eq(chosen.lane),
                found.channel.eq(chosen.channel),
                found.bias_due.eq((self.bias_known & ~given).bit_select(chosen.channel, 1) & (self.bias.owner == chosen.lane)),
                found.weights.eq(self.row.weights),
                found.step_start.eq(self.row.step_start[chosen.lane]),
                found.counts.eq(self.counts),
                found.bias.eq(self.bias),
            ]
        return found

    def _passes(self, m: Module, found: _Found, given: Signal, base: Signal) -> None:
        """One or two passes for the pair that was found, of which the last takes a weight and marks its channel `given`."""
        m.submodules.weights = weights = PackedReader(weight_record(self._config))
        biased, bias_pass, pair_pass = Signal(), Signal(), Signal()
        m.d.comb += [
            bias_pass.eq(found.valid & found.bias_due & ~biased),
            pair_pass.eq(weights.enable & weights.valid),
            found.taken.eq(pair_pass),
            weights.restart.eq(self.restart),
            weights.enable.eq(found.valid & ~bias_pass),
            weights.words.payload.eq(self.words.payload),
            weights.words.valid.eq(self.words.valid),
        ]
        with m.If(weights.enable):
            m.d.comb += self.words.ready.eq(weights.words.ready)
        with m.If(pair_pass & biased):
            m.d.sync += given.bit_select(found.channel, 1).eq(1)
        m.d.sync += biased.eq(bias_pass | (biased & ~pair_pass))
        operand = Mux(bias_pass, found.bias.expand_bias, weights.row.as_signed())
        self._pair_rows(m, found, pair_pass, bias_pass, biased, operand, base)

    def _member_rows(self, m: Module, records: RecordReader) -> None:
        """The record is kept while its rows are written."""
        valid = Signal(MEMBER_CYCLES)
        m.d.sync += valid.eq((valid << 1) | records.valid)
        m.d.comb += [self.members.eq(records.kept.members), self.member_valid.eq(valid[-1])]
        with m.If(self.restart):
            m.d.sync += self.member_row.eq(0)
        with m.Elif(self.member_valid):
            m.d.sync += self.member_row.eq(self.member_row + 1)

    def _pair_rows(
        self, m: Module, found: _Found, pair_pass: Signal, bias_pass: Signal, biased: Signal, operand: Any, base: Signal
    ) -> None:
        """Cycle 1: D and what it is multiplied by. 2: sums of terms. 3: products: of b1 for a row of biases, or the pair's."""
        config, lane, depths = self._config, found.lane, self._config.depths
        widths = config.widths
        rows, biases = (
            Array(Signal(index_bits(depth), name=f"{name}_of_lane{index}") for index in range(config.lanes))
            for name, depth in (("row", depths.pair), ("bias_row", depths.bias))
        )
        operand_due, weights = Signal(signed(max(widths.bias_product, widths.weight))), Signal.like(found.weights)
        due: Any = Signal(struct(pair_row(config)))
        m.d.sync += [
            weights.eq(found.weights),
            operand_due.eq(operand),
            due.accumulator_base.eq(base),
            due.step_start.eq(found.step_start),
            due.step_count.eq(found.counts),
            due.owns_bias.eq(biased),
            due.bias_row.eq(Mux(biased, biases[lane], 0)),
        ]
        for counts, counted in ((rows, pair_pass), (biases, pair_pass & biased)):
            for index, count in enumerate(counts):
                with m.If(self.restart):
                    m.d.sync += count.eq(0)
                with m.Elif(counted & (lane == index)):
                    m.d.sync += count.eq(count + 1)

        products: Any = Signal(data.ArrayLayout(signed(max(widths.bias_product, widths.product)), config.taps))
        for product, weight in zip(products, weights, strict=True):
            sums, less = shifted_terms(operand_due, weight)
            m.d.sync += product.eq(tree_sum([delay(m, value, 1) for value in sums]) - delay(m, less, 1))
        for row in (self.pair, self.biases):
            m.d.comb += [place.eq(product) for place, product in zip(row.products, products, strict=True)]
        m.d.comb += [
            self.pair_valid.eq(delay_flags(m, pair_pass, PIPELINE_CYCLES, Const(0))[-1]),
            self.pair_lane.eq(delay(m, lane, PIPELINE_CYCLES)),
            self.pair_row.eq(delay(m, rows[lane], PIPELINE_CYCLES)),
            self.bias_valid.eq(delay_flags(m, bias_pass, PIPELINE_CYCLES, Const(0))[-1]),
            self.bias_row.eq(delay(m, biases[lane], PIPELINE_CYCLES)),
            self.biases.bias.eq(delay(m, found.bias.bias, PIPELINE_CYCLES)),
        ]
        for name in ("accumulator_base", "step_start", "step_count", "owns_bias", "bias_row"):
            m.d.sync += self.pair[name].eq(delay(m, Value.cast(due[name]), 1))
