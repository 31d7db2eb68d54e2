import dataclasses
import shutil
from pathlib import Path

import pytest

from hw.contract.errors import ArchonError
from sim import model as model_module
from sim.model import Design, SimulationFailedError, build, port_names
from sim.simulation import TestRun, build_and_test, repeat, run

pytestmark = pytest.mark.xdist_group("counter")  # its runs share a folder

COUNTER = Path(__file__).parent / "testdata" / "counter.v"
RUN = TestRun("sim.counter_tests", environment={"EXPECTED_STEP": "3"}, names=["counts"])


def counter(step: int = 3) -> Design:
    return Design([COUNTER], "counter", {"STEP": step})


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(model_module, "SIMULATIONS", tmp_path / "simulations")
    return tmp_path / "simulations"


def test_passing_test_gives_its_case() -> None:
    result = build_and_test(counter(), RUN)
    assert [(case.name, case.passed) for case in result.cases] == [("counts", True)]
    assert result.cases[0].simulated_ns >= 1000
    assert result.waves is None


def test_failing_test_raises_with_log_seed_and_repeat() -> None:
    wrong = dataclasses.replace(RUN, seed=7, environment={"EXPECTED_STEP": "2"})
    with pytest.raises(SimulationFailedError, match="1 of 1 tests failed: counts") as caught:
        build_and_test(counter(), wrong)
    message = str(caught.value)
    assert "seed 7" in message
    log = Path(message.partition("log: ")[2].splitlines()[0])
    assert "counts" in log.read_text(encoding="utf-8")
    specification = Path(message.partition("repeat: python -m sim.simulation ")[2].splitlines()[0])
    with pytest.raises(SimulationFailedError, match="1 of 1 tests failed"):
        repeat(specification)


def test_seed_decides_the_random_choices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COCOTB_RANDOM_SEED", "99")  # the argument counts, not what the shell happens to hold
    built = build(counter())

    def enabled(seed: int, folder: str) -> str:
        result = run(built, dataclasses.replace(RUN, seed=seed), tmp_path / folder)
        return (result.directory / "enabled_cycles").read_text(encoding="utf-8")

    assert enabled(1, "a") == enabled(1, "b")
    assert enabled(1, "a") != enabled(2, "c")


def test_run_without_any_test_fails() -> None:
    with pytest.raises(SimulationFailedError, match=r"expected cocotb tests in sim\.counter_tests with names absent, count"):
        build_and_test(counter(), dataclasses.replace(RUN, names=["absent", "count"]))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], ["counts", "holds/cycles=1", "holds/cycles=10"]),
        (["holds"], ["holds/cycles=1", "holds/cycles=10"]),
        (["holds/cycles=1"], ["holds/cycles=1"]),
        (["counts", "holds/cycles=10"], ["counts", "holds/cycles=10"]),
    ],
)
def test_names_choose_tests_with_and_without_parameters(names: list[str], expected: list[str]) -> None:
    cases = build_and_test(counter(), dataclasses.replace(RUN, names=names)).cases
    assert [case.name for case in cases] == expected


def test_missing_test_module_fails_with_the_reason() -> None:
    with pytest.raises(SimulationFailedError, match=r"sim\.no_such_tests"):
        build_and_test(counter(), TestRun("sim.no_such_tests"))


def test_waves_are_recorded() -> None:
    result = build_and_test(counter(), dataclasses.replace(RUN, waves=True))
    assert result.waves is not None
    assert "count" in result.waves.read_text(encoding="utf-8")


def test_waves_need_a_model_that_records_them() -> None:
    with pytest.raises(ArchonError, match="waves=True"):
        run(build(counter()), TestRun("sim.counter_tests", waves=True))


def test_equal_build_is_taken_from_the_cache(fresh_cache: Path) -> None:
    first = build(counter())
    stamp = (first.directory / "counter").stat().st_mtime_ns
    assert build(counter()).directory == first.directory
    assert (first.directory / "counter").stat().st_mtime_ns == stamp
    assert build(counter(step=5)).directory != first.directory
    assert len([folder for folder in fresh_cache.iterdir() if not folder.name.startswith(".")]) == 2


def test_refused_design_leaves_its_log_and_no_model(fresh_cache: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.v"
    broken.write_text("module counter(input clk); assign nothing = ; endmodule\n", encoding="utf-8")
    with pytest.raises(SimulationFailedError, match=r"could not build counter; log: .*build\.log"):
        build(Design([broken], "counter"))
    assert [folder.suffix for folder in fresh_cache.iterdir() if not folder.name.startswith(".")] == [".failed"]


def test_unknown_top_module_and_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(ArchonError, match="expected a module 'absent' in the Verilog, found: counter"):
        build(Design([COUNTER], "absent"))
    with pytest.raises(ArchonError, match="expected a Verilog file at"):
        build(Design([tmp_path / "absent.v"], "counter"))


def test_icarus_gives_the_same_result_or_says_that_it_is_missing() -> None:
    if shutil.which("iverilog") is None:
        with pytest.raises(ArchonError, match="no iverilog was found on PATH"):
            build_and_test(counter(), RUN, simulator="icarus")
        return
    result = build_and_test(counter(), RUN, simulator="icarus")
    assert [(case.name, case.passed) for case in result.cases] == [("counts", True)]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("module m(clk, rst, \\port$0 );", ["clk", "rst", "port$0"]),
        ("module m #(parameter N = (3)) (input wire [N-1:0] a, output reg [7:0] b = 0);", ["a", "b"]),
        ("/* module m(x); */ module m(a, // first\n b);", ["a", "b"]),
        ("module m;", []),
        ("module m();", []),
    ],
)
def test_port_names(header: str, expected: list[str]) -> None:
    assert port_names(f"{header}\nendmodule\n", "m") == expected
