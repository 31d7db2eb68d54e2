"""Verilog is written again when what it is made of has changed, and only then."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from amaranth.lib import wiring

import sim.digests
import sim.verilog
from hw.contract.config import preset
from sim.verilog import unit_verilog, write_verilog


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files that were written; sources are those under REPOSITORY / hw and sim, which a test may change."""
    files: list[Path] = []

    def noted(components: Mapping[str, wiring.Component], path: Path) -> Path:
        files.append(path)
        return write_verilog(components, path)

    monkeypatch.setattr(sim.verilog, "write_verilog", noted)
    monkeypatch.setattr(sim.verilog, "BUILD", tmp_path / "build")
    monkeypatch.setattr(sim.digests, "REPOSITORY", tmp_path)
    for folder in ("hw/rtl", "sim"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "source.py").write_text("# as it was\n", encoding="utf-8")
    return files


def exported() -> Path:
    """What the next process would do."""
    sim.verilog._sources.cache_clear()
    return unit_verilog("summation", preset("tiny"))


@pytest.fixture(autouse=True)
def forgotten() -> object:
    yield
    sim.verilog._sources.cache_clear()


def test_the_same_sources_spare_the_export(written: list[Path]) -> None:
    path = exported()
    assert "module summation(" in path.read_text(encoding="utf-8")
    assert exported() == path
    assert written == [path]


@pytest.mark.parametrize("folder", ["hw/rtl", "sim"])
@pytest.mark.parametrize("change", ["edited", "added", "removed"])
def test_a_changed_source_is_noticed(folder: str, change: str, written: list[Path], tmp_path: Path) -> None:
    path, source = exported(), tmp_path / folder / "source.py"
    if change == "removed":
        source.unlink()
    else:
        (source if change == "edited" else source.with_name("another.py")).write_text("# changed\n", encoding="utf-8")
    exported()
    assert written == [path] * 2
    exported()
    assert written == [path] * 2


def test_tests_and_other_folders_are_no_sources(written: list[Path], tmp_path: Path) -> None:
    exported()
    (tmp_path / "hw" / "rtl" / "test_source.py").write_text("# a test\n", encoding="utf-8")
    (tmp_path / "other.py").write_text("# another folder\n", encoding="utf-8")
    exported()
    assert len(written) == 1


def test_a_changed_or_lost_file_is_written_again(written: list[Path]) -> None:
    path = exported()
    text = path.read_text(encoding="utf-8")
    path.write_text(f"{text}// changed\n", encoding="utf-8")
    assert exported().read_text(encoding="utf-8") == text
    path.unlink()
    assert exported().read_text(encoding="utf-8") == text
    assert len(written) == 3
