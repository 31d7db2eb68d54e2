"""The register map as a document and as a C header, both made from hw.contract.registers."""

from collections.abc import Iterator
from pathlib import Path

from hw.contract.registers import (
    IDENTIFICATION,
    OFFSETS,
    REGISTER_BITS,
    REGISTER_BYTES,
    REGISTERS,
    VERSION_MAJOR,
    VERSION_MINOR,
    Access,
    ErrorCode,
    Register,
)
from sim.report import write_whole
from sim.toolchain import REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "registers.md"
HEADER = REPOSITORY / "sw" / "driver" / "archon.h"

_ACCESS = {
    Access.STATUS: "read",
    Access.SETTING: "read, write",
    Access.PULSE: "write 1 to do it; reads as 0",
    Access.CLEARED: "read; write 1 to clear",
}

_INTRODUCTION = """# Registers

Made by `python -m sim registers` from `hw/contract/registers.py`, as is the C header `sw/driver/archon.h`.

The accelerator on its buses (`hw/rtl/axi/archon_axi.py`) is told what to do by these registers, on AXI4-Lite. They have
32 bits; one of more has its low half first. A write changes only the bytes whose strobe is set. A write to a register that can
only be read, to a locked one while a run goes on, or to an offset without a register changes nothing and is answered with
SLVERR; so is a read at an offset without a register.
"""


def document() -> str:
    """docs/registers.md."""
    errors = [f"| {code.value} | `{code.name}` | {code.meaning} |" for code in ErrorCode]
    table = ["| value | error code | meaning |", "|---|---|---|", *errors]
    return "\n".join([_INTRODUCTION, *_overview(), "", *_details(), "## Error codes", "", *table, ""])


def header() -> str:
    """sw/driver/archon.h."""
    lines = [
        "/* Registers of ARCHON, made by `python -m sim registers` from hw/contract/registers.py. */",
        "#ifndef ARCHON_H",
        "#define ARCHON_H",
        "",
    ]
    for register in REGISTERS:
        lines.append(f"/* {register.description} */")
        lines += [f"#define ARCHON_{name.upper()} 0x{offset:02x}u" for name, offset in _words(register)]
        lines += list(_field_macros(register))
        lines.append("")
    lines += ["/* what identification and version hold */"]
    lines += [f"#define ARCHON_LETTERS 0x{IDENTIFICATION:08x}u"]
    lines += [f"#define ARCHON_MAJOR {VERSION_MAJOR}u", f"#define ARCHON_MINOR {VERSION_MINOR}u"]
    lines += ["", "/* values of error_code */"]
    lines += [f"#define ARCHON_CODE_{code.name} {code.value}u" for code in ErrorCode]
    return "\n".join([*lines, "", "#endif", ""])


def write_register_files() -> list[Path]:
    """Write both; their paths."""
    write_whole(DOCUMENT, lambda beside: beside.write_text(document(), encoding="utf-8"))
    write_whole(HEADER, lambda beside: beside.write_text(header(), encoding="utf-8"))
    return [DOCUMENT, HEADER]


def _words(register: Register) -> list[tuple[str, int]]:
    """Names and offsets of the 32-bit registers that a register takes."""
    offset = OFFSETS[register.name]
    if register.words == 1:
        return [(register.name, offset)]
    return [(f"{register.name}_low", offset), (f"{register.name}_high", offset + REGISTER_BYTES)]


def _overview() -> Iterator[str]:
    yield from ("| offset | register | locked | what |", "|---|---|---|---|")
    for register in REGISTERS:
        for name, offset in _words(register):
            yield f"| 0x{offset:02x} | `{name}` | {'yes' if register.locked else ''} | {register.description} |"


def _details() -> Iterator[str]:
    yield from ("## Fields", "", "| register | bits | field | access | reset | what |", "|---|---|---|---|---|---|")
    for register in REGISTERS:
        for item in register.fields:
            low = register.layout.offsets[item.name]
            bits = f"{low + item.bits - 1}..{low}" if item.bits > 1 else f"{low}"
            reset = "" if item.access is Access.STATUS else f"{item.reset}"
            yield f"| `{register.name}` | {bits} | `{item.name}` | {_ACCESS[item.access]} | {reset} | {item.description} |"
    yield ""


def _field_macros(register: Register) -> Iterator[str]:
    """Shift and mask of every field, where a register has several or one of fewer bits than it."""
    if register.words > 1 or (register.layout.width == REGISTER_BITS and len(register.fields) == 1):
        return
    for item in register.fields:
        prefix = f"ARCHON_{register.name}_{item.name}".upper()
        yield f"#define {prefix}_SHIFT {register.layout.offsets[item.name]}"
        yield f"#define {prefix}_MASK 0x{((1 << item.bits) - 1) << register.layout.offsets[item.name]:08x}u"
