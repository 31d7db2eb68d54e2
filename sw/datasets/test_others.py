"""Fashion-MNIST and SVHN from files made like the official ones, damaged ones among them, and images fitted to a network."""

import gzip
import hashlib
import io
import struct
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from hw.contract.errors import ArchonError
from sw.datasets import DATASETS, ImageSet, fashion_mnist, find_dataset, fitted, svhn
from sw.datasets.files import OfficialFile

IMAGES = 12
DATA = ImageSet(
    np.random.default_rng(2).integers(0, 256, (IMAGES, 28, 28, 1), dtype=np.uint8), (np.arange(IMAGES) % 10).astype(np.uint8)
)


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def idx(array: np.ndarray) -> bytes:
    """As http://yann.lecun.com/exdb/mnist describes it."""
    return packed(struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes())


def packed(content: bytes) -> bytes:
    """The same file whenever it is made: tests are named after some."""
    return gzip.compress(content, mtime=0)


def publish(monkeypatch: pytest.MonkeyPatch, module: Any, files: Mapping[str, bytes]) -> None:
    """Have the module take these contents, by name, for the official training files."""
    official = module.FILES["train"]
    named = official if isinstance(official, tuple) else (official,)
    made = tuple(replace(file, md5=md5(files[file.name])) for file in named)
    monkeypatch.setattr(module, "FILES", {"train": made if isinstance(official, tuple) else made[0]})
    monkeypatch.setattr(module, "IMAGES", {"train": IMAGES})


def garments(images: np.ndarray = DATA.images[..., 0]) -> dict[str, bytes]:
    pictures, labels = (file.name for file in fashion_mnist.FILES["train"])
    return {pictures: idx(images), labels: idx(DATA.labels)}


@pytest.mark.parametrize("inner", ["", fashion_mnist.FOLDER])
def test_fashion_mnist_in_a_folder(inner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = garments()
    publish(monkeypatch, fashion_mnist, files)
    (tmp_path / inner).mkdir(exist_ok=True)
    for name, content in files.items():
        (tmp_path / inner / name).write_bytes(content)
    loaded = find_dataset("fashion-mnist").load("train", tmp_path)
    np.testing.assert_array_equal(loaded.images, DATA.images)
    np.testing.assert_array_equal(loaded.labels, DATA.labels)
    labels = tmp_path / inner / fashion_mnist.FILES["train"][1].name
    labels.write_bytes(labels.read_bytes()[:-1])
    with pytest.raises(ArchonError, match=r"train-labels-idx1-ubyte.gz is damaged or incomplete: expected md5"):
        find_dataset("fashion-mnist").load("train", tmp_path)
    labels.unlink()
    with pytest.raises(ArchonError, match=rf"no Fashion-MNIST in .*: expected {labels.name} there or in the folder"):
        find_dataset("fashion-mnist").load("train", tmp_path)


def test_fashion_mnist_of_keras_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = garments()
    publish(monkeypatch, fashion_mnist, files)
    monkeypatch.delenv("ARCHON_DATA", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    folder = tmp_path / "datasets" / fashion_mnist.FOLDER
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    np.testing.assert_array_equal(find_dataset("fashion-mnist").load("train", None).images, DATA.images)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not gzip", "train-images-idx3-ubyte.gz is damaged"),
        (packed(b"\0\0\x0d\x03" + bytes(12)), "expected an IDX file of bytes, got another beginning"),
        (packed(b"\0\0"), "expected an IDX file of bytes, got another beginning"),
        (packed(struct.pack(">HBBI", 0, 8, 1, 5) + bytes(4)), "expected 5 bytes of data, got 4"),
        (idx(DATA.images[:3, ..., 0]), r"expected images of shape \(12, 28, 28, 1\) .* got \(3, 28, 28, 1\)"),
    ],
)
def test_what_is_no_idx_file_is_refused(content: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = garments() | {"train-images-idx3-ubyte.gz": content}
    publish(monkeypatch, fashion_mnist, files)
    for name, part in files.items():
        (tmp_path / name).write_bytes(part)
    with pytest.raises(ArchonError, match=message):
        fashion_mnist.load_fashion_mnist("train", tmp_path)


def street_numbers(name: str = "X") -> bytes:
    io_module = pytest.importorskip("scipy.io", reason="SVHN's files are read with scipy")
    images = np.random.default_rng(3).integers(0, 256, (32, 32, 3, IMAGES), dtype=np.uint8)
    stream = io.BytesIO()
    io_module.savemat(stream, {name: images, "y": np.arange(1, IMAGES + 1)[:, None] % 10 + 1}, do_compression=True)
    return stream.getvalue()


def test_svhn_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = street_numbers()
    publish(monkeypatch, svhn, {"train_32x32.mat": content})
    path = tmp_path / "train_32x32.mat"
    path.write_bytes(content)
    loaded = find_dataset("svhn").load("train", tmp_path)
    drawn = np.random.default_rng(3).integers(0, 256, (32, 32, 3, IMAGES), dtype=np.uint8)
    np.testing.assert_array_equal(loaded.images[5], drawn[..., 5])
    assert loaded.labels.tolist() == [2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3]  # a label of 10 is the digit 0
    path.write_bytes(content[:-10])
    with pytest.raises(ArchonError, match=r"train_32x32.mat is damaged or incomplete: expected md5"):
        find_dataset("svhn").load("train", tmp_path)


@pytest.mark.parametrize("content", [b"", b"no MATLAB file", "another array"])
def test_what_is_no_svhn_file_is_refused(content: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = street_numbers("Z")
    content = whole if content == "another array" else content
    publish(monkeypatch, svhn, {"train_32x32.mat": content})
    (tmp_path / "train_32x32.mat").write_bytes(content)
    with pytest.raises(ArchonError, match=r"train_32x32.mat is damaged or not an SVHN file"):
        svhn.load_svhn("train", tmp_path)


class Response(io.BytesIO):
    headers: ClassVar[dict[str, str]] = {}


def test_svhn_is_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = street_numbers()
    publish(monkeypatch, svhn, {"train_32x32.mat": content})
    monkeypatch.delenv("ARCHON_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    served = [content]
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: Response(served.pop()))
    first, again = svhn.load_svhn("train"), svhn.load_svhn("train")
    np.testing.assert_array_equal(first.images, again.images)


@pytest.mark.parametrize(("name", "title"), [("svhn", "SVHN"), ("fashion-mnist", "Fashion-MNIST")])
def test_offline_says_what_to_do(name: str, title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.delenv("ARCHON_DATA", raising=False)
    for variable in ("XDG_CACHE_HOME", "KERAS_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", offline)
    with pytest.raises(ArchonError, match=rf"{title} could not be downloaded .*no route.*set ARCHON_DATA"):
        find_dataset(name).load("test", None)


def test_names_and_splits_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ArchonError, match="unknown data set 'mnist': expected one of cifar10, cifar100, fashion-mnist, svhn"):
        find_dataset("mnist")
    for name in DATASETS:
        with pytest.raises(ArchonError, match="unknown split 'extra': expected train or test"):
            find_dataset(name).load("extra", tmp_path)
    with pytest.raises(ArchonError, match=r"no SVHN in .*: expected test_32x32\.mat"):
        find_dataset("svhn").load("test", tmp_path)
    with pytest.raises(ArchonError, match="part is missing"):
        OfficialFile("part", "").download("A data set")


def test_fitted_images() -> None:
    large = fitted(DATA, 32, 33, 3)
    assert large.images.shape == (IMAGES, 32, 33, 3)
    for colour in range(3):
        np.testing.assert_array_equal(large.images[:, 2:30, 2:30, colour], DATA.images[..., 0])
    assert large.images.sum(dtype=np.int64) == 3 * DATA.images.sum(dtype=np.int64)
    np.testing.assert_array_equal(fitted(DATA, 28, 28, 1).images, DATA.images)
    np.testing.assert_array_equal(fitted(DATA, 26, 28, 1).images, DATA.images[:, 1:27])
    with pytest.raises(ArchonError, match="expected images of 1 channels or one, got 3"):
        fitted(large, 32, 33, 1)
