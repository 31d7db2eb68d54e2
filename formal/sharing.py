"""Arbiters and the reduction: streams that share, or join into, one."""

from typing import Any

from amaranth.hdl import Array, Cat, Mux, Signal, Value, signed
from amaranth.lib import data, stream

from formal.bench import Bench, Inside, moves
from formal.order import QueueContents, keeps_order
from hw.contract import numerics
from hw.contract.config import ArchonConfig
from hw.rtl.arbiter import LENGTH_BITS, QUEUE_DEPTH, ReadArbiter, StreamArbiter
from hw.rtl.reduction import Reduction


def stream_arbiter(signature: stream.Signature, clients: int) -> Bench:
    """Payloads leave once, in the order in which they were taken, so that each client's stay in order; turns are fair."""
    bench = Bench()
    arbiter = StreamArbiter(signature, clients)
    inside = bench.inside(arbiter)
    for client in arbiter.inputs:
        bench.offers(client)
    bench.takes(arbiter.output)
    entering, incoming = _one_taken(bench, list(arbiter.inputs))
    contents = QueueContents(inside, "waiting", QUEUE_DEPTH)
    leaving, outgoing = moves(arbiter.output), arbiter.output.payload
    held = keeps_order(bench, entering, incoming, leaving, outgoing, contents, QUEUE_DEPTH)
    offered = Cat(client.valid for client in arbiter.inputs)
    bench.check(arbiter.idle == ((held == 0) & ~offered.any()))
    bench.check(inside.register("held") == held)
    _takes_turns(bench, inside, list(arbiter.inputs), clients)
    return bench


def read_arbiter(clients: int, outstanding: int, background: int) -> Bench:
    """Requests leave once, in the order in which they were taken; the words of each go to the client that asked.

    The memory answers requests in the order in which they leave, each with as many words as it asks for.
    """
    bench = Bench()
    m = bench.m
    arbiter = ReadArbiter(clients, outstanding, background)
    inside = bench.inside(arbiter)
    requests = [client.read_request for client in arbiter.clients]
    for request in requests:
        bench.offers(request)
        bench.assume(~request.valid | (request.payload.length != 0))
    bench.takes(arbiter.read_request)
    entering, incoming = _one_taken(bench, requests)
    contents = QueueContents(inside, "asked", QUEUE_DEPTH)
    leaving, outgoing = moves(arbiter.read_request), arbiter.read_request.payload
    keeps_order(bench, entering, incoming, leaving, outgoing, contents, QUEUE_DEPTH)

    # What has been asked for, oldest first: by whom and how many words.
    route = data.StructLayout({"owner": clients, "length": LENGTH_BITS})
    routes: list[Any] = [Signal(route, name=f"route{index}") for index in range(outstanding)]
    count, position = Signal(range(outstanding + 1), name="routes_held"), Signal(LENGTH_BITS, name="words_before")
    newest: Any = Signal(route, name="newest")
    length = Value.cast(incoming)[-LENGTH_BITS:]
    word, ends = bench.let(moves(arbiter.read_data), name="word"), Signal(name="ends")
    m.d.comb += [
        newest.owner.eq(Cat(moves(request) for request in requests)),
        newest.length.eq(length),
        ends.eq(word & (position == routes[0].length - 1)),
    ]
    m.d.sync += count.eq(count + entering - ends)
    with m.If(word):
        m.d.sync += position.eq(Mux(ends, 0, position + 1))
    for index in range(outstanding):
        following = Value.cast(routes[index + 1]) if index + 1 < outstanding else Value.cast(newest)
        with m.If(entering & (index == count - ends)):
            m.d.sync += routes[index].eq(newest)
        with m.Elif(ends):
            m.d.sync += Value.cast(routes[index]).eq(following)

    held = QueueContents(inside, "routes", outstanding)
    bench.check(count <= outstanding)
    bench.check(held.level == count)
    bench.check(inside.register("position") == position)
    bench.check(Mux(count == 0, position == 0, position < routes[0].length))
    for index in range(outstanding):
        with m.If(index < count):
            bench.check(held.item(index) == Value.cast(routes[index]))
            bench.check((routes[index].length != 0) & _one_hot(routes[index].owner))

    # Every word goes to the client at the head, and to no other.
    bench.free(arbiter.read_data.valid, arbiter.read_data.payload)
    for client in arbiter.clients:
        bench.free(client.read_data.ready)
    bench.check(~word | (count != 0))
    for index, client in enumerate(arbiter.clients):
        owns = (count != 0) & routes[0].owner[index]
        bench.check(~client.read_data.valid | (owns & (client.read_data.payload == arbiter.read_data.payload)))
        bench.check(moves(client.read_data) == (word & owns))
        # A word waits for its client, and one cycle besides at most.
        waits = owns & arbiter.read_data.valid & client.read_data.ready & ~word
        bench.check(~waits | ~bench.before(waits))
    bench.cover(ends & (count > 1) & (routes[0].length > 1))

    _takes_turns(bench, inside, requests, clients - background)
    asked_for = Cat(request.valid for request in requests)
    first = asked_for[: clients - background]
    for request in requests[clients - background :]:
        bench.check(~moves(request) | ~first.any())
    return bench


def reduction(config: ArchonConfig) -> Bench:
    """Every lane's n-th partial is taken with all others' n-th; their sum leaves once, as the n-th."""
    bench = Bench()
    m = bench.m
    unit = Reduction(config)
    bench.inside(unit)
    bench.fixed(unit.job)
    bench.free(unit.start)
    bench.assume(~unit.job.depthwise)
    for lane in unit.partials:
        bench.offers(lane)
    bench.takes(unit.sums)
    entering = bench.let(moves(unit.partials[0]), name="entering")
    held = Signal(name="held")
    total = Signal(signed(numerics.OUTPUT_ACCUMULATOR_BITS), name="total")
    for lane in unit.partials:
        bench.check(moves(lane) == entering)
    m.d.sync += held.eq(held + entering - moves(unit.sums))
    with m.If(entering):
        m.d.sync += total.eq(sum(lane.payload for lane in unit.partials))
    bench.check(unit.sums.valid == held)
    bench.check(~held | (unit.sums.payload == total))
    offered = Cat(lane.valid for lane in unit.partials).all()
    bench.check(entering == (offered & (~held | unit.sums.ready)))
    bench.cover(held & entering & (total == -1))
    return bench


def lane_turns(config: ArchonConfig) -> Bench:
    """In a depthwise job the lanes' partials are taken in turn, a pixel's from lane 0 on; each channel's leaves unchanged."""
    bench = Bench()
    m = bench.m
    unit = Reduction(config)
    inside = bench.inside(unit)
    bench.fixed(unit.job)
    bench.m.d.comb += unit.start.eq(0)
    bench.assume(unit.job.depthwise & (unit.job.input_channels != 0))
    bench.assume(unit.job.input_channels <= config.depths.output)
    for lane in unit.partials:
        bench.offers(lane)
    bench.takes(unit.sums)
    taken = bench.let(Cat(moves(lane) for lane in unit.partials), name="taken")
    bench.check((taken == 0) | _one_hot(taken))
    channel = Signal(range(config.depths.output + config.lanes), name="channel_due")
    turn, exists = channel % config.lanes, channel < unit.job.input_channels
    held, total = Signal(name="held"), Signal(signed(numerics.OUTPUT_ACCUMULATOR_BITS), name="total")
    entering = bench.let(taken.any() & exists, name="entering")
    m.d.sync += held.eq(entering | (held & ~moves(unit.sums)))
    for index, partial in enumerate(unit.partials):
        bench.check(~taken[index] | (turn == index))
        with m.If(taken[index] & exists):
            m.d.sync += total.eq(partial.payload)
        due = (turn == index) & partial.valid & (~exists | ~held | unit.sums.ready)
        bench.check(~due | taken[index])
    with m.If(taken.any()):
        ends = (turn == config.lanes - 1) & (channel + 1 >= unit.job.input_channels)
        m.d.sync += channel.eq(Mux(ends, 0, channel + 1))
    bench.check(inside.register("channel") == channel)
    bench.check((channel == 0) | (channel - turn < unit.job.input_channels))
    bench.check(unit.sums.valid == held)
    bench.check(~held | (unit.sums.payload == total))
    bench.check(~entering | ~held | unit.sums.ready)
    bench.cover(held & taken.any() & ~exists)
    return bench


def _one_taken(bench: Bench, clients: list[stream.Interface]) -> tuple[Signal, Value]:
    """Check that at most one payload is taken in a cycle; returns whether, and which."""
    taken = bench.let(Cat(moves(client) for client in clients), name="taken")
    bench.check((taken == 0) | _one_hot(taken))
    incoming = Signal(len(Value.cast(clients[0].payload)), name="incoming")
    for bit, client in zip(taken, clients, strict=True):
        with bench.m.If(bit):
            bench.m.d.comb += incoming.eq(client.payload)
    return bench.let(taken.any(), name="entering"), incoming


def _takes_turns(bench: Bench, inside: Inside, clients: list[stream.Interface], first: int) -> None:
    """While one of the first clients asks, others are taken `first` - 1 times at most, those that come after `first` never.

    With g the client taken last, client c's distance from its turn is (c - g - 1) modulo `first`.
    """
    m = bench.m
    after = inside.register("after")
    allowed = [~((2 << index) - 1) & ((1 << len(clients)) - 1) for index in range(len(clients))]
    last = Signal(range(len(clients)), init=len(clients) - 1, name="taken_last")
    bench.check(last < len(clients))
    bench.check(after == Array(allowed)[last])
    for index, client in enumerate(clients):
        with m.If(moves(client)):
            m.d.sync += last.eq(index)
    for index, client in enumerate(clients[:first]):
        waited = Signal(range(len(clients) + 1), name=f"waited{index}")
        others = Cat(moves(other) for other in clients if other is not client).any()
        with m.If(moves(client) | ~client.valid):
            m.d.sync += waited.eq(0)
        with m.Elif(others):
            m.d.sync += waited.eq(waited + 1)
        distance = Array((index - granted - 1) % first if granted < first else index for granted in range(len(clients)))[last]
        bench.check((waited == 0) | client.valid)
        bench.check(waited + distance <= first - 1)
        if first > 1:
            bench.cover(moves(client) & (waited == first - 1))


def _one_hot(bits: Value) -> Value:
    return (bits != 0) & ((bits & (bits - 1)) == 0)
