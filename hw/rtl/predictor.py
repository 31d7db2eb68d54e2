"""The whole predictor: both layers and the row store between them."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.activity import OBSERVATION_BITS
from hw.contract.config import DIMENSION_BITS, ArchonConfig
from hw.rtl.activity_counters import observation
from hw.rtl.depthwise_predictor import DepthwisePredictor
from hw.rtl.expand_predictor import ExpandPredictor
from hw.rtl.fixed_masks import FixedMasks
from hw.rtl.interfaces import JOB, activation_write, slice_word, table_write
from hw.rtl.row_store import RowStore


class Predictor(wiring.Component):
    """Activations in, masks of both ReLUs out; runs up to four image rows ahead of its reader.

    The words of a pixel come when all activations that its window covers have been loaded: who waits for them may read these
    activations. Not so in fixed jobs.

    Parameters: `config`.

    Members: `job`, `start`; `table_write` fills EXPAND, EXPAND_THRESHOLD and DEPTHWISE; `activation_write` fills the
    4-bit input store; `rows_loaded` in: first image row of which not all activations were written, from the cycle after
    `start` on; `words` out: a slice word for every output pixel (row-major) and slice of the
    job; in jobs with `job.fixed`, which have no predictor, those of one pixel with all masks set; `expand_observed`,
    `depthwise_observed` an Observation of each layer.

    Throughput: one slice of an output pixel a cycle, and one turn of one slice of an input pixel a cycle; the slower of the
    two binds. Stalls with `words`.
    """

    job: data.View
    start: Signal
    table_write: Any
    activation_write: Any
    rows_loaded: Signal
    words: stream.Interface
    expand_observed: Signal
    depthwise_observed: Signal

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__(
            {
                "job": In(JOB),
                "start": In(1),
                "table_write": In(table_write(config)),
                "activation_write": In(activation_write(config)),
                "rows_loaded": In(DIMENSION_BITS),
                "words": Out(stream.Signature(slice_word(config))),
                "expand_observed": Out(OBSERVATION_BITS),
                "depthwise_observed": Out(OBSERVATION_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.expand = expand = ExpandPredictor(self._config)
        m.submodules.rows = rows = RowStore(self._config)
        m.submodules.depthwise = depthwise = DepthwisePredictor(self._config)
        m.submodules.fixed_masks = fixed_masks = FixedMasks(self._config)
        m.d.comb += [fixed_masks.job.eq(self.job), fixed_masks.start.eq(self.start & self.job.fixed)]
        m.d.comb += expand.rows_loaded.eq(self.rows_loaded)
        for unit in (expand, depthwise):
            m.d.comb += [unit.job.eq(self.job), unit.start.eq(self.start & ~self.job.fixed)]
            wiring.connect(m, wiring.flipped(self.table_write), unit.table_write)
        wiring.connect(m, wiring.flipped(self.activation_write), expand.activation_write)
        wiring.connect(m, expand.level_write, rows.level_write)
        wiring.connect(m, depthwise.level_read, rows.level_read)
        wiring.connect(m, expand.done, depthwise.done)
        wiring.connect(m, depthwise.reading, expand.reading)
        fixed = self.job.fixed
        m.d.comb += [
            self.words.payload.eq(Mux(fixed, fixed_masks.words.payload.as_value(), depthwise.words.payload.as_value())),
            self.words.valid.eq(Mux(fixed, fixed_masks.words.valid, depthwise.words.valid)),
            fixed_masks.words.ready.eq(self.words.ready & fixed),
            depthwise.words.ready.eq(self.words.ready & ~fixed),
            self.expand_observed.eq(observation(expand.busy, expand.blocked)),
            self.depthwise_observed.eq(
                observation(depthwise.level_read.enable, depthwise.words.valid & ~depthwise.words.ready)
            ),
        ]
        return m
