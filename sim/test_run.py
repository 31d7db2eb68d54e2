"""A small network from images to classes on the RTL: it passes, and a flipped bit of its tables makes it fail."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import sim.run
from hw.contract.activity import Unit
from hw.contract.config import CHANNELS_PER_WORD, preset
from hw.contract.descriptor import DESCRIPTOR_WORDS
from hw.contract.errors import ArchonError
from sim.__main__ import main
from sim.hardware import Hardware, choose_hardware
from sim.options import Options
from sim.report import Report
from sim.run import check_simulator, choose_images, run_network, with_flipped_bit
from sim.small_network import bias_bit, make_network, small_spec
from sw.bundle import find_bundle, load_bundle, save_bundle
from sw.bundle.network import DenseLayer, Requantization
from sw.datasets import cropped, load_excerpt
from sw.export.random_network import Survivors, random_network
from sw.golden import fixed_multiplications, layer_costs, run
from sw.spec import load_spec
from tb.kinds_cases import KindsCase, kinds_spec


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "sim-test.archon"
    save_bundle(make_network(small_spec()), path)
    return path


@pytest.fixture(scope="module")
def little_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same layers on images of a tenth of the size, for runs that are slow."""
    path = tmp_path_factory.mktemp("bundle") / "sim-test.archon"
    save_bundle(make_network(small_spec(9, 11)), path)
    return path


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where runs leave their reports."""
    monkeypatch.setattr(sim.run, "BUILD", tmp_path)
    return tmp_path / "sim-test"


def test_a_sound_run_passes(bundle: Path, build: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(bundle), "--images", "3", "--seed", "2"]) == 0
    printed = capsys.readouterr().out
    assert "PASS: all " in printed
    assert "again: make sim NET=" in printed
    report = Report.model_validate_json((build / "report.json").read_text(encoding="utf-8"))
    network, excerpt = load_bundle(bundle), choose_images(small_spec(), 3, 2)
    golden = run(network, excerpt.images, "fused")
    assert report.bit_exact
    assert report.predictions == golden.classes.tolist()
    assert report.labels == excerpt.labels.tolist()
    assert (report.images, report.preset, report.lanes, report.seed) == (3, "tiny", 2, 2)
    assert [layer.name for layer in report.layers] == [cost.name for cost in layer_costs(network)]
    fixed = fixed_multiplications(network)
    for layer in report.layers:
        assert layer.on == "rtl"
        assert 0 < (layer.cycles or 0) < report.clock_cycles_per_image
        if layer.name in fixed:
            assert layer.multiplications_executed == fixed[layer.name]
            continue
        counts = golden.counts[layer.name]
        assert layer.multiplications_executed == np.mean([count.multiplications for count in counts])
        assert layer.additions_executed == np.mean([count.additions for count in counts])
    activations = (27 + 3 * 4) * 16 * 16 + 2 * 8 * 8 * 8 + 16 * 8 * 8 + 16
    assert report.compared == 3 * (activations + 10 + 3 * len(report.layers))
    assert {path.name for path in build.iterdir()} == {
        "report.json", "report.csv", "report.png", "activity.csv", "activity.png", "simulation"
    }  # fmt: skip
    assert report.discrepancies == []
    assert {row.unit for row in report.activity} == {unit.label for unit in Unit}
    multiplied = sum(row.busy for row in report.activity if row.unit == Unit.MULTIPLIERS.label)
    assert multiplied == sum(layer.multiplications_executed or 0 for layer in report.layers)


def test_a_flipped_bit_fails_and_is_named(bundle: Path, build: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = load_bundle(bundle)
    bit = bias_bit(choose_hardware(network).image, "stem", 29)
    assert main(["run", str(bundle), "--images", "2", "--flip-bit", str(bit)]) == 1
    report = Report.model_validate_json((build / "report.json").read_text(encoding="utf-8"))
    first = report.first_difference
    parts = network.stem.requantization
    bias = parts.bias.copy()
    bias[0] ^= 1 << 29
    wrong = network.replaced(stem=DenseLayer(network.stem.weight, Requantization(bias, parts.multiplier, parts.shift)))
    images = choose_images(network.spec, 2, 1).images
    right, other = (run(each, images, keep_activations=True).activations["stem"] for each in (network, wrong))
    place = tuple(int(index) for index in np.argwhere(right != other)[0])
    assert not report.bit_exact
    assert report.mismatches > np.count_nonzero(right != other)
    assert first is not None
    assert (first.layer, first.image, first.channel, first.row, first.column) == ("stem", *place)
    assert (first.expected, first.got) == (right[place], other[place])
    where = f"image {place[0]}, layer stem, channel {place[1]}, row {place[2]}, column {place[3]}"
    assert capsys.readouterr().out.count(f"{where}: expected {first.expected}, got {first.got}") == 1
    assert f"--flip-bit {bit}" in report.command


def test_waveforms_are_kept(little_bundle: Path, build: Path) -> None:
    outcome = run_network(Options(str(little_bundle), images=1, waves=True), Console(quiet=True))
    assert outcome.report.bit_exact
    assert "WAVES=1" in outcome.report.command
    waves = build / "waves" / "waves.vcd"
    assert waves in outcome.files
    with waves.open(encoding="ascii") as text:
        assert any("$scope module harness" in line for _, line in zip(range(200), text, strict=False))


if shutil.which("iverilog"):

    def test_icarus_gives_the_same(little_bundle: Path, build: Path) -> None:
        # Icarus runs some thousand cycles a second, so memory is fast here.
        report = run_network(Options(str(little_bundle), images=1, simulator="icarus", latency=2), Console(quiet=True)).report
        assert report.bit_exact
        assert report.simulator == "icarus"
        assert report.command.endswith("--images 1 --seed 1 --simulator icarus --latency 2")
        assert (build / "report.json").is_file()


@pytest.mark.slow
def test_every_kind_of_block_passes_on_images_of_odd_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sim.run, "BUILD", tmp_path)
    spec = kinds_spec(KindsCase("odd", 27, 30, 2))
    images = cropped(load_excerpt().images[:2], 27, 30)
    path = tmp_path / "kinds.archon"
    save_bundle(random_network(spec, 7, Survivors(0.5, 0.5), images).network, path)
    assert main(["run", str(path), "--images", "1", "--latency", "5"]) == 0
    printed = capsys.readouterr().out
    report = Report.model_validate_json((tmp_path / "kinds" / "report.json").read_text(encoding="utf-8"))
    assert report.bit_exact
    assert [layer.name for layer in report.layers] == [layer.name for layer in spec.layers]
    layers = {layer.name: layer for layer in report.layers}
    assert layers["block 5 pair"].kind == "fused pointwise pair"
    assert layers["block 5 pair"].predictor_agreement_second == 1
    assert layers["block 4 shortcut"].survivors_first is None
    assert all(layer.on == "rtl" for layer in report.layers)
    assert "block 4 shortcut" in printed


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "no-such-network"], "unknown network 'no-such-network'"),
        (["run", "{bundle}", "--images", "0"], "IMAGES must be 1 to 100, got 0"),
        (["run", "{bundle}", "--images", "101"], "IMAGES must be 1 to 100, got 101"),
        (["run", "{bundle}", "--lanes", "3"], "LANES must be 1, 2, 4 or a multiple of 8 up to 512, got 3"),
        (["run", "{bundle}", "--preset", "huge"], "unknown preset 'huge', expected one of tiny, small, ecp5-85, large"),
        (["run", "{bundle}", "--flip-bit", "-1"], "got bit -1"),
        (["run", "{bundle}", "--latency", "-1"], "latency must be 0 to 65535 cycles, got -1"),
        (["verilog", "huge"], "unknown preset 'huge', expected one of tiny, small, ecp5-85, large"),
        (["synth", "huge"], "unknown preset 'huge', expected one of tiny, small, ecp5-85, large"),
        (["synth", "tiny", "--target", "asic"], "unknown target 'asic', expected one of ecp5"),
    ],
)
def test_bad_input_ends_in_one_sentence(
    arguments: list[str], sentence: str, bundle: Path, build: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([argument.format(bundle=bundle) for argument in arguments]) == 2
    message = capsys.readouterr().err
    assert sentence in message
    assert message.count("\n") == 1
    assert not build.exists()


def test_help_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--help"]) == 0
    assert "--images" in capsys.readouterr().out


def test_a_truncated_bundle_is_refused(bundle: Path, tmp_path: Path, build: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = tmp_path / "damaged.archon"
    damaged.write_bytes(bundle.read_bytes()[:-100])
    assert main(["run", str(damaged)]) == 2
    assert "damaged or truncated" in capsys.readouterr().err
    assert not build.exists()


def test_a_missing_compiler_is_refused(
    bundle: Path, build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["run", str(bundle)]) == 2
    assert "g++ is needed to compile the simulation" in capsys.readouterr().err
    assert not build.exists()


def test_verilog_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sim.__main__.BUILD", tmp_path)
    assert main(["verilog", "tiny"]) == 0
    path = tmp_path / "verilog" / "tiny" / "archon.v"
    assert "module archon(" in path.read_text(encoding="utf-8")
    assert capsys.readouterr().out.split(":")[0] == str(path)
    assert [entry.name for entry in path.parent.iterdir()] == ["archon.v"]


def test_the_smallest_preset_that_fits_is_chosen(bundle: Path) -> None:
    small, nano = load_bundle(bundle), make_network(load_spec("fusionet-nano"))
    assert choose_hardware(small).preset == "tiny"
    assert choose_hardware(nano).preset == "small"
    assert choose_hardware(nano, 4).config.multipliers == 4
    assert choose_hardware(small, 16, "small").config == preset("small").with_lanes(16)
    full = load_bundle(find_bundle("fusionet"))
    with pytest.raises(ArchonError, match="fusionet does not fit preset tiny: stem, group 0: activation memory needs 512 rows"):
        choose_hardware(full, None, "tiny")
    with pytest.raises(ArchonError, match="fusionet does not fit preset tiny with 4 lanes: stem, group 0: "):
        choose_hardware(full, 4, "tiny")


@pytest.mark.parametrize(("name", "expected"), [("fusionet-nano", "small"), ("fusionet", "large")])
def test_trained_networks_fit_their_preset(name: str, expected: str) -> None:
    assert choose_hardware(load_bundle(find_bundle(name))).preset == expected


def test_too_many_lanes_for_icarus_are_refused(bundle: Path) -> None:
    network = load_bundle(bundle)
    check_simulator("icarus", choose_hardware(network, CHANNELS_PER_WORD))
    check_simulator("verilator", choose_hardware(network, 2 * CHANNELS_PER_WORD))
    with pytest.raises(ArchonError, match="too slow for more than 8 lanes, got 16"):
        check_simulator("icarus", choose_hardware(network, 2 * CHANNELS_PER_WORD))


def test_the_seed_chooses_the_images() -> None:
    spec = small_spec()
    first, again, other = (choose_images(spec, 10, seed).indices.tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert len(set(first)) == 10
    assert len(choose_images(spec, None, 1).labels) == 2
    assert len(choose_images(load_spec("fusionet"), None, 1).labels) == 1
    with pytest.raises(ArchonError, match=r"takes images of \(33, 32, 3\), the ones that are there have \(32, 32, 3\)"):
        choose_images(spec.model_copy(update={"height": 33}), 1, 1)
    smaller = choose_images(spec.model_copy(update={"height": 27, "width": 30}), 10, 1)
    np.testing.assert_array_equal(smaller.images, choose_images(spec, 10, 1).images[:, 2:29, 1:31])


def test_a_flipped_bit_is_one_bit_of_the_tables(bundle: Path) -> None:
    hardware: Hardware = choose_hardware(load_bundle(bundle))
    image = hardware.image
    start = sum(program.words for program in (image.network_program, *image.layer_programs))
    assert start % DESCRIPTOR_WORDS == 0
    for bit in (0, 63, 64, 64 * (image.activation_address - start) - 1):
        changed = image.words ^ with_flipped_bit(image, bit).words
        assert np.flatnonzero(changed).tolist() == [start + bit // 64]
        assert int(changed[start + bit // 64]) == 1 << (bit % 64)
    with pytest.raises(ArchonError, match="the tables have bits 0 to"):
        with_flipped_bit(image, 64 * (image.activation_address - start))


def test_the_command_repeats_all_options() -> None:
    assert Options("a b", images=2, seed=3).command() == "make sim NET='a b' IMAGES=2 SEED=3"
    full = Options("net", 2, 8, 3, True, "icarus", "tiny", 5, 9)
    assert full.command().endswith(
        "run net --images 2 --lanes 8 --seed 3 --waves --simulator icarus --preset tiny --latency 5 --flip-bit 9"
    )
    assert dataclasses.replace(full, latency=100, flip_bit=None).command() == (
        "make sim NET=net IMAGES=2 PRESET=tiny LANES=8 SEED=3 WAVES=1 SIM=icarus"
    )
