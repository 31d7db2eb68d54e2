"""One cluster: loaders, predictor, lanes and requantisation."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import stream, wiring

from hw.contract.activity import CLUSTER_UNITS, LANE_UNITS, Unit, observed
from hw.contract.config import ArchonConfig
from hw.rtl.activation_loader import ActivationLoader
from hw.rtl.activity_counters import ActivityCounters, handed_over, loading, observation
from hw.rtl.arbiter import QUEUE_DEPTH, ReadArbiter
from hw.rtl.interfaces import PARTIAL, drive
from hw.rtl.job_sequencer import JobSequencer, cluster_signature
from hw.rtl.lane import lane_signature
from hw.rtl.pipeline import pipelined_sum
from hw.rtl.predictor import Predictor
from hw.rtl.queue import Queue
from hw.rtl.reduction import Reduction
from hw.rtl.requantizer import Requantizer
from hw.rtl.residual_reader import ResidualReader
from hw.rtl.shared import shared
from hw.rtl.summation import Summation
from hw.rtl.table_loader import TableLoader
from hw.rtl.write_combiner import WriteCombiner


class Cluster(wiring.Component):
    """`lanes` lanes behind one predictor; runs whole jobs on its own.

    Members: `jobs` in, `hold`, `idle`: see JobSequencer; `read_request`, `read_data`, `write` to external memory; `reports`
    one per finished job; `cycle` the clock cycles since reset, for the reports; `bad_tables`: the table segment of the job with
    number `bad_job` is not what the job needs (TableLoader); only a reset helps. Where the configuration has counters,
    `observed` what the units do in this cycle, `activity` counts of that after each report, `counts_pending` while some are
    still to be taken.
    """

    jobs: stream.Interface
    hold: Signal
    idle: Signal
    cycle: Signal
    read_request: stream.Interface
    read_data: stream.Interface
    write: stream.Interface
    reports: stream.Interface
    observed: Any
    activity: stream.Interface
    counts_pending: Signal
    bad_tables: Signal
    bad_job: Signal

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__(cluster_signature(observed(CLUSTER_UNITS, config)))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self._config
        m.submodules.sequencer = sequencer = JobSequencer(config.table_halves)
        m.submodules.table_loader = tables = TableLoader(config)
        m.submodules.activation_loader = activations = ActivationLoader(config)
        m.submodules.predictor = predictor = Predictor(config)
        lanes = [shared(m, "lane", f"lane{index}", lane_signature(config)) for index in range(config.lanes)]
        m.submodules.reduction = reduction = Reduction(config)
        m.submodules.sums = sums = Queue(PARTIAL.create().payload.shape(), QUEUE_DEPTH)
        m.submodules.summation = summation = Summation(config)
        m.submodules.residual_reader = residual = ResidualReader(config)
        m.submodules.requantizer = requantizer = Requantizer(config)
        m.submodules.combiner = combiner = WriteCombiner()
        m.submodules.read_arbiter = arbiter = ReadArbiter(3, config.queues.residual, background=1)

        # Phases.
        sequencer.serve(m, self)
        m.d.comb += [
            tables.start.eq(sequencer.start_tables),
            sequencer.tables_done.eq(tables.done),
            self.bad_tables.eq(tables.bad),
            self.bad_job.eq(sequencer.next_job.job),
            activations.start.eq(sequencer.start & ~sequencer.job.same_input),
            sequencer.done.eq(activations.done & summation.finished & requantizer.finished & combiner.empty),
            combiner.flush.eq(requantizer.finished),
        ]
        # Activations are loaded while the predictor, or lanes in fixed jobs, go on row by row.
        m.d.comb += predictor.rows_loaded.eq(activations.rows_loaded)
        for lane in lanes:
            m.d.comb += [lane.rows_loaded.eq(activations.rows_loaded), lane.loaded.eq(activations.done)]
        m.d.comb += tables.job.eq(sequencer.next_job)
        for unit in (activations, predictor, reduction, summation, residual, requantizer, *lanes):
            m.d.comb += unit.job.eq(sequencer.job)
        for unit in (predictor, reduction, summation, residual, requantizer, *lanes):
            m.d.comb += unit.start.eq(sequencer.start)

        # Buses that fill tables and activations.
        for unit in (predictor, residual, requantizer):
            m.d.comb += drive(unit.table_write, tables.table_write)
        m.d.comb += drive(predictor.activation_write, activations.activation_write)
        for index, lane in enumerate(lanes):
            m.d.comb += drive(lane.table_write, tables.lane_writes[index])
            for name in lane.activation_write.signature.members:
                m.d.comb += getattr(lane.activation_write, name).eq(getattr(activations.activation_write, name)[index])

        # Predictor, lanes, outputs.
        self._fork_words(m, predictor, lanes)
        for lane, partials in zip(lanes, reduction.partials, strict=True):
            wiring.connect(m, lane.partials, partials)
        # The queue parts the handshake of the lanes from that of what comes after them.
        wiring.connect(m, reduction.sums, sums.input)
        wiring.connect(m, sums.output, summation.sums)
        wiring.connect(m, summation.totals, requantizer.sums)
        wiring.connect(m, residual.activations, requantizer.residual)
        wiring.connect(m, requantizer.write, combiner.input)
        wiring.connect(m, combiner.output, wiring.flipped(self.write))

        # Memory.
        readers: list[Any] = [activations, residual, tables]
        for client, reader in zip(arbiter.clients, readers, strict=True):
            wiring.connect(m, reader.read_request, client.read_request)
            wiring.connect(m, client.read_data, reader.read_data)
        wiring.connect(m, arbiter.read_request, wiring.flipped(self.read_request))
        wiring.connect(m, wiring.flipped(self.read_data), arbiter.read_data)
        self._count(m, lanes)
        if config.counters:
            m.submodules.counters = counters = ActivityCounters(config)
            sequencer.count(m, self, counters)
            seen: dict[Unit, Any] = {
                Unit.TABLE_LOADER: loading(_writes(tables), tables),
                Unit.ACTIVATION_LOADER: loading(activations.activation_write.enable.any(), activations),
                Unit.RESIDUAL_READER: loading(residual.read_data.valid & residual.read_data.ready, residual),
                Unit.EXPAND_PREDICTOR: predictor.expand_observed,
                Unit.DEPTHWISE_PREDICTOR: predictor.depthwise_observed,
                Unit.REDUCTION: observation(Cat(lane.ready for lane in reduction.partials).any(), reduction.sums.valid),
                Unit.REQUANTIZER: observation(
                    requantizer.sums.valid & requantizer.sums.ready, requantizer.write.valid & ~requantizer.write.ready
                ),
                Unit.READ_PORT: loading(self.read_data.valid & self.read_data.ready, self),
                Unit.WRITE_PORT: handed_over(self.write),
            }
            m.d.comb += [self.observed[unit.label][0].eq(state) for unit, state in seen.items()]
            for unit in LANE_UNITS:
                m.d.comb += self.observed[unit.label].eq(Cat(lane.observed[unit.label] for lane in lanes))
        return m

    def _fork_words(self, m: Module, predictor: Predictor, lanes: list[Any]) -> None:
        """A slice word goes to all lanes in the same cycle."""
        ready = Cat(lane.words.ready for lane in lanes).all()
        m.d.comb += predictor.words.ready.eq(ready)
        for lane in lanes:
            m.d.comb += [lane.words.payload.eq(predictor.words.payload), lane.words.valid.eq(predictor.words.valid & ready)]

    def _count(self, m: Module, lanes: list[Any]) -> None:
        """The report's counters: a job's last output leaves long after what it counts is here."""
        report = self.reports.payload
        for name in ("multiplications", "additions", "steps"):
            m.d.comb += report[name].eq(pipelined_sum(m, [getattr(lane, name) for lane in lanes]))


def _writes(tables: TableLoader) -> Value:
    """Whether the table loader writes a row, or takes a word."""
    rows = Cat(tables.table_write.valid, *(bus.valid for bus in tables.lane_writes))
    return rows.any() | (tables.read_data.valid & tables.read_data.ready)
