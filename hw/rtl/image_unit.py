"""The image unit: raw images in external memory become the stem's input."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring

from hw.contract.config import ArchonConfig
from hw.rtl.image_loader import ImageLoader
from hw.rtl.image_rows import ImageRows
from hw.rtl.image_windows import ImageWindows
from hw.rtl.job_sequencer import JobSequencer, cluster_signature


class ImageUnit(wiring.Component):
    """Turns raw images into tensors of their 3x3 windows; runs whole jobs on its own, beside the clusters.

    Parameters: `config`.

    Members: those of a cluster. Jobs are described in hw.contract.descriptor; the counters of their reports are 0.

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
    bad_tables: Signal
    """Stays low: its table has one size."""
    bad_job: Signal

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__(cluster_signature())

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.sequencer = sequencer = JobSequencer()
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
        return m
