"""One cluster: loaders, predictor, lanes, requantisation, and the sequence of a job's phases."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract import descriptor
from hw.contract.config import ArchonConfig
from hw.rtl.activation_loader import ActivationLoader
from hw.rtl.arbiter import ReadArbiter
from hw.rtl.interfaces import JOB, READ_DATA, READ_REQUEST, REPORT, WRITE
from hw.rtl.lane import lane_signature
from hw.rtl.predictor import Predictor
from hw.rtl.reduction import Reduction
from hw.rtl.requantizer import Requantizer
from hw.rtl.residual_reader import ResidualReader
from hw.rtl.shared import shared
from hw.rtl.summation import Summation
from hw.rtl.table_loader import TableLoader

CYCLE_BITS = next(item.bits for item in descriptor.REPORT.fields if item.name == "start_cycle")


class JobSequencer(wiring.Component):
    """Takes jobs through their phases: tables, activations, compute, report. Loads the next job's tables meanwhile.

    Members: `jobs` in; `next_job` is held from acceptance until it becomes `job`, that until the report; one-cycle pulses
    `start_tables` (of `next_job`), `start_activations`, `start_compute` when the phase before is done; `reports` carries job
    number and cycles (the cluster adds the counters); `hold`: jobs taken while it is high become `job` after it has fallen;
    `idle` while there is no job that is not held.
    """

    jobs: stream.Interface
    next_job: data.View
    job: data.View
    hold: Signal
    idle: Signal
    cycle: Signal
    start_tables: Signal
    tables_done: Signal
    start_activations: Signal
    activations_done: Signal
    start_compute: Signal
    compute_done: Signal
    start_cycle: Signal
    end_cycle: Signal
    report_valid: Signal
    report_ready: Signal

    def __init__(self) -> None:
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
                "start_activations": Out(1),
                "activations_done": In(1),
                "start_compute": Out(1),
                "compute_done": In(1),
                "start_cycle": Out(CYCLE_BITS),
                "end_cycle": Out(CYCLE_BITS),
                "report_valid": Out(1),
                "report_ready": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        waiting, held, running, begin = Signal(), Signal(), Signal(), Signal()
        taken_cycle = Signal(CYCLE_BITS)
        m.d.comb += [
            self.jobs.ready.eq(~waiting),
            self.idle.eq(~running & (self.hold | ~self.jobs.valid) & ((self.hold & held) | ~waiting)),
        ]
        with m.If(~self.hold):
            m.d.sync += held.eq(0)
        with m.FSM():
            with m.State("empty"):
                m.d.sync += [self.next_job.eq(self.jobs.payload), taken_cycle.eq(self.cycle)]
                with m.If(self.jobs.valid):
                    m.d.sync += [waiting.eq(1), held.eq(self.hold)]
                    m.next = "taken"
            with m.State("taken"):
                # The half may still be in use by a job of a program that does not alternate.
                with m.If(~running | (self.job.half != self.next_job.half)):
                    m.d.comb += self.start_tables.eq(1)
                    m.next = "tables"
            with m.State("tables"):
                with m.If(self.tables_done & ~running & ~(self.hold & held)):
                    m.d.comb += begin.eq(1)
                    m.d.sync += [self.job.eq(self.next_job), self.start_cycle.eq(taken_cycle), waiting.eq(0)]
                    m.next = "empty"
        with m.FSM() as compute:
            m.d.comb += running.eq(~compute.ongoing("idle"))
            with m.State("idle"):
                with m.If(begin):
                    m.next = "start activations"
            self._phase(m, "activations", self.start_activations, self.activations_done, "start compute")
            self._phase(m, "compute", self.start_compute, self.compute_done, "report")
            with m.State("report"):
                m.d.comb += self.report_valid.eq(1)
                with m.If(self.report_ready):
                    m.next = "idle"
        return m

    def _phase(self, m: Module, name: str, start: Signal, done: Signal, following: str) -> None:
        """Pulse `start`, then wait for `done`, which counts from the cycle after the pulse."""
        with m.State(f"start {name}"):
            m.d.comb += start.eq(1)
            m.next = name
        with m.State(name):
            m.d.sync += self.end_cycle.eq(self.cycle)
            with m.If(done):
                m.next = following


def cluster_signature() -> wiring.Signature:
    """The members of a cluster."""
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
        }
    )


class Cluster(wiring.Component):
    """`lanes` lanes behind one predictor; runs whole jobs on its own.

    Members: `jobs` in, `hold`, `idle`: see JobSequencer; `read_request`, `read_data`, `write` to external memory; `reports`
    one per finished job; `cycle` the clock cycles since reset, for the reports.
    """

    jobs: stream.Interface
    hold: Signal
    idle: Signal
    cycle: Signal
    read_request: stream.Interface
    read_data: stream.Interface
    write: stream.Interface
    reports: stream.Interface

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__(cluster_signature())

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self._config
        m.submodules.sequencer = sequencer = JobSequencer()
        m.submodules.table_loader = tables = TableLoader(config)
        m.submodules.activation_loader = activations = ActivationLoader(config)
        m.submodules.predictor = predictor = Predictor(config)
        lanes = [shared(m, "lane", f"lane{index}", lane_signature(config)) for index in range(config.lanes)]
        m.submodules.reduction = reduction = Reduction(config)
        m.submodules.summation = summation = Summation(config)
        m.submodules.residual_reader = residual = ResidualReader(config)
        m.submodules.requantizer = requantizer = Requantizer(config)
        m.submodules.read_arbiter = arbiter = ReadArbiter(3, config.queues.residual, background=1)

        # Phases.
        wiring.connect(m, wiring.flipped(self.jobs), sequencer.jobs)
        m.d.comb += [
            sequencer.hold.eq(self.hold),
            self.idle.eq(sequencer.idle),
            sequencer.cycle.eq(self.cycle),
            tables.start.eq(sequencer.start_tables),
            sequencer.tables_done.eq(tables.done),
            activations.start.eq(sequencer.start_activations),
            sequencer.activations_done.eq(activations.done),
            sequencer.compute_done.eq(summation.finished & requantizer.finished),
        ]
        m.d.comb += tables.job.eq(sequencer.next_job)
        for unit in (activations, predictor, summation, residual, requantizer, *lanes):
            m.d.comb += unit.job.eq(sequencer.job)
        for unit in (predictor, summation, residual, requantizer, *lanes):
            m.d.comb += unit.start.eq(sequencer.start_compute)

        # Buses that fill tables and activations.
        for unit in (predictor, residual, requantizer):
            m.d.comb += _drive(unit.table_write, tables.table_write)
        m.d.comb += _drive(predictor.activation_write, activations.activation_write)
        for index, lane in enumerate(lanes):
            m.d.comb += _drive(lane.table_write, tables.lane_writes[index])
            for name in lane.activation_write.signature.members:
                m.d.comb += getattr(lane.activation_write, name).eq(getattr(activations.activation_write, name)[index])

        # Predictor, lanes, outputs.
        self._fork_words(m, predictor, lanes)
        for lane, partials in zip(lanes, reduction.partials, strict=True):
            wiring.connect(m, lane.partials, partials)
        wiring.connect(m, reduction.sums, summation.sums)
        wiring.connect(m, summation.totals, requantizer.sums)
        wiring.connect(m, residual.activations, requantizer.residual)
        wiring.connect(m, requantizer.write, wiring.flipped(self.write))

        # Memory.
        readers: list[Any] = [activations, residual, tables]
        for client, reader in zip(arbiter.clients, readers, strict=True):
            wiring.connect(m, reader.read_request, client.read_request)
            wiring.connect(m, client.read_data, reader.read_data)
        wiring.connect(m, arbiter.read_request, wiring.flipped(self.read_request))
        wiring.connect(m, wiring.flipped(self.read_data), arbiter.read_data)
        self._report(m, sequencer, lanes)
        return m

    def _fork_words(self, m: Module, predictor: Predictor, lanes: list[Any]) -> None:
        """A slice word goes to all lanes in the same cycle."""
        ready = Cat(lane.words.ready for lane in lanes).all()
        m.d.comb += predictor.words.ready.eq(ready)
        for lane in lanes:
            m.d.comb += [lane.words.payload.eq(predictor.words.payload), lane.words.valid.eq(predictor.words.valid & ready)]

    def _report(self, m: Module, sequencer: JobSequencer, lanes: list[Any]) -> None:
        report = self.reports.payload
        m.d.comb += [
            self.reports.valid.eq(sequencer.report_valid),
            sequencer.report_ready.eq(self.reports.ready),
            report.job.eq(sequencer.job.job),
            report.start_cycle.eq(sequencer.start_cycle),
            report.end_cycle.eq(sequencer.end_cycle),
            report.multiplications.eq(sum(lane.multiplications for lane in lanes)),
            report.additions.eq(sum(lane.additions for lane in lanes)),
            report.steps.eq(sum(lane.steps for lane in lanes)),
        ]


def _drive(sink: wiring.PureInterface, source: wiring.PureInterface) -> list[object]:
    """Assign every member of a broadcast bus."""
    return [getattr(sink, name).eq(getattr(source, name)) for name in source.signature.members]
