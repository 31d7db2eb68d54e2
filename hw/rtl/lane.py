"""One lane: survivor scan, accumulation into banks that take turns, multiplication."""

from collections.abc import Mapping, Sequence
from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.activity import Unit, lane_observed
from hw.contract.config import DIMENSION_BITS, ArchonConfig
from hw.rtl.accumulator import COUNTER_BITS, Accumulator
from hw.rtl.accumulator_bank import AccumulatorBank
from hw.rtl.activity_counters import observation
from hw.rtl.arithmetic import tree_sum
from hw.rtl.interfaces import JOB, PARTIAL, lane_activation_write, slice_word, struct, survivor, table_write
from hw.rtl.multiplier import Multiplier, WindowAddress
from hw.rtl.pair_fetch import PairFetch
from hw.rtl.queue import Queue
from hw.rtl.row_walker import RowWalker, walked_row
from hw.rtl.step_fetch import StepFetch
from hw.rtl.survivor_scan import SurvivorScan


def lane_signature(config: ArchonConfig) -> wiring.Signature:
    """The members of a lane."""
    return wiring.Signature(
        {
            "job": In(JOB),
            "start": In(1),
            "rows_loaded": In(DIMENSION_BITS),
            "loaded": In(1),
            "table_write": In(table_write(config)),
            "activation_write": In(lane_activation_write(config)),
            "words": In(stream.Signature(slice_word(config))),
            "partials": Out(PARTIAL),
            "multiplications": Out(COUNTER_BITS),
            "additions": Out(COUNTER_BITS),
            "steps": Out(COUNTER_BITS),
            "observed": Out(struct(lane_observed(config))),
        }
    )


class Lane(wiring.Component):
    """Owns one input channel of the job's group in each turn, with one multiplier.

    Members: `job`, `start`; `rows_loaded` first image row of which not all activations were written, `loaded`: all of the job
    were, both from the cycle after `start` on, which only fixed jobs wait for; `table_write` and `activation_write`, only what
    is meant for this lane, fill the half of the tables that the job does not use, and activations; `words` the
    masks of every slice of every pixel; `partials` the lane's share of y, per pixel one for each output channel; counters
    `multiplications`, `additions`, `steps` since `start`; `observed` Observations of LANE_UNITS, where the
    configuration has counters.

    The adder rows accumulate independently of each other; each has a bank for each pixel of config.pixel_tile. While one fills
    for a pixel the others are drained for the pixels before; queues before scan, accumulation and reduction let lanes run ahead
    of each other.
    """

    job: data.View
    start: Signal
    rows_loaded: Signal
    loaded: Signal
    table_write: Any
    activation_write: Any
    words: stream.Interface
    partials: stream.Interface
    multiplications: Signal
    additions: Signal
    steps: Signal
    observed: Any

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__(lane_signature(config))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self._config
        m.submodules.word_queue = word_queue = Queue(slice_word(config), config.queues.slice_word)
        m.submodules.scan = scan = SurvivorScan(config)
        m.submodules.survivor_queue = survivor_queue = Queue(survivor(config), config.queues.survivor)
        m.submodules.pair_fetch = pair_fetch = PairFetch(config)
        m.submodules.walker = walker = RowWalker(config)
        m.submodules.row_queue = row_queue = Queue(walked_row(config), config.queues.row)
        m.submodules.window = window = WindowAddress(config)
        m.submodules.multiplier = multiplier = Multiplier(config)

        wiring.connect(m, wiring.flipped(self.words), word_queue.input)
        wiring.connect(m, word_queue.output, scan.words)
        wiring.connect(m, scan.survivors, survivor_queue.input)
        wiring.connect(m, survivor_queue.output, pair_fetch.survivors)
        wiring.connect(m, walker.rows, row_queue.input)
        wiring.connect(m, row_queue.output, multiplier.rows)
        wiring.connect(m, multiplier.partials, wiring.flipped(self.partials))
        for unit in (scan, pair_fetch):
            wiring.connect(m, wiring.flipped(self.table_write), unit.table_write)
        wiring.connect(m, wiring.flipped(self.activation_write), multiplier.activation_write)
        m.d.comb += [unit.job.eq(self.job) for unit in (scan, pair_fetch, walker, window)]
        m.d.comb += [unit.start.eq(self.start) for unit in (scan, window, multiplier)]
        m.d.comb += [getattr(window, name).eq(getattr(walker, name)) for name in ("next_turn", "first_turn", "next_pixel")]
        m.d.comb += [getattr(walker, name).eq(getattr(window, name)) for name in ("inside", "last_pixel", "base", "there")]
        m.d.comb += [window.rows_loaded.eq(self.rows_loaded), window.loaded.eq(self.loaded)]
        m.d.comb += [window.centre.eq(multiplier.centre), window.tap.eq(multiplier.tap), multiplier.address.eq(window.address)]
        released = Signal(config.pixel_tile)
        m.d.comb += released.eq(multiplier.released | walker.cleared.replicate(config.pixel_tile))
        rows = [self._adder_row(m, index, pair_fetch, walker, multiplier, released) for index in range(config.adder_rows)]
        filled = [Cat(waiting[bank] for waiting, _, _ in rows).all() for bank in range(config.pixel_tile)]
        m.d.comb += walker.filled.eq(Cat(filled))
        self._count(m, multiplier, [accumulator for _, _, accumulator in rows])
        if config.counters:
            fetches = [fetch for _, fetch, _ in rows]
            self._observe(m, {Unit.SURVIVOR_SCAN: [scan], Unit.ACCUMULATORS: fetches, Unit.MULTIPLIERS: [multiplier]})
        return m

    def _adder_row(
        self, m: Module, index: int, pair_fetch: PairFetch, walker: RowWalker, multiplier: Multiplier, released: Signal
    ) -> tuple[Signal, StepFetch, Accumulator]:
        """One adder row. Returns: which of its banks wait for the walker; its steps; its accumulator."""
        config = self._config
        m.submodules[f"step_fetch{index}"] = step_fetch = StepFetch(config, index)
        m.submodules[f"accumulator{index}"] = accumulator = Accumulator(config)
        wiring.connect(m, pair_fetch.pairs[index], step_fetch.pairs)
        wiring.connect(m, wiring.flipped(self.table_write), step_fetch.table_write)
        m.d.comb += [step_fetch.job.eq(self.job), step_fetch.released.eq(released), accumulator.step.eq(step_fetch.step)]
        tile = config.pixel_tile
        waiting, full = Signal(tile, name=f"waiting{index}"), Signal(tile, init=-1, name=f"full{index}")
        m.d.sync += [
            waiting.eq((waiting & ~walker.walked) | accumulator.filled),
            full.eq((full & ~released) | accumulator.filled),
        ]
        for number in range(tile):
            m.submodules[f"bank{index}_{number}"] = bank = AccumulatorBank(config)
            wiring.connect(m, accumulator.banks[number], bank.fill)
            wiring.connect(m, walker.banks[index][number], bank.walk)
            wiring.connect(m, multiplier.entries[index][number], bank.entry)
            m.d.comb += bank.full.eq(full[number])
        return waiting, step_fetch, accumulator

    def _count(self, m: Module, multiplier: Multiplier, accumulators: list[Accumulator]) -> None:
        """Counters of the job."""
        m.d.comb += self.multiplications.eq(multiplier.multiplications)
        steps, additions = Signal(range(len(accumulators) + 1)), Signal(range(len(accumulators) << len(accumulators[0].added)))
        m.d.sync += [
            steps.eq(tree_sum([unit.stepped for unit in accumulators])),
            additions.eq(tree_sum([unit.added for unit in accumulators])),
        ]
        with m.If(self.start):
            m.d.sync += [self.additions.eq(0), self.steps.eq(0)]
        with m.Else():
            m.d.sync += [self.additions.eq(self.additions + additions), self.steps.eq(self.steps + steps)]

    def _observe(self, m: Module, parts: Mapping[Unit, Sequence[Any]]) -> None:
        """What the instances of each unit do in this cycle."""
        for unit, found in parts.items():
            for index, part in enumerate(found):
                m.d.comb += self.observed[unit.label][index].eq(observation(part.works, part.blocked))
