"""A first-in first-out queue between two streams."""

from amaranth.hdl import Module, ShapeLike, Value
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out


class Queue(wiring.Component):
    """Buffers up to `depth` payloads of any shape.

    Parameters: payload `shape`, `depth` (at least 2).

    Members: `input`, `output` streams. Latency 2 cycles when empty, throughput 1 payload a cycle; both sides' handshakes
    come from registers.
    """

    input: stream.Interface
    output: stream.Interface

    def __init__(self, shape: ShapeLike, depth: int) -> None:
        self._depth = depth
        super().__init__({"input": In(stream.Signature(shape)), "output": Out(stream.Signature(shape))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        payload_in, payload_out = Value.cast(self.input.payload), Value.cast(self.output.payload)
        m.submodules.buffer = buffer = fifo.SyncFIFOBuffered(width=len(payload_in), depth=self._depth)
        m.d.comb += [
            buffer.w_data.eq(payload_in),
            buffer.w_en.eq(self.input.valid),
            self.input.ready.eq(buffer.w_rdy),
            payload_out.eq(buffer.r_data),
            self.output.valid.eq(buffer.r_rdy),
            buffer.r_en.eq(self.output.ready),
        ]
        return m
