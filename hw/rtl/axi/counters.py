"""Performance counters that are read all at once."""

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.contract import descriptor
from hw.contract.registers import COUNTER_BITS, COUNTERS
from hw.rtl.interfaces import struct


class Counters(wiring.Component):
    """The counters of the contract.

    Members: `clear` sets all to 0; for each cycle in which they are high, `running`, `word_read`, `word_written` and `row` (of
    activity) count one, and `job_ended` the work of `report`; `snapshot` shows all counters as they are in this cycle, this
    cycle's counts not included, from the next one on; NAME out, one struct for each register in COUNTERS.
    """

    clear: Signal
    running: Signal
    word_read: Signal
    word_written: Signal
    job_ended: Signal
    row: Signal
    report: Any
    snapshot: Signal

    def __init__(self) -> None:
        inputs = ("clear", "running", "word_read", "word_written", "job_ended", "row", "snapshot")
        outputs = {register.name: Out(struct(register.layout)) for register in COUNTERS}
        super().__init__({**{name: In(1) for name in inputs}, "report": In(struct(descriptor.REPORT)), **outputs})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        ended, report = self.job_ended, self.report
        conditions: dict[str, tuple[Any, Any]] = {
            "cycles": (self.running, 1),
            "words_read": (self.word_read, 1),
            "words_written": (self.word_written, 1),
            "jobs": (ended, 1),
            "multiplications": (ended, report.multiplications),
            "additions": (ended, report.additions),
            "steps": (ended, report.steps),
            "activity_rows": (self.row, 1),
        }
        for register in COUNTERS:
            count, shown = Signal(COUNTER_BITS, name=f"{register.name}_now"), getattr(self, register.name).count
            condition, amount = conditions[register.name]
            with m.If(self.clear):
                m.d.sync += count.eq(0)
            with m.Elif(condition):
                m.d.sync += count.eq(count + amount)
            with m.If(self.snapshot):
                m.d.sync += shown.eq(count)
        return m
