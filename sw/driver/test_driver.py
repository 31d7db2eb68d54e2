"""The driver against a bus of plain numbers: what it refuses, and what it tells."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest

from hw.contract.activity import ACTIVITY
from hw.contract.config import preset
from hw.contract.descriptor import REPORT
from hw.contract.errors import ArchonError
from hw.contract.layout import int_to_words
from hw.contract.registers import BY_NAME, OFFSETS, REGISTER_BYTES, REGISTERS, VERSION_MAJOR, ErrorCode, constants
from sw.driver import Driver, Regions

REGIONS = Regions(
    base=0x1_0000_0000, read=(0, 1 << 40), write=(8, 16), reports=0x800, report_capacity=3, activity=0x900, activity_capacity=5
)
WORD = (1 << 32) - 1


class PlainBus:
    """Registers that hold what is written, and memory as a sparse list of bytes; a start ends as `ending` says."""

    def __init__(self, **ending: dict[str, int]) -> None:
        self.registers: dict[int, int] = {}
        self.memory: dict[int, int] = {}
        self.ending, self.waits = ending, 0
        for register in REGISTERS:
            self.put(register.name, register.reset)
        for name, fields in constants(preset("tiny")).items():
            self.put(name, BY_NAME[name].layout.pack(fields))

    def put(self, name: str, value: int) -> None:
        """Set a register."""
        for half in range(BY_NAME[name].words):
            self.registers[OFFSETS[name] + REGISTER_BYTES * half] = value >> (32 * half) & WORD

    def get(self, name: str) -> dict[str, Any]:
        """A register's fields."""
        register = BY_NAME[name]
        halves = [self.registers[OFFSETS[name] + REGISTER_BYTES * half] << (32 * half) for half in range(register.words)]
        return dict(register.layout.unpack(sum(halves)))

    async def read_register(self, offset: int) -> int:
        return self.registers[offset]

    async def write_register(self, offset: int, value: int) -> None:
        self.registers[offset] = value

    async def read_memory(self, address: int, size: int) -> bytes:
        return bytes(self.memory.get(address + index, 0) for index in range(size))

    async def write_memory(self, address: int, data: bytes) -> None:
        self.memory |= {address + index: byte for index, byte in enumerate(data)}

    async def wait(self) -> None:
        self.waits += 1
        for name, fields in self.ending.items():
            self.put(name, BY_NAME[name].layout.pack({item.name: 0 for item in BY_NAME[name].fields} | fields))


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine)


def test_capabilities() -> None:
    found = run(Driver(PlainBus()).check())
    assert (found.clusters, found.lanes, found.slice_channels, found.kernel) == (1, 2, 4, 3)


def test_something_else_is_refused() -> None:
    bus = PlainBus()
    bus.put("identification", 7)
    with pytest.raises(ArchonError, match="identification 0x4e435241 is expected, got 0x00000007"):
        run(Driver(bus).check())


def test_another_major_version_is_refused() -> None:
    bus = PlainBus()
    bus.put("version", BY_NAME["version"].layout.pack({"major": VERSION_MAJOR + 1, "minor": 5}))
    with pytest.raises(ArchonError, match=rf"version {VERSION_MAJOR}\.x, the accelerator has {VERSION_MAJOR + 1}\.5"):
        run(Driver(bus).check())


def test_regions_come_first() -> None:
    with pytest.raises(ArchonError, match="regions of memory are to be configured first"):
        run(Driver(PlainBus()).run(0))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"base": 4}, "region base must start at a multiple of 8 bytes, got 0x4"),
        ({"activity": 12}, "region activity must start at a multiple of 8 bytes, got 0xc"),
        ({"reports": 9}, "region reports must start at a multiple of 8 bytes, got 0x9"),
        ({"base": 1 << 40}, "layout memory_base.address holds"),
        ({"read": (0, 1 << 41)}, "layout read_limit.address holds"),
    ],
)
def test_regions_that_cannot_be_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ArchonError, match=sentence):
        run(Driver(PlainBus()).configure(Regions(**(vars(REGIONS) | changes))))


def test_regions_reach_their_registers() -> None:
    bus = PlainBus()
    run(Driver(bus).configure(REGIONS, 5))
    assert bus.get("memory_base") == {"address": REGIONS.base}
    assert (bus.get("read_base")["address"], bus.get("read_limit")["address"]) == REGIONS.read
    assert (bus.get("write_base")["address"], bus.get("write_limit")["address"]) == REGIONS.write
    assert (bus.get("report_base")["address"], bus.get("report_capacity")["reports"]) == (0x800, 3)
    assert (bus.get("activity_base")["address"], bus.get("activity_capacity")["rows"]) == (0x900, 5)
    assert bus.get("stall_limit") == {"cycles": 5}


def test_words_lie_behind_the_base() -> None:
    bus = PlainBus()
    driver, words = Driver(bus), np.array([1, 1 << 63], dtype=np.uint64)
    run(driver.configure(REGIONS))
    run(driver.load(words, 4))
    assert bus.memory[REGIONS.base + 32] == 1
    assert (run(driver.fetch(4, 2)) == words).all()


def test_a_run_gives_reports_and_counters() -> None:
    bus = PlainBus(status={"done": 1}, jobs={"count": 2}, cycles={"count": 1 << 40}, activity_rows={"count": 7})
    driver = Driver(bus)
    run(driver.configure(REGIONS))
    reports = [{item.name: number + index for index, item in enumerate(REPORT.fields)} for number in (10, 20)]
    packed = [word for report in reports for word in int_to_words(REPORT.pack(report), REPORT.words)]
    run(bus.write_memory(REGIONS.reports, np.array(packed, dtype="<u8").tobytes()))
    rows = [{item.name: number + index for index, item in enumerate(ACTIVITY.fields)} for number in range(5)]
    packed = [word for row in rows for word in int_to_words(ACTIVITY.pack(row), ACTIVITY.words)]
    run(bus.write_memory(REGIONS.activity, np.array(packed, dtype="<u8").tobytes()))
    result = run(driver.run(77))
    assert result.reports == reports
    assert result.activity == rows
    assert (result.counters["jobs"], result.counters["cycles"]) == (2, 1 << 40)
    assert bus.get("program_address") == {"word": 77}
    assert bus.get("control")["start"] == 1


@pytest.mark.parametrize("busy", [0, 1])
def test_an_error_is_named(busy: int) -> None:
    code = ErrorCode.WRITE_OUTSIDE
    bus = PlainBus(status={"error": 1, "busy": busy}, error_code={"code": code}, error_address={"address": 1 << 36})
    driver = Driver(bus)
    run(driver.configure(REGIONS))
    with pytest.raises(ArchonError, match="stopped with WRITE_OUTSIDE at byte address 0x1000000000") as caught:
        run(driver.run(0))
    assert ("memory does not answer" in str(caught.value)) == bool(busy)


def test_a_second_run_is_refused_while_one_goes_on() -> None:
    bus = PlainBus()
    bus.put("status", 1)
    driver = Driver(bus)
    run(driver.configure(REGIONS))
    with pytest.raises(ArchonError, match="the accelerator is busy"):
        run(driver.run(0))
