"""Bundles: what is written is read, bytes are the same every time, every damage has its sentence."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hw.contract.config import Widths
from hw.contract.errors import ArchonError
from sw.bundle import bundle_file, find_bundle, known_bundles, load_bundle, save_bundle
from sw.bundle.network import IntegerNetwork
from sw.datasets import load_excerpt
from sw.export.random_network import Survivors, random_network
from sw.spec import load_spec

Files = dict[str, bytes]


@pytest.fixture(scope="module")
def network() -> IntegerNetwork:
    quantized = random_network(load_spec("fusionet-nano"), 1, Survivors(0.4, 0.3), load_excerpt().images[:1])
    return quantized.network.replaced(provenance={"weights": "random", "seed": "1"})


@pytest.fixture(scope="module")
def bundle(network: IntegerNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "nano.archon"
    save_bundle(network, path)
    return path


def files_of(path: Path) -> Files:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, files: Files) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def with_manifest(files: Files, change: Callable[[dict[str, Any]], object]) -> Files:
    manifest = json.loads(files["manifest.json"])
    change(manifest)
    return files | {"manifest.json": json.dumps(manifest).encode()}


def with_array(files: Files, name: str, array: np.ndarray, **entry: object) -> Files:
    """An array replaced, with a checksum that fits it."""
    content = bundle_file._npy(array)
    digest = hashlib.sha256(content).hexdigest()
    described = {"dtype": array.dtype.name, "shape": list(array.shape), "sha256": digest} | entry
    return with_manifest(files, lambda manifest: manifest["arrays"].update({name: described})) | {f"{name}.npy": content}


def test_round_trip(network: IntegerNetwork, bundle: Path) -> None:
    loaded = load_bundle(bundle)
    assert loaded.spec == network.spec
    assert loaded.provenance == {"weights": "random", "seed": "1"}
    written, read = (dict(bundle_file._arrays(item)) for item in (network, loaded))
    assert list(written) == list(read) == bundle_file._array_names(network.spec)
    for name, array in written.items():
        assert array.dtype == read[name].dtype
        np.testing.assert_array_equal(array, read[name], err_msg=name)


def test_equal_networks_give_equal_bytes(bundle: Path, tmp_path: Path) -> None:
    save_bundle(load_bundle(bundle), tmp_path / "again.archon")
    assert (tmp_path / "again.archon").read_bytes() == bundle.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.archon"]


def test_an_array_that_does_not_fit_is_not_written(network: IntegerNetwork, tmp_path: Path) -> None:
    with pytest.raises(ArchonError, match=r"dense.bias: expected int32 \(10,\), got int32 \(9,\)"):
        save_bundle(network.replaced(dense_bias=network.dense_bias[1:]), tmp_path / "wrong.archon")
    assert not list(tmp_path.iterdir())


def refused(path: Path) -> str:
    with pytest.raises(ArchonError) as caught:
        load_bundle(path)
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_truncated(bundle: Path, tmp_path: Path, share: float) -> None:
    content = bundle.read_bytes()
    path = tmp_path / "cut.archon"
    path.write_bytes(content[: int(share * len(content))])
    assert "expected a whole bundle (a zip file), got a damaged or truncated one" in refused(path)


def test_any_flipped_bit_is_noticed(bundle: Path, network: IntegerNetwork, tmp_path: Path) -> None:
    content, path = bundle.read_bytes(), tmp_path / "flipped.archon"
    good = dict(bundle_file._arrays(network))
    for place in np.random.default_rng(1).integers(0, len(content), 40).tolist():
        path.write_bytes(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
        try:
            loaded = load_bundle(path)
        except ArchonError as error:
            assert "\n" not in str(error)  # noqa: PT017 - either outcome is right, see below
        else:  # a bit of a time stamp or of another field that carries nothing
            assert all((array == good[name]).all() for name, array in bundle_file._arrays(loaded))


def test_not_a_bundle(tmp_path: Path) -> None:
    assert "expected a bundle, got no such file" in refused(tmp_path / "absent.archon")
    assert "expected a whole bundle" in refused(tmp_path)
    text = tmp_path / "text.archon"
    text.write_text("not a zip file")
    assert "expected a whole bundle" in refused(text)
    assert "expected a bundle with manifest.json" in refused(write(tmp_path / "empty.archon", {"x": b""}))
    for content in (b"{", b"\xff\xfe"):
        assert "expected manifest.json in JSON" in refused(write(tmp_path / "json.archon", {"manifest.json": content}))
    assert "expected format 'archon-bundle'" in refused(write(tmp_path / "list.archon", {"manifest.json": b"[]"}))


def manifest_fault(**changes: object) -> Callable[[Files], Files]:
    return lambda files: with_manifest(files, lambda manifest: manifest.update(changes))


def drop(files: Files) -> Files:
    return {name: content for name, content in files.items() if name != "block_2.expand_weight.npy"}


def drop_listed(files: Files) -> Files:
    return with_manifest(files, lambda manifest: manifest["arrays"].pop("pool.shift"))


def fewer_blocks(manifest: dict[str, Any]) -> None:
    manifest["spec"]["blocks"] = manifest["spec"]["blocks"][:4]


def ternary(files: Files) -> Files:
    weight = np.load(io.BytesIO(files["block_1.predictor_expand_weight.npy"]))
    weight[3, 2] = 2
    return with_array(files, "block_1.predictor_expand_weight", weight)


def overflowing(files: Files) -> Files:
    weight = np.load(io.BytesIO(files["block_3.expand_weight.npy"]))
    weight[7, 0] = 16
    return with_array(files, "block_3.expand_weight", weight)


def overflowing_bias(files: Files) -> Files:
    return with_array(files, "last_pointwise.bias", np.full(256, (1 << 31) - 1, dtype=np.int32))


FAULTS: list[tuple[Callable[[Files], Files], str]] = [
    (manifest_fault(format="other"), "expected format 'archon-bundle' in manifest.json, got 'other'"),
    (manifest_fault(version=4), "expected bundle version 1 or 2 or 3, got 4"),
    (manifest_fault(extra=1), "got a fault at extra"),
    (manifest_fault(provenance={"seed": 1}), "got a fault at provenance.seed"),
    (lambda files: with_manifest(files, lambda manifest: manifest["spec"].update(width=-3)), "width"),
    (lambda files: with_manifest(files, fewer_blocks), "expected no array block_5.bias in the list in manifest.json, got one"),
    (drop, "expected an array block_2.expand_weight in the bundle, got none"),
    (drop_listed, "expected an array pool.shift in the list in manifest.json, got none"),
    (lambda files: files | {"more.npy": b""}, "expected no array more in the bundle, got one"),
    (lambda files: files | {"pool.bias.npy": files["pool.shift.npy"]}, "pool.bias: expected the sha256"),
    (
        lambda files: with_array(files, "dense.bias", np.zeros(10, dtype=np.int64)),
        "dense.bias: expected int32 (10,), got int64 (10,)",
    ),
    (
        lambda files: with_array(files, "dense.bias", np.zeros((2, 5), dtype=np.int32)),
        "dense.bias: expected int32 (10,), got int32 (2, 5)",
    ),
    (
        lambda files: with_array(files, "dense.bias", np.zeros(10, dtype=np.int32), shape=[9]),
        "dense.bias: expected int32 (9,) as in manifest.json, got int32 (10,)",
    ),
    (ternary, "block 1.predictor_expand_weight: expected values in -1..1, got 2"),
    (overflowing, "block 3: W1 of expanded channel 7 reaches a magnitude of 16: 6 bits would do, 5 are there"),
    (overflowing_bias, "last_pointwise: its sum of channel"),
]


@pytest.mark.parametrize(("fault", "sentence"), FAULTS, ids=range(len(FAULTS)))
def test_faults_are_named(fault: Callable[[Files], Files], sentence: str, bundle: Path, tmp_path: Path) -> None:
    assert sentence in refused(write(tmp_path / "faulty.archon", fault(files_of(bundle))))


def test_something_else_than_an_array(bundle: Path, tmp_path: Path) -> None:
    files = files_of(bundle)
    content = b"not an array"
    digest = hashlib.sha256(content).hexdigest()
    files = with_manifest(files, lambda manifest: manifest["arrays"]["pool.bias"].update(sha256=digest))
    assert "pool.bias: expected an array in npy format" in refused(
        write(tmp_path / "text.archon", files | {"pool.bias.npy": content})
    )


def test_hardware_of_other_widths(bundle: Path) -> None:
    with pytest.raises(ArchonError, match=r"block 1: an entry of A of output channel \d+ reaches \d+: 1\d bits would do, 12"):
        load_bundle(bundle, Widths(accumulator=12))
    assert load_bundle(bundle, Widths(accumulator=24)).spec.name == "fusionet-nano"


def test_finding(bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bundle_file, "TRAINED_FOLDER", bundle.parent)
    assert known_bundles() == ("nano",)
    assert find_bundle("nano") == find_bundle(bundle) == bundle
    with pytest.raises(ArchonError, match=r"unknown network 'resnet': expected one of nano, or the path of a bundle"):
        find_bundle("resnet")
    with pytest.raises(ArchonError, match=r"expected the file of a bundle, got no such file"):
        find_bundle(tmp_path / "absent.archon")
