"""One lane: survivor scan, accumulation into double-buffered banks, multiplication."""

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.activity import LANE_UNITS, OBSERVATION_BITS, Unit
from hw.contract.config import ArchonConfig
from hw.rtl.accumulator import COUNTER_BITS, Accumulator
from hw.rtl.accumulator_bank import AccumulatorBank, BankCounter
from hw.rtl.activity_counters import observation
from hw.rtl.interfaces import JOB, PARTIAL, lane_activation_write, slice_word, survivor, table_write
from hw.rtl.multiplier import Multiplier
from hw.rtl.queue import Queue
from hw.rtl.step_fetch import StepFetch
from hw.rtl.survivor_scan import SurvivorScan


def lane_signature(config: ArchonConfig) -> wiring.Signature:
    """The members of a lane."""
    return wiring.Signature(
        {
            "job": In(JOB),
            "start": In(1),
            "table_write": In(table_write(config)),
            "activation_write": In(lane_activation_write(config)),
            "words": In(stream.Signature(slice_word(config))),
            "partials": Out(PARTIAL),
            "multiplications": Out(COUNTER_BITS),
            "additions": Out(COUNTER_BITS),
            "steps": Out(COUNTER_BITS),
            "observed": Out(data.ArrayLayout(OBSERVATION_BITS, len(LANE_UNITS))),
        }
    )


class Lane(wiring.Component):
    """Owns one input channel of the job's group in each turn, with one multiplier.

    Members: `job`, `start`; `table_write` and `activation_write`, only what is meant for this lane, fill the half of the
    tables that the job does not use, and activations between jobs; `words` the
    masks of every slice of every pixel; `partials` the lane's share of y, per pixel one for each output channel; counters
    `multiplications`, `additions`, `steps` since `start`; `observed` an Observation of each of LANE_UNITS, where the
    configuration has counters.

    While one bank fills for a pixel the other is drained for the pixel before; queues before scan, accumulation and
    reduction let lanes run ahead of each other.
    """

    job: data.View
    start: Signal
    table_write: Any
    activation_write: Any
    words: stream.Interface
    partials: stream.Interface
    multiplications: Signal
    additions: Signal
    steps: Signal
    observed: data.View

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__(lane_signature(config))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self._config
        m.submodules.word_queue = word_queue = Queue(slice_word(config), config.queues.slice_word)
        m.submodules.scan = scan = SurvivorScan(config)
        m.submodules.survivor_queue = survivor_queue = Queue(survivor(config), config.queues.survivor)
        m.submodules.step_fetch = step_fetch = StepFetch(config)
        m.submodules.accumulator = accumulator = Accumulator(config)
        m.submodules.multiplier = multiplier = Multiplier(config)
        m.submodules.partial_queue = partial_queue = Queue(PARTIAL.create().payload.shape(), config.queues.partial)
        m.submodules.bank_counter = bank_counter = BankCounter(config)

        wiring.connect(m, wiring.flipped(self.words), word_queue.input)
        wiring.connect(m, word_queue.output, scan.words)
        wiring.connect(m, scan.survivors, survivor_queue.input)
        wiring.connect(m, survivor_queue.output, step_fetch.survivors)
        wiring.connect(m, step_fetch.steps, accumulator.steps)
        wiring.connect(m, multiplier.partials, partial_queue.input)
        wiring.connect(m, partial_queue.output, wiring.flipped(self.partials))
        wiring.connect(m, wiring.flipped(self.table_write), scan.table_write)
        wiring.connect(m, wiring.flipped(self.table_write), step_fetch.table_write)
        wiring.connect(m, wiring.flipped(self.activation_write), multiplier.activation_write)
        m.d.comb += [
            scan.job.eq(self.job),
            step_fetch.job.eq(self.job),
            multiplier.job.eq(self.job),
            scan.start.eq(self.start),
            accumulator.start.eq(self.start),
            multiplier.start.eq(self.start),
            bank_counter.start.eq(self.start),
            self.multiplications.eq(multiplier.multiplications),
            self.additions.eq(accumulator.additions),
            self.steps.eq(accumulator.steps_done),
        ]
        self._connect_banks(m, accumulator, multiplier, bank_counter)
        if config.counters:
            survivors, steps, partials = scan.survivors, step_fetch.steps, multiplier.partials
            scan_held = survivors.valid & ~survivors.ready
            seen = {
                Unit.SURVIVOR_SCAN: observation((scan.words.valid | survivors.valid) & ~scan_held, scan_held),
                Unit.ACCUMULATORS: observation(steps.valid & steps.ready & ~steps.payload.end, steps.valid & ~steps.ready),
                Unit.MULTIPLIERS: observation(multiplier.multiplies, partials.valid & ~partials.ready),
            }
            m.d.comb += [self.observed[index].eq(seen[unit]) for index, unit in enumerate(LANE_UNITS)]
        return m

    def _connect_banks(self, m: Module, accumulator: Accumulator, multiplier: Multiplier, bank_counter: BankCounter) -> None:
        """Bank `filling` belongs to the accumulator, the other to the multiplier; both are cleared when a job starts."""
        filling = Signal()
        with m.If(accumulator.swap):
            m.d.sync += filling.eq(~filling)
        m.d.comb += [
            accumulator.enable.eq(~bank_counter.busy & ~self.start),
            accumulator.swap_ready.eq(~multiplier.busy),
            multiplier.begin.eq(accumulator.swap),
        ]
        for index in range(2):
            m.submodules[f"bank{index}"] = bank = AccumulatorBank(self._config)
            for user, selected in ((accumulator, filling == index), (multiplier, filling != index)):
                with m.If(selected):
                    wiring.connect(m, user.bank, bank.port)
            with m.If(bank_counter.busy):
                m.d.comb += [
                    bank.port.address.eq(bank_counter.row),
                    bank.port.output.eq(bank_counter.row),
                    bank.port.write_taps.eq(0),
                    bank.port.clear_taps.eq(1),
                    bank.port.write_bias.eq(1),
                    bank.port.new_bias.eq(0),
                ]
