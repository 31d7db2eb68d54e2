"""Runs programs: sets up the windows, starts, waits, and reads reports and counters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.contract.activity import ACTIVITY
from hw.contract.axi import WORD_BYTES
from hw.contract.descriptor import REPORT
from hw.contract.errors import ArchonError
from hw.contract.layout import Layout, words_to_int
from hw.contract.registers import (
    BY_NAME,
    COUNTERS,
    IDENTIFICATION,
    OFFSETS,
    REGISTER_BITS,
    REGISTER_BYTES,
    VERSION_MAJOR,
    ErrorCode,
)
from sw.driver.bus import Bus

Words = NDArray[np.uint64]
Window = tuple[int, int]
"""First byte address, and the first one behind."""

DRAIN_WAITS = 100
"""How often to wait for memory's last answers after an error."""


@dataclass(frozen=True)
class Capabilities:
    """What the hardware was generated with."""

    clusters: int
    lanes: int
    slice_channels: int
    kernel: int


@dataclass(frozen=True)
class Regions:
    """Where things lie in memory, as byte addresses.

    Args:
        base: Of word 0 of programs; a multiple of a word's bytes.
        read: What the accelerator may read.
        write: What it may write; the reports must lie in it.
        reports: Where reports are to go; a multiple of a word's bytes.
        report_capacity: Reports that there is room for.
        activity: Where rows of what units did in a job are to go; a multiple of a word's bytes.
        activity_capacity: Such rows that there is room for: none by default.
    """

    base: int
    read: Window
    write: Window
    reports: int
    report_capacity: int
    activity: int = 0
    activity_capacity: int = 0


@dataclass(frozen=True)
class Run:
    """A program that came to its end.

    Args:
        reports: The fields of hw.contract.descriptor.REPORT of every job, in the order in which they ended.
        counters: Value of every register in hw.contract.registers.COUNTERS.
        activity: The fields of hw.contract.activity.ACTIVITY for every job and unit, as far as there was room.
    """

    reports: list[dict[str, int]]
    counters: dict[str, int]
    activity: list[dict[str, int]]


class Driver:
    """One accelerator. Call `check`, then `configure`, then `load` and `run` as often as needed.

    Args:
        bus: The way to it.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._regions: Regions | None = None

    async def check(self) -> Capabilities:
        """Make sure that it is an accelerator that this driver can talk to.

        Raises:
            ArchonError: it is something else, or its register map has another major version.
        """
        found = (await self._read("identification"))["letters"]
        if found != IDENTIFICATION:
            raise ArchonError(f"an accelerator with identification {IDENTIFICATION:#010x} is expected, got {found:#010x}")
        version = await self._read("version")
        if version["major"] != VERSION_MAJOR:
            expected, got = f"{VERSION_MAJOR}.x", f"{version['major']}.{version['minor']}"
            raise ArchonError(f"this driver expects a register map of version {expected}, the accelerator has {got}")
        return Capabilities(**await self._read("capabilities"))

    async def configure(self, regions: Regions, stall_limit: int | None = None) -> None:
        """Tell the accelerator where it may read and write; not while a run goes on.

        Args:
            regions: Of memory.
            stall_limit: Cycles without progress after which a run is stopped, 0 for never; as it is by default.

        Raises:
            ArchonError: an address that is no multiple of a word's bytes, or does not fit its register.
        """
        for name, address in (("base", regions.base), ("reports", regions.reports), ("activity", regions.activity)):
            if address % WORD_BYTES:
                raise ArchonError(f"region {name} must start at a multiple of {WORD_BYTES} bytes, got {address:#x}")
        await self._write("memory_base", address=regions.base)
        for name, window in (("read", regions.read), ("write", regions.write)):
            await self._write(f"{name}_base", address=window[0])
            await self._write(f"{name}_limit", address=window[1])
        await self._write("report_base", address=regions.reports)
        await self._write("report_capacity", reports=regions.report_capacity)
        await self._write("activity_base", address=regions.activity)
        await self._write("activity_capacity", rows=regions.activity_capacity)
        if stall_limit is not None:
            await self._write("stall_limit", cycles=stall_limit)
        self._regions = regions

    async def load(self, words: Words, address: int = 0) -> None:
        """Put words into memory from a word address on."""
        await self._bus.write_memory(self._place(address), words.astype("<u8").tobytes())

    async def fetch(self, address: int, count: int) -> Words:
        """`count` words of memory from a word address on."""
        data = await self._bus.read_memory(self._place(address), count * WORD_BYTES)
        return np.frombuffer(data, dtype="<u8").astype(np.uint64)

    async def run(self, program_address: int) -> Run:
        """Run the program at a word address to its end.

        Raises:
            ArchonError: the run was stopped; the message names the error code.
        """
        await self.start(program_address)
        return await self.finish()

    async def start(self, program_address: int) -> None:
        """Start the program at a word address, with the interrupt enabled."""
        self._place(program_address)
        if (await self._read("status"))["busy"]:
            raise ArchonError("a run can be started when none goes on, but the accelerator is busy")
        await self._write("program_address", word=program_address)
        await self._write("control", start=1, interrupt_enable=1)

    async def abort(self) -> None:
        """Stop the run that goes on, if any; `finish` then raises."""
        await self._write("control", abort=1, interrupt_enable=1)

    async def finish(self) -> Run:
        """Wait for the end of the run that was started; as `run`."""
        while not ((status := await self._read("status"))["done"] or status["error"]):
            await self._bus.wait()
        if status["error"]:
            await self._raise()
        await self._write("status", done=1)
        counters, regions = await self.counters(), self._configured()
        reports = await self._rows(REPORT, regions.reports, min(counters["jobs"], regions.report_capacity))
        rows = min(counters["activity_rows"], regions.activity_capacity)
        return Run(reports, counters, await self._rows(ACTIVITY, regions.activity, rows))

    async def counters(self) -> dict[str, int]:
        """The counters as they were at the last snapshot: the end of the last run, or `snapshot`."""
        return {register.name: (await self._read(register.name))["count"] for register in COUNTERS}

    async def snapshot(self) -> dict[str, int]:
        """The counters of the run that goes on, all of the same cycle."""
        await self._write("control", snapshot=1, interrupt_enable=1)
        return await self.counters()

    async def _raise(self) -> None:
        """Wait until memory has answered everything; then raise the error."""
        code = ErrorCode((await self._read("error_code"))["code"])
        address = (await self._read("error_address"))["address"]
        place = f"byte address {address:#x}"
        if code in (ErrorCode.DESCRIPTOR, ErrorCode.TABLES):
            place = f"job descriptor {(await self._read('error_descriptor'))['index']}"
        message = f"the run was stopped with {code.name} at {place}"
        for _ in range(DRAIN_WAITS):
            if not (await self._read("status"))["busy"]:
                await self._write("status", error=1)
                raise ArchonError(message)
            await self._bus.wait()
        raise ArchonError(f"{message}, and memory does not answer what was asked of it before")

    async def _rows(self, layout: Layout, address: int, count: int) -> list[dict[str, int]]:
        """`count` rows of a layout from a byte address on."""
        data = await self._bus.read_memory(address, count * layout.words * WORD_BYTES)
        words = np.frombuffer(data, dtype="<u8").reshape(-1, layout.words)
        fields = [layout.unpack(words_to_int(row)) for row in words]
        return [{name: value for name, value in row.items() if isinstance(value, int)} for row in fields]

    def _place(self, word: int) -> int:
        return self._configured().base + word * WORD_BYTES

    def _configured(self) -> Regions:
        if self._regions is None:
            raise ArchonError("regions of memory are to be configured first, got none")
        return self._regions

    async def _read(self, name: str) -> dict[str, int]:
        register, value = BY_NAME[name], 0
        for half in range(register.words):
            value |= await self._bus.read_register(OFFSETS[name] + REGISTER_BYTES * half) << (REGISTER_BITS * half)
        layout = register.layout
        return {item.name: value >> layout.offsets[item.name] & ((1 << item.bits) - 1) for item in register.fields}

    async def _write(self, name: str, **fields: int) -> None:
        """Write a register; fields that are not named become 0."""
        register = BY_NAME[name]
        value = register.layout.pack({item.name: fields.get(item.name, 0) for item in register.fields})
        for half in range(register.words):
            word = value >> (REGISTER_BITS * half) & ((1 << REGISTER_BITS) - 1)
            await self._bus.write_register(OFFSETS[name] + REGISTER_BYTES * half, word)
