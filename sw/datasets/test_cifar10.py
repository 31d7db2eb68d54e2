"""CIFAR-10 in its three forms, the excerpt, and damaged files."""

import hashlib
import io
import pickle
import tarfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from hw.contract.errors import ArchonError
from sw.datasets import PIXEL_DEVIATION, PIXEL_MEAN, ImageSet, cifar10, load_cifar10, load_excerpt, normalise, reduced

PER_BATCH = 4


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> ImageSet:
    """A data set of 20 training images, in the official batches of 4."""
    monkeypatch.setattr(cifar10, "IMAGES", {"train": 5 * PER_BATCH, "test": PER_BATCH})
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (5 * PER_BATCH, 32, 32, 3), dtype=np.uint8)
    return ImageSet(images, random.integers(0, 10, len(images)).astype(np.uint8))


def official_batches(data: ImageSet) -> dict[str, bytes]:
    planes = data.images.transpose(0, 3, 1, 2).reshape(len(data.labels), -1)
    batches = {}
    for index, name in enumerate(cifar10.BATCHES["train"]):
        part = slice(index * PER_BATCH, (index + 1) * PER_BATCH)
        batches[name] = pickle.dumps({b"data": planes[part], b"labels": data.labels[part].tolist()})
    return batches


def write_archive(path: Path, data: ImageSet) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in official_batches(data).items():
            member = tarfile.TarInfo(f"{cifar10.EXTRACTED}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def assert_same(loaded: ImageSet, expected: ImageSet) -> None:
    np.testing.assert_array_equal(loaded.images, expected.images)
    np.testing.assert_array_equal(loaded.labels, expected.labels)


def filtered(images: np.ndarray) -> np.ndarray:
    red, green, blue = np.moveaxis(images, -1, 0)
    planes = np.stack([red - green, green, blue - green])
    return np.diff(np.diff(planes, axis=3, prepend=np.uint8(0)), axis=2, prepend=np.uint8(0))


def test_compact_form(small: ImageSet, tmp_path: Path) -> None:
    np.savez(tmp_path / "cifar10_train.npz", x=filtered(small.images), y=small.labels)
    assert_same(load_cifar10("train", tmp_path), small)


def test_extracted_form(small: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / cifar10.EXTRACTED
    folder.mkdir()
    for name, content in official_batches(small).items():
        (folder / name).write_bytes(content)
    monkeypatch.setenv("ARCHON_DATA", str(tmp_path))
    assert_same(load_cifar10("train"), small)


def test_archive_is_checked_and_read(small: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / cifar10.ARCHIVE
    write_archive(path, small)
    digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setattr(cifar10, "ARCHIVE_MD5", digest)
    assert_same(load_cifar10("train", tmp_path), small)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ArchonError, match=rf"cifar-10-python.tar.gz is damaged or incomplete: expected md5 {digest}"):
        load_cifar10("train", tmp_path)


@pytest.mark.parametrize("length", [0, 100, 2000])
def test_truncated_compact_file_is_named(small: ImageSet, tmp_path: Path, length: int) -> None:
    path = tmp_path / "cifar10_train.npz"
    np.savez(path, x=filtered(small.images), y=small.labels)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ArchonError, match=r"cifar10_train.npz is damaged"):
        load_cifar10("train", tmp_path)


def test_too_few_images_are_refused(small: ImageSet, tmp_path: Path) -> None:
    np.savez(tmp_path / "cifar10_train.npz", x=filtered(small.images[:3]), y=small.labels[:3])
    with pytest.raises(ArchonError, match=r"expected x of shape \(3, 20, 32, 32\) uint8, got \(3, 3, 32, 32\)"):
        load_cifar10("train", tmp_path)


def test_labels_out_of_range_are_refused(small: ImageSet, tmp_path: Path) -> None:
    np.savez(tmp_path / "cifar10_train.npz", x=filtered(small.images), y=small.labels + np.uint8(5))
    with pytest.raises(ArchonError, match="expected labels 0 to 9"):
        load_cifar10("train", tmp_path)


class Foreign:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise AssertionError('code ran')",))


def test_foreign_pickle_does_not_run(small: ImageSet, tmp_path: Path) -> None:
    folder = tmp_path / cifar10.EXTRACTED
    folder.mkdir()
    for name, content in official_batches(small).items():
        (folder / name).write_bytes(content)
    (folder / "data_batch_1").write_bytes(pickle.dumps(Foreign()))
    with pytest.raises(ArchonError, match=r"data_batch_1 is damaged .* unexpected object builtins\.exec"):
        load_cifar10("train", tmp_path)


def test_empty_folder_and_unknown_split(tmp_path: Path) -> None:
    with pytest.raises(ArchonError, match=r"expected cifar10_test.npz, cifar-10-python.tar.gz or the folder"):
        load_cifar10("test", tmp_path)
    with pytest.raises(ArchonError, match="unknown split 'validation'"):
        load_cifar10("validation", tmp_path)


def test_offline_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.delenv("ARCHON_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", offline)
    with pytest.raises(ArchonError, match=r"could not be downloaded .*no route.*set ARCHON_DATA"):
        load_cifar10("test")
    assert list((tmp_path / "archon").iterdir()) == []


class Response(io.BytesIO):
    headers: ClassVar[dict[str, str]] = {}


def test_download_keeps_only_a_whole_archive(small: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "served.tar.gz"
    write_archive(path, small)
    content = path.read_bytes()
    served = [content[:-1], content]
    monkeypatch.delenv("ARCHON_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cifar10, "ARCHIVE_MD5", hashlib.md5(content, usedforsecurity=False).hexdigest())
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: Response(served.pop(0)))
    with pytest.raises(ArchonError, match="is damaged or incomplete"):
        load_cifar10("train")
    assert list((tmp_path / "archon").iterdir()) == []
    assert_same(load_cifar10("train"), small)
    assert_same(load_cifar10("train"), small)


def test_normalisation() -> None:
    values = normalise(np.array([0, 255], np.uint8))
    assert values.dtype == np.float32
    np.testing.assert_allclose(values * PIXEL_DEVIATION + PIXEL_MEAN, [0, 255], atol=1e-4)


def test_reduced_images() -> None:
    images = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    small = reduced(ImageSet(images, np.array([7, 8], np.uint8)), 1, 2)
    assert small.labels.tolist() == [7]
    # Red at the four pixels of the first quarter: 0, 3, 12 and 15.
    assert small.images[0, 0, 0, 0] == round((0 + 3 + 12 + 15) / 4)
    assert small.images.shape == (1, 2, 2, 3)
    with pytest.raises(ArchonError, match="resolution that divides 4 and 4, got 3"):
        reduced(ImageSet(images, np.zeros(2, np.uint8)), None, 3)
    with pytest.raises(ArchonError, match="expected 1 to 2 images, got 3"):
        reduced(ImageSet(images, np.zeros(2, np.uint8)), 3, None)


def test_excerpt(tmp_path: Path) -> None:
    excerpt = load_excerpt()
    assert excerpt.images.shape == (100, 32, 32, 3)
    assert excerpt.images.dtype == np.uint8
    assert (np.diff(excerpt.indices) > 0).all()
    # The first ten labels of the official test batch.
    assert excerpt.labels[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    # Its first image's first pixel, as published copies of the data set have it.
    assert excerpt.images[0, 0, 0].tolist() == [158, 112, 49]
    with pytest.raises(ArchonError, match=r"absent\.npz is missing"):
        load_excerpt(tmp_path / "absent.npz")
