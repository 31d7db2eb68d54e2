"""The image unit: raw images in external memory become the stem's input."""

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring

from hw.contract.activity import IMAGE_UNITS, Unit, observed
from hw.contract.config import ArchonConfig
from hw.rtl.activity_counters import ActivityCounters, handed_over, loading, observation
from hw.rtl.image_loader import ImageLoader
from hw.rtl.image_rows import ImageRows
from hw.rtl.image_windows import ImageWindows
from hw.rtl.job_sequencer import JobSequencer, cluster_signature


class ImageUnit(wiring.Component):
    """Turns raw images into tensors of their 3x3 windows; runs whole jobs on its own, beside the clusters.

    Parameters: `config`.

    Members: those of a cluster, with IMAGE_UNITS observed. Jobs are described in hw.contract.descriptor; the counters of their
    reports are 0.

    A job's table of levels is read as soon as all bytes of the image before are. Throughput: one byte of the image in, one
    word of the tensor out a cycle, whichever takes longer; two image rows are read before the first word is written.
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
    """Stays low: its table has one size."""
    bad_job: Signal

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__(cluster_signature(observed(IMAGE_UNITS, config)))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.sequencer = sequencer = JobSequencer(self._config.table_halves)
        m.submodules.loader = loader = ImageLoader(self._config)
        m.submodules.rows = rows = ImageRows(self._config)
        m.submodules.windows = windows = ImageWindows(self._config)
        sequencer.serve(m, self)
        wiring.connect(m, loader.read_request, wiring.flipped(self.read_request))
        wiring.connect(m, wiring.flipped(self.read_data), loader.read_data)
        wiring.connect(m, loader.pixel_write, rows.pixel_write)
        wiring.connect(m, windows.pixel_read, rows.pixel_read)
        wiring.connect(m, windows.write, wiring.flipped(self.write))
        m.d.comb += [
            loader.next_job.eq(sequencer.next_job),
            loader.start_levels.eq(sequencer.start_tables),
            sequencer.tables_done.eq(loader.levels_done),
            loader.job.eq(sequencer.job),
            windows.job.eq(sequencer.job),
            # Windows are written while the image is still read.
            loader.start.eq(sequencer.start),
            windows.start.eq(sequencer.start),
            sequencer.done.eq(loader.done & windows.done),
            loader.rows_needed_from.eq(windows.rows_needed_from),
            windows.rows_done.eq(loader.rows_done),
        ]
        if self._config.counters:
            m.submodules.counters = counters = ActivityCounters(self._config, IMAGE_UNITS)
            sequencer.count(m, self, counters)
            seen: dict[Unit, Any] = {
                Unit.READ_PORT: loading(self.read_data.valid & self.read_data.ready, self),
                Unit.WRITE_PORT: handed_over(self.write),
                Unit.IMAGE_LOADER: observation(loader.busy, loader.blocked),
                Unit.IMAGE_WINDOWS: observation(
                    windows.pixel_read.enable | (windows.write.valid & windows.write.ready), windows.write.valid
                ),
            }
            m.d.comb += [self.observed[unit.label][0].eq(state) for unit, state in seen.items()]
        return m
