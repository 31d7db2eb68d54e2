"""What every testbench needs: clock, reset, agents with their own random patterns, waiting with a limit."""

import os
import random
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol, TypeVar

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge
from numpy.typing import NDArray
from pydantic import TypeAdapter

from hw.contract.config import ArchonConfig
from tb.memory import StreamMemory
from tb.streams import Codec, StreamMonitor, StreamSink, StreamSource, pattern

PERIOD_NS = 10
RESET_CYCLES = 3
DEFAULT_LIMIT = 100_000
"""Cycles after which waiting is given up: far more than any unit test needs."""


class Described(Protocol):
    """Anything that can say how far it came."""

    def describe(self) -> str:
        """One phrase for the message of a time-out."""
        ...


Agent = TypeVar("Agent", bound=Described)


class Bench:
    """A design with running clock, and its agents.

    Args:
        dut: Handle of the top module, with ports clk and rst.
        seed: Seeds all random choices of the test; printed.
        idle: Pattern name for sources made by `source`.
        back_pressure: Pattern name for sinks made by `sink`.
    """

    def __init__(self, dut: Any, seed: object = "", idle: str = "never", back_pressure: str = "never") -> None:
        self.dut, self.idle, self.back_pressure = dut, idle, back_pressure
        full_seed = f"{cocotb.RANDOM_SEED} {seed} {idle} {back_pressure}"
        cocotb.log.info("seed: %s", full_seed)
        self.random = random.Random(full_seed)
        self._described: list[Described] = []
        cocotb.start_soon(Clock(dut.clk, PERIOD_NS, unit="ns").start())

    async def reset(self, *emptied: StreamSource) -> None:
        """Hold rst for a few cycles; agents wait until it falls. Sources named forget what they have not sent."""
        self.dut.rst.value = 1
        await RisingEdge(self.dut.clk)
        for source in emptied:
            source.clear()
        await ClockCycles(self.dut.clk, RESET_CYCLES)
        self.dut.rst.value = 0
        await RisingEdge(self.dut.clk)

    def source(self, name: str, codec: Codec, idle: str | None = None) -> StreamSource:
        """An agent that drives an input stream."""
        return self.follow(StreamSource(self.dut, name, codec, pattern(idle or self.idle, self.random)))

    def sink(
        self,
        name: str,
        codec: Codec,
        on_item: Callable[[Any], None] | None = None,
        back_pressure: str | None = None,
        meaning: Callable[[Any], Any] | None = None,
    ) -> StreamSink:
        """An agent that takes an output stream."""
        held = pattern(back_pressure or self.back_pressure, self.random)
        return self.follow(StreamSink(self.dut, name, codec, held, on_item, meaning))

    def monitor(self, name: str, codec: Codec, on_item: Callable[[Any], None] | None = None) -> StreamMonitor:
        """An agent that only watches a stream."""
        return self.follow(StreamMonitor(self.dut, name, codec, on_item))

    def serve(
        self,
        words: NDArray[np.uint64],
        latency: tuple[int, int],
        *,
        write: str | None = None,
        idle: str | None = None,
        on_read: Callable[[int, int], None] | None = None,
    ) -> StreamMemory:
        """External memory for the design; arguments as of StreamMemory, `idle` a pattern name of the read data."""
        memory = StreamMemory(
            self.dut,
            words,
            write=write,
            latency=latency,
            seed=self.random.getrandbits(64),
            idle=pattern(idle or self.idle, self.random),
            request_back_pressure=pattern(self.back_pressure, self.random),
            write_back_pressure=pattern(self.back_pressure, self.random),
            on_read=on_read,
        )
        return self.follow(memory)

    def follow(self, agent: Agent) -> Agent:
        """Include anything with describe() in the message of a time-out."""
        self._described.append(agent)
        return agent

    async def pulse(self, name: str) -> None:
        """Set a one-bit input for one cycle."""
        self.dut[name].value = 1
        await RisingEdge(self.dut.clk)
        self.dut[name].value = 0

    async def cycles(self, count: int) -> None:
        """Let the clock run."""
        await ClockCycles(self.dut.clk, count)

    async def until(self, condition: Callable[[], Any], what: str, limit: int = DEFAULT_LIMIT) -> None:
        """Wait until the condition holds at a clock edge; after `limit` cycles fail, naming what was waited for."""
        edge = RisingEdge(self.dut.clk)
        for _ in range(limit):
            if condition():
                return
            await edge
        states = "; ".join(agent.describe() for agent in self._described)
        raise AssertionError(f"{what}: not there after {limit} cycles ({states})")


def configuration(default: ArchonConfig | None = None) -> ArchonConfig:
    """The configuration of the design under test, as its test passed it on; `default` outside of a simulation."""
    if default is not None and "ARCHON_CONFIG" not in os.environ:
        return default
    return _parsed(os.environ["ARCHON_CONFIG"])


@cache
def _parsed(text: str) -> ArchonConfig:
    """Reading it takes as long as hundreds of clock cycles of a small unit."""
    return TypeAdapter(ArchonConfig).validate_json(text)
