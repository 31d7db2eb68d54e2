"""The sequence of a job's phases, in a cluster or the image unit."""

from typing import Any

from amaranth.hdl import Const, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract import descriptor
from hw.contract.layout import Layout
from hw.rtl.interfaces import ACTIVITY, JOB, READ_DATA, READ_REQUEST, REPORT, WRITE, struct

CYCLE_BITS = next(item.bits for item in descriptor.REPORT.fields if item.name == "start_cycle")


class JobSequencer(wiring.Component):
    """Takes jobs through their phases: tables, work, report. Loads the next job's tables meanwhile.

    Parameters: `halves` of the memories for tables; with one, tables are loaded only while no job runs.

    Members: `jobs` in; `next_job` is held from acceptance until it becomes `job`, that until the report; one-cycle pulses
    `start_tables` (of `next_job`), `start` when they are loaded, each answered by `tables_done`, `done`, which count from the
    cycle after the pulse; `reports` carries job number and cycles (the cluster adds the counters); `hold`: jobs taken while it
    is high become `job` after it has fallen, and with late_tables have their tables loaded only then; `idle` while there is no
    job that is not held; `active` in the cycles from start_cycle to end_cycle of a report; `report_held` keeps the report of an
    ended job back.
    """

    jobs: stream.Interface
    next_job: data.View
    job: data.View
    hold: Signal
    idle: Signal
    cycle: Signal
    start_tables: Signal
    tables_done: Signal
    start: Signal
    done: Signal
    start_cycle: Signal
    end_cycle: Signal
    report_valid: Signal
    report_ready: Signal
    report_held: Signal
    active: Signal

    def __init__(self, halves: int) -> None:
        self._halves = halves
        super().__init__(
            {
                "jobs": In(stream.Signature(JOB)),
                "next_job": Out(JOB),
                "job": Out(JOB),
                "hold": In(1),
                "idle": Out(1),
                "cycle": In(CYCLE_BITS),
                "start_tables": Out(1),
                "tables_done": In(1),
                "start": Out(1),
                "done": In(1),
                "start_cycle": Out(CYCLE_BITS),
                "end_cycle": Out(CYCLE_BITS),
                "report_valid": Out(1),
                "report_ready": In(1),
                "report_held": In(1),
                "active": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        waiting, held, running, begin = Signal(), Signal(), Signal(), Signal()
        first_cycle = Signal(CYCLE_BITS)
        m.d.comb += [
            self.jobs.ready.eq(~waiting),
            self.idle.eq(~running & (self.hold | ~self.jobs.valid) & ((self.hold & held) | ~waiting)),
        ]
        with m.If(~self.active):
            m.d.sync += first_cycle.eq(self.cycle + 1)
        with m.If(~self.hold):
            m.d.sync += held.eq(0)
        with m.FSM():
            with m.State("empty"):
                m.d.sync += self.next_job.eq(self.jobs.payload)
                with m.If(self.jobs.valid):
                    m.d.sync += [waiting.eq(1), held.eq(self.hold)]
                    m.next = "taken"
            with m.State("taken"):
                # The half may still be in use by a job of a program that does not alternate, or the tables may not be complete.
                incomplete = self.next_job.late_tables & self.hold & held
                other = self.job.half != self.next_job.half if self._halves > 1 else Const(0)
                with m.If((~running | other) & ~incomplete):
                    m.d.comb += self.start_tables.eq(1)
                    m.next = "tables"
            with m.State("tables"):
                with m.If(self.tables_done & ~running & ~(self.hold & held)):
                    m.d.comb += begin.eq(1)
                    m.d.sync += [self.job.eq(self.next_job), self.start_cycle.eq(first_cycle), waiting.eq(0)]
                    m.next = "empty"
        with m.FSM() as work:
            m.d.comb += [
                running.eq(~work.ongoing("idle")),
                self.start.eq(work.ongoing("start")),
                self.active.eq(~self.idle & ~work.ongoing("report")),
            ]
            with m.State("idle"):
                with m.If(begin):
                    m.next = "start"
            with m.State("start"):
                m.next = "work"
            with m.State("work"):
                m.d.sync += self.end_cycle.eq(self.cycle)
                with m.If(self.done):
                    m.next = "report"
            with m.State("report"):
                m.d.comb += self.report_valid.eq(~self.report_held)
                with m.If(self.report_valid & self.report_ready):
                    m.next = "idle"
        return m

    def serve(self, m: Module, unit: Any) -> None:
        """Connect what a unit with the members of cluster_signature has to do with jobs; counters are left to the unit."""
        wiring.connect(m, wiring.flipped(unit.jobs), self.jobs)
        report = unit.reports.payload
        m.d.comb += [
            self.hold.eq(unit.hold),
            unit.idle.eq(self.idle),
            self.cycle.eq(unit.cycle),
            unit.reports.valid.eq(self.report_valid),
            self.report_ready.eq(unit.reports.ready),
            report.job.eq(self.job.job),
            report.start_cycle.eq(self.start_cycle),
            report.end_cycle.eq(self.end_cycle),
        ]

    def count(self, m: Module, unit: Any, counters: Any) -> None:
        """Connect a unit's ActivityCounters; what the unit's parts do is left to it."""
        wiring.connect(m, counters.activity, wiring.flipped(unit.activity))
        m.d.comb += [
            unit.observed.active.eq(self.active),
            unit.counts_pending.eq(counters.pending),
            counters.observed.eq(unit.observed),
            counters.job.eq(self.job.job),
            counters.ended.eq(self.report_valid & self.report_ready),
            self.report_held.eq(~counters.ready),
        ]


def cluster_signature(observed: Layout) -> wiring.Signature:
    """The members of a cluster, or of what looks like one, whose units are observed in this layout."""
    return wiring.Signature(
        {
            "jobs": In(stream.Signature(JOB)),
            "hold": In(1),
            "idle": Out(1),
            "cycle": In(CYCLE_BITS),
            "read_request": Out(READ_REQUEST),
            "read_data": In(READ_DATA),
            "write": Out(WRITE),
            "reports": Out(REPORT),
            "observed": Out(struct(observed)),
            "activity": Out(ACTIVITY),
            "counts_pending": Out(1),
            "bad_tables": Out(1),
            "bad_job": Out(descriptor.JOB_BITS),
        }
    )
