"""The register map's document and header are those of the contract."""

import re
import subprocess
from pathlib import Path

import pytest

from hw.contract.registers import OFFSETS, REGISTERS, ErrorCode
from sim import registers
from sim.registers import DOCUMENT, HEADER, document, header, write_register_files


def test_committed_files_are_what_the_contract_gives() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document()
    assert HEADER.read_text(encoding="utf-8") == header()


def test_files_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registers, "DOCUMENT", tmp_path / "registers.md")
    monkeypatch.setattr(registers, "HEADER", tmp_path / "archon.h")
    assert [path.read_text(encoding="utf-8") for path in write_register_files()] == [document(), header()]


def test_a_c_compiler_sees_the_contracts_numbers(tmp_path: Path) -> None:
    names = [name for name in re.findall(r"#define (ARCHON_\w+) \d", header()) if name != "ARCHON_H"]
    prints = "".join(f'printf("{name} %u\\n", (unsigned){name});' for name in names)
    source = tmp_path / "print.cpp"
    source.write_text(f'#include <cstdio>\n#include "{HEADER}"\nint main() {{ {prints} }}\n', encoding="utf-8")
    subprocess.run(["g++", "-Wall", "-Werror", "-o", tmp_path / "print", source], check=True)
    printed = subprocess.run([tmp_path / "print"], check=True, capture_output=True, text=True).stdout
    values = {name: int(value) for name, value in (line.split() for line in printed.splitlines())}
    for register in REGISTERS:
        suffix = "" if register.words == 1 else "_LOW"
        assert values[f"ARCHON_{register.name.upper()}{suffix}"] == OFFSETS[register.name]
    assert values["ARCHON_CONTROL_INTERRUPT_ENABLE_MASK"] == 1 << values["ARCHON_CONTROL_INTERRUPT_ENABLE_SHIFT"]
    for code in ErrorCode:
        assert values[f"ARCHON_CODE_{code.name}"] == code
