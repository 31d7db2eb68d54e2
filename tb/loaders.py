"""What the tests of both loaders share: one that is started with a job reads its words from memory and is done."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hw.contract.descriptor import JOB
from tb.bench import Bench


class LoaderBench(Bench):
    """A loader with its memory, of which only what a test marks as not missing may be read.

    Args:
        dut: Handle of the top module.
        name: Seeds all random choices, with the other arguments.
        words: Size of memory.
        idle: Pattern name of the read data.
        back_pressure: Pattern name of the read requests.
        latency: Least and greatest latency of a read, in cycles.
    """

    def __init__(self, dut: Any, name: str, words: int, idle: str, back_pressure: str, latency: tuple[int, int]) -> None:
        super().__init__(dut, f"{name} {latency}", idle, back_pressure)
        dut.start.value = 0
        dut.job.value = 0
        self.memory = self.serve(np.zeros(words, dtype=np.uint64), latency)
        self._read_before = 0

    async def load(self, fields: Mapping[str, int]) -> None:
        """Start a job with these fields, the others zero; returns when the loader says that it is done."""
        self.dut.job.value = JOB.pack(JOB.unpack(0) | dict(fields))
        self._read_before = self.memory.words_read
        await self.pulse("start")
        await self.until(lambda: self.dut.done.value, "done")

    async def check_stays_done(self, words: int) -> None:
        """AssertionError where the loader goes on after it was done, or read another number of words since it was started."""
        await self.cycles(10)
        assert self.dut.done.value, "done fell before the next start"
        count = self.memory.words_read - self._read_before
        assert count == words, f"{words} words to read, {count} were"
