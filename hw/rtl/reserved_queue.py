"""A queue behind a pipeline that never stalls: places are taken when something enters the pipeline."""

from typing import Any

from amaranth.hdl import Module, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.rtl.queue import Queue


class ReservedQueue(wiring.Component):
    """A queue whose places are taken ahead, so that what comes for them never waits.

    Parameters: payload `shape`, `places` (at least 2).

    Members: `take` takes a place, only while `free`; from the next cycle on `enter` puts `payload` in a taken place, or
    `give_back` does without it (one of them a cycle); `output` the payloads that entered, in order; `free`: there is a place
    to take; `empty`: no place is taken and no payload waits. Both come from registers.

    Latency 2 cycles from `enter` to `output` when empty, throughput 1 payload a cycle. A place can be taken again 2 cycles
    after its payload left.
    """

    take: Signal
    enter: Signal
    give_back: Signal
    payload: Any
    output: stream.Interface
    free: Signal
    empty: Signal

    def __init__(self, shape: ShapeLike, places: int) -> None:
        self._shape, self._places = shape, places
        members = {"take": In(1), "enter": In(1), "give_back": In(1), "payload": In(shape)}
        members |= {"output": Out(stream.Signature(shape)), "free": Out(1), "empty": Out(1)}
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.queue = queue = Queue(self._shape, self._places)
        wiring.connect(m, queue.output, wiring.flipped(self.output))
        room, following = (Signal(range(self._places + 1), init=self._places, name=name) for name in ("room", "following"))
        free, empty = (Signal(init=1, name=name) for name in ("some_room", "all_room"))
        left = Signal()  # in a register: who takes payloads may be far
        m.d.comb += [
            queue.input.payload.eq(self.payload),
            queue.input.valid.eq(self.enter),
            following.eq(room - self.take + self.give_back + left),
            self.free.eq(free),
            self.empty.eq(empty),
        ]
        m.d.sync += left.eq(self.output.valid & self.output.ready)
        m.d.sync += [room.eq(following), free.eq(following != 0), empty.eq(following == self._places)]
        return m
