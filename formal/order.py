"""Order: what enters a buffer leaves it once, unchanged, in the order in which it entered."""

from amaranth.hdl import Mux, ShapeLike, Signal, Value, ValueLike

from formal.bench import Bench, Inside, moves
from hw.rtl.queue import Queue
from hw.rtl.reserved_queue import ReservedQueue

FEW_PLACES = 4
"""Of a queue that can be filled within the cycles in which covers are looked for."""


class QueueContents:
    """What a hw.rtl.queue.Queue holds, read from its registers: `level` payloads, of which `item(0)` leaves first."""

    def __init__(self, inside: Inside, path: str, depth: int) -> None:
        buffer = f"{path}.buffer".removeprefix(".")
        self._inside, self._storage, self._slots = inside, f"{buffer}.storage", depth - 1
        self._offered, self._consume = inside.register(f"{buffer}.r_rdy"), inside.register(f"{buffer}.consume")
        self._first = inside.shown(self._storage)
        self.level = inside.register(f"{buffer}.inner_level") + self._offered

    def item(self, position: Value | int) -> Value:
        """The payload that leaves after `position` others, for a position below `level`."""
        slot = Value.cast(self._consume + position - self._offered)[: (2 * self._slots).bit_length()]
        row = self._inside.row(self._storage, Mux(slot >= self._slots, slot - self._slots, slot))
        return Mux(self._offered & (position == 0), self._first.as_unsigned(), row)


def keeps_order(
    bench: Bench, entering: Value, incoming: ValueLike, leaving: Value, outgoing: ValueLike, contents: QueueContents, depth: int
) -> Signal:
    """Check a buffer against the count of its payloads and one payload, whichever it may be, on its way through.

    Args:
        bench: Where to check.
        entering: A payload enters in this cycle.
        incoming: That payload.
        leaving: A payload leaves.
        outgoing: That payload.
        contents: What the buffer holds.
        depth: Payloads that it can hold.

    Returns:
        How many payloads entered and have not left.
    """
    m = bench.m
    incoming, outgoing = (Value.cast(value).as_unsigned() for value in (incoming, outgoing))
    held, ahead = Signal(range(depth + 1), name="held"), Signal(range(depth + 1), name="ahead")
    followed, payload = Signal(name="followed"), Signal(len(incoming), name="followed_payload")
    chosen = bench.any_bit("chosen")
    m.d.sync += held.eq(held + entering - leaving)
    with m.If(followed):
        with m.If(leaving):
            m.d.sync += [ahead.eq(ahead - 1), followed.eq(ahead != 0)]
            bench.check((ahead != 0) | (outgoing == payload))
        bench.check(ahead < held)
        bench.check(contents.item(ahead) == payload)
    with m.Elif(entering & chosen):
        m.d.sync += [followed.eq(1), payload.eq(incoming), ahead.eq(held - leaving)]
    bench.check(held <= depth)
    bench.check((held != 0) | ~leaving)
    bench.check(contents.level == held)
    bench.cover(followed & leaving & (ahead == 0) & bench.before(ahead != 0))
    return held


def queue(shape: ShapeLike, depth: int, unit: type[Queue] = Queue) -> Bench:
    """A queue keeps order, offers what it holds after one cycle at most, and takes payloads while one place is free."""
    bench = Bench()
    component = unit(shape, depth)
    contents = QueueContents(bench.inside(component), "", depth)
    source, sink = component.input, component.output
    bench.offers(source)
    bench.takes(sink)
    held = keeps_order(bench, moves(source), source.payload, moves(sink), sink.payload, contents, depth)
    bench.check(sink.valid | ~bench.before((held != 0) & ~sink.valid))
    bench.check(sink.valid <= (held != 0))
    bench.check(source.ready | (held >= depth - 1))
    bench.cover(held == 2)
    return bench


def reserved_queue(shape: ShapeLike, places: int, unit: type[ReservedQueue] = ReservedQueue) -> Bench:
    """Whatever enters a taken place is never lost, keeps its order, and no more places are taken than there are."""
    bench = Bench()
    component = unit(shape, places)
    inside = bench.inside(component)
    contents, sink = QueueContents(inside, "queue", places), component.output
    bench.free(component.take, component.enter, component.give_back, component.payload)
    bench.takes(sink)
    taken = Signal(range(places + 1), name="taken")
    bench.m.d.sync += taken.eq(taken + component.take - component.enter - component.give_back)
    bench.assume(~component.take | component.free)
    bench.assume(component.enter + component.give_back <= (taken != 0))
    held = keeps_order(bench, component.enter, component.payload, moves(sink), sink.payload, contents, places)
    room, left = inside.register("room"), inside.register("left")
    stored = inside.register("queue.buffer.inner_level")
    bench.check(room + taken + held + left == places)
    bench.check((component.free == (room != 0)) & (component.empty == (room == places)))
    # The queue holds all its places: none waits behind an empty output register but what came a cycle ago.
    bench.check(sink.valid | (stored <= 1))
    bench.check(~component.enter | (stored < places - 1))
    bench.cover(component.empty & bench.before(~component.empty))
    if places <= FEW_PLACES:
        bench.cover(~component.free & (taken == 0))
    return bench
