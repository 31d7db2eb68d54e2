"""Sharing the external memory and other outputs between clients."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract import descriptor
from hw.rtl.arithmetic import lowest_bit
from hw.rtl.interfaces import READ_DATA, READ_REQUEST, struct
from hw.rtl.queue import Queue

QUEUE_DEPTH = 4
"""Payloads waiting for memory: the fewest that keep a queue at one payload a cycle, with one to spare."""

LENGTH_BITS = next(item.bits for item in descriptor.READ_REQUEST.fields if item.name == "length")


class ReadArbiter(wiring.Component):
    """Round-robin over the clients' read requests; hands the words back to the client that asked for them.

    Parameters: `clients`; `outstanding` requests whose words have not all come back, at most; the last `background` clients
    ask only when no other client does.

    Members: `clients[i]` with `read_request` and `read_data` of client i (a request asks for at least one word, and a
    client takes its words without waiting for another client); `read_request`, `read_data` of the memory.

    Latency 2 cycles from request to request, none from word to word. Throughput 1 request and 1 word a cycle. Stalls with
    the memory and with the client whose words are due.
    """

    clients: Any
    read_request: stream.Interface
    read_data: stream.Interface

    def __init__(self, clients: int, outstanding: int = 16, background: int = 0) -> None:
        self._count, self._outstanding, self._background = clients, outstanding, background
        client = wiring.Signature({"read_request": Out(READ_REQUEST), "read_data": In(READ_DATA)})
        super().__init__(
            {
                "clients": In(client).array(clients),
                "read_request": Out(READ_REQUEST),
                "read_data": In(READ_DATA),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        route = data.StructLayout({"owner": self._count, "length": LENGTH_BITS})
        m.submodules.asked = asked = Queue(struct(descriptor.READ_REQUEST), QUEUE_DEPTH)
        m.submodules.routes = routes = Queue(route, self._outstanding)
        wiring.connect(m, wiring.flipped(self.read_request), asked.output)

        asked_by = Cat(client.read_request.valid for client in self.clients)
        foreground = asked_by[: self._count - self._background]
        asking = Mux(foreground.any(), foreground, asked_by)[: self._count]
        granted = _grant(m, asking, asked.input.ready & routes.input.ready)
        chosen = _select(granted, [client.read_request.payload for client in self.clients])
        m.d.comb += [
            Value.cast(asked.input.payload).eq(chosen),
            asked.input.valid.eq(granted.any() & routes.input.ready),
            routes.input.payload.owner.eq(granted),
            routes.input.payload.length.eq(asked.input.payload.length),
            routes.input.valid.eq(granted.any() & asked.input.ready),
        ]
        for index, client in enumerate(self.clients):
            m.d.comb += client.read_request.ready.eq(granted[index] & asked.input.ready & routes.input.ready)

        position = Signal(LENGTH_BITS)
        last, taken = Signal(), Signal()
        owner = Signal(self._count)
        m.d.comb += [
            owner.eq(Mux(routes.output.valid, routes.output.payload.owner, 0)),
            self.read_data.ready.eq((owner & Cat(client.read_data.ready for client in self.clients)).any()),
            taken.eq(self.read_data.valid & self.read_data.ready),
            last.eq(position == routes.output.payload.length - 1),
            routes.output.ready.eq(taken & last),
        ]
        with m.If(taken):
            m.d.sync += position.eq(Mux(last, 0, position + 1))
        for index, client in enumerate(self.clients):
            m.d.comb += [
                client.read_data.payload.eq(self.read_data.payload),
                client.read_data.valid.eq(self.read_data.valid & owner[index]),
            ]
        return m


class StreamArbiter(wiring.Component):
    """Round-robin over streams of one kind, such as the clusters' writes.

    Parameters: stream `signature`, `clients`.

    Members: `inputs[i]` of client i; `output`; `idle`: no payload is offered here or waits to leave.

    Latency 2 cycles, throughput 1 payload a cycle; stalls with `output`.
    """

    inputs: list[stream.Interface]
    output: stream.Interface
    idle: Signal

    def __init__(self, signature: stream.Signature, clients: int) -> None:
        self._shape = signature.members["payload"].shape
        super().__init__({"inputs": In(signature).array(clients), "output": Out(signature), "idle": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.waiting = waiting = Queue(self._shape, QUEUE_DEPTH)
        wiring.connect(m, wiring.flipped(self.output), waiting.output)
        granted = _grant(m, Cat(client.valid for client in self.inputs), waiting.input.ready)
        m.d.comb += [
            Value.cast(waiting.input.payload).eq(_select(granted, [client.payload for client in self.inputs])),
            waiting.input.valid.eq(granted.any()),
        ]
        for index, client in enumerate(self.inputs):
            m.d.comb += client.ready.eq(granted[index] & waiting.input.ready)

        held = Signal(range(QUEUE_DEPTH + 1))
        entering, leaving = Signal(), Signal()
        m.d.comb += [
            entering.eq(waiting.input.valid & waiting.input.ready),
            leaving.eq(waiting.output.valid & waiting.output.ready),
            self.idle.eq((held == 0) & ~waiting.input.valid),
        ]
        m.d.sync += held.eq(held + entering - leaving)
        return m


def _grant(m: Module, asking: Value, taken: Value) -> Signal:
    """One-hot grant to the first asking client after the one granted last; `taken` says that the grant is used."""
    clients = len(asking)
    granted, later, after = Signal(clients), Signal(clients), Signal(clients)
    m.d.comb += [
        later.eq(asking & after),
        granted.eq(lowest_bit(Mux(later.any(), later, asking))),
    ]
    with m.If(granted.any() & taken):
        m.d.sync += after.eq(~(granted | (granted - 1)))
    return granted


def _select(granted: Value, payloads: list[data.View]) -> Value:
    """The payload whose bit in the one-hot `granted` is set, 0 for none."""
    chosen: Value | None = None
    for bit, payload in zip(granted, payloads, strict=True):
        masked = Mux(bit, Value.cast(payload), 0)
        chosen = masked if chosen is None else chosen | masked
    assert chosen is not None
    return chosen
