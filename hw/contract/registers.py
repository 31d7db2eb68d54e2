"""The registers that the host reads and writes, one definition for hardware, driver, C header and document.

Registers are words of 32 bits, little-endian, at consecutive offsets; one of more than 32 bits takes two, low half first.
A register is made either of fields that the host sets (SETTING, PULSE) or of fields that the accelerator shows (STATUS,
CLEARED).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from itertools import accumulate

from hw.contract.activity import ACTIVITY
from hw.contract.axi import BYTE_ADDRESS_BITS
from hw.contract.config import ADDRESS_BITS, ArchonConfig
from hw.contract.descriptor import JOB_BITS, REPORT
from hw.contract.errors import ArchonError
from hw.contract.layout import Field, Layout

REGISTER_BITS = 32
REGISTER_BYTES = REGISTER_BITS // 8

REGISTER_ADDRESS_BITS = 12
"""Byte addresses on the AXI4-Lite port: one page of 4 KB, of which the registers take the first part."""

IDENTIFICATION = 0x4E435241
"""The letters ARCN in ascending bytes: what the first register holds."""

VERSION_MAJOR, VERSION_MINOR = 1, 2
"""Of this register map: the major number changes where a driver written for it would go wrong."""

STALL_LIMIT = 1 << 24
"""Cycles without progress after which a run is given up, unless the host sets another number."""

COUNTER_BITS = 64


class Access(Enum):
    """What the host can do with a field."""

    STATUS = "RO"
    """Read; writing the register changes nothing in it."""
    SETTING = "RW"
    """Read and write."""
    PULSE = "W1P"
    """Writing 1 does something once; reads as 0."""
    CLEARED = "W1C"
    """Read; writing 1 clears it."""


_INWARD = (Access.SETTING, Access.PULSE)


class ErrorCode(IntEnum):
    """Why a run was stopped. Several at once: the lowest number is kept."""

    NONE = 0
    READ_RESPONSE = 1
    WRITE_RESPONSE = 2
    READ_OUTSIDE = 3
    WRITE_OUTSIDE = 4
    DESCRIPTOR = 5
    STALLED = 6
    ABORTED = 7
    TABLES = 8

    @property
    def meaning(self) -> str:
        """What happened, for documents."""
        return _MEANINGS[self]


_MEANINGS = {
    ErrorCode.NONE: "it was not stopped",
    ErrorCode.READ_RESPONSE: "memory answered a read with an error; error_address is the word's",
    ErrorCode.WRITE_RESPONSE: "memory answered a write with an error; error_address is the word's",
    ErrorCode.READ_OUTSIDE: "a read outside the read window was asked for and not issued; error_address is the burst's",
    ErrorCode.WRITE_OUTSIDE: "a write outside the write window was asked for and not issued; error_address is the word's",
    ErrorCode.DESCRIPTOR: "a descriptor named a cluster that does not exist, or broke a rule of hw/contract/rules.py, or the "
    "program went on without an end; error_descriptor is its number in the program, from 0",
    ErrorCode.STALLED: "no word was read or written and no job ended for stall_limit cycles",
    ErrorCode.ABORTED: "the host asked for it",
    ErrorCode.TABLES: "a table segment was too short, too long, or not what its job needs; error_descriptor is the number that "
    "the job has in its descriptor",
}


@dataclass(frozen=True)
class RegisterField:
    """`bits` bits of a register, with their value after reset."""

    name: str
    bits: int
    access: Access
    description: str
    reset: int = 0


@dataclass(frozen=True)
class Register:
    """Fields packed least significant first; `locked` registers are not written while a run goes on."""

    name: str
    description: str
    fields: tuple[RegisterField, ...]
    locked: bool = False

    def __post_init__(self) -> None:
        if len({self.inward, *(item.access in _INWARD for item in self.fields)}) != 1:
            raise ArchonError(f"register {self.name}: expected fields of one direction, got both")
        if self.layout.width > 2 * REGISTER_BITS:
            raise ArchonError(f"register {self.name}: expected at most {2 * REGISTER_BITS} bits, got {self.layout.width}")

    @property
    def inward(self) -> bool:
        """True where the host sets the fields, False where the accelerator shows them."""
        return self.fields[0].access in _INWARD

    @property
    def writable(self) -> bool:
        """Whether a write to it is anything but an error."""
        return any(item.access is not Access.STATUS for item in self.fields)

    @property
    def layout(self) -> Layout:
        """Where the fields lie."""
        return Layout(self.name, tuple(Field(item.name, item.bits) for item in self.fields))

    @property
    def words(self) -> int:
        """Registers of 32 bits that it takes: 1 or 2."""
        return -(-self.layout.width // REGISTER_BITS)

    @property
    def reset(self) -> int:
        """All fields after reset."""
        return self.layout.pack({item.name: item.reset for item in self.fields})


def _shown(name: str, field: str, bits: int, description: str) -> Register:
    return Register(name, description, (RegisterField(field, bits, Access.STATUS, description),))


def _set(name: str, field: str, bits: int, description: str, reset: int = 0) -> Register:
    return Register(name, description, (RegisterField(field, bits, Access.SETTING, description, reset),), locked=True)


COUNTERS: tuple[Register, ...] = (
    _shown("cycles", "count", COUNTER_BITS, "clock cycles of the run"),
    _shown("words_read", "count", COUNTER_BITS, "words that memory delivered without an error"),
    _shown("words_written", "count", COUNTER_BITS, "words that memory took without an error, of reports too"),
    _shown("jobs", "count", COUNTER_BITS, "jobs that have ended"),
    _shown("multiplications", "count", COUNTER_BITS, "multiplications of these jobs"),
    _shown("additions", "count", COUNTER_BITS, "additions of these jobs"),
    _shown("steps", "count", COUNTER_BITS, "steps of accumulation of these jobs"),
    _shown("activity_rows", "count", COUNTER_BITS, "rows of what units did in these jobs; none in hardware without counters"),
)
"""Cleared by a start. What the host reads is a snapshot of all of them in one cycle, taken at the end of a run and at
control.snapshot."""

REGISTERS: tuple[Register, ...] = (
    _shown("identification", "letters", 32, f"0x{IDENTIFICATION:08X}: this is ARCHON"),
    Register(
        "version",
        "version of the register map",
        (
            RegisterField("minor", 16, Access.STATUS, "grows when registers are added"),
            RegisterField("major", 16, Access.STATUS, "grows when a driver has to change"),
        ),
    ),
    Register(
        "capabilities",
        "what the hardware was generated with",
        (
            RegisterField("clusters", 8, Access.STATUS, "clusters"),
            RegisterField("lanes", 8, Access.STATUS, "lanes of a cluster, one multiplier each"),
            RegisterField("slice_channels", 8, Access.STATUS, "expanded channels that the predictor handles a cycle"),
            RegisterField("kernel", 8, Access.STATUS, "largest kernel of depthwise layers"),
        ),
    ),
    Register(
        "control",
        "starts and stops",
        (
            RegisterField("start", 1, Access.PULSE, "run the program; ignored while a run goes on"),
            RegisterField("abort", 1, Access.PULSE, "stop the run with error code ABORTED; ignored where none goes on"),
            RegisterField("snapshot", 1, Access.PULSE, "take a snapshot of the counters"),
            RegisterField("interrupt_enable", 1, Access.SETTING, "the interrupt is high while this and done or error are"),
        ),
    ),
    Register(
        "status",
        "state of the run",
        (
            RegisterField("busy", 1, Access.STATUS, "a run goes on, or one that was stopped waits for memory's last responses"),
            RegisterField("done", 1, Access.CLEARED, "the program came to its end; a start clears it, too"),
            RegisterField("error", 1, Access.CLEARED, "the run was stopped, see error_code; a start clears it, too"),
        ),
    ),
    _shown("error_code", "code", 4, "why the run was stopped; a start clears it"),
    _shown("error_address", "address", BYTE_ADDRESS_BITS + 1, "byte address that the error code speaks of, else 0"),
    _set("memory_base", "address", BYTE_ADDRESS_BITS, "byte address of word 0 of programs; bits 2..0 are taken as 0"),
    _set("read_base", "address", BYTE_ADDRESS_BITS + 1, "first byte address that may be read"),
    _set("read_limit", "address", BYTE_ADDRESS_BITS + 1, "first byte address behind those that may be read"),
    _set("write_base", "address", BYTE_ADDRESS_BITS + 1, "first byte address that may be written"),
    _set("write_limit", "address", BYTE_ADDRESS_BITS + 1, "first byte address behind those that may be written"),
    _set("program_address", "word", ADDRESS_BITS, "word address of the program's first descriptor, counted from memory_base"),
    _set("stall_limit", "cycles", 32, "cycles without progress after which a run is stopped; 0: never", STALL_LIMIT),
    _set(
        "report_base", "address", BYTE_ADDRESS_BITS,
        f"byte address of the first report; bits 2..0 are taken as 0. The report of the n-th job to end (from 0) is "
        f"written to the {REPORT.words} words from report_base + {REPORT.words * 8} n on",
    ),
    _set("report_capacity", "reports", 32, "reports that are written; jobs that end later are counted only"),
    *COUNTERS,
    _set(
        "activity_base", "address", BYTE_ADDRESS_BITS,
        f"byte address of the first row of what a unit did in a job; bits 2..0 are taken as 0. The n-th row (from 0) is "
        f"written to the {ACTIVITY.words} words from activity_base + {ACTIVITY.words * 8} n on",
    ),
    _set("activity_capacity", "rows", 32, "such rows that are written; later ones are counted only"),
    _shown("error_descriptor", "index", JOB_BITS, "descriptor that the error code speaks of, else 0"),
)  # fmt: skip
"""In the order of their offsets."""

_FIRST_WORDS = accumulate((item.words for item in REGISTERS[:-1]), initial=0)
OFFSETS: dict[str, int] = {item.name: REGISTER_BYTES * word for item, word in zip(REGISTERS, _FIRST_WORDS, strict=True)}
"""Byte offset of every register, of its low half where it takes two."""

BY_NAME: dict[str, Register] = {item.name: item for item in REGISTERS}


def constants(config: ArchonConfig) -> dict[str, dict[str, int]]:
    """The fields of the registers that never change."""
    return {
        "identification": {"letters": IDENTIFICATION},
        "version": {"major": VERSION_MAJOR, "minor": VERSION_MINOR},
        "capabilities": {
            "clusters": config.clusters,
            "lanes": config.lanes,
            "slice_channels": config.slice_channels,
            "kernel": config.kernel,
        },
    }
