"""CIFAR-10 and CIFAR-100 in all their forms, the excerpt, and damaged files."""

import hashlib
import http.client
import io
import pickle
import tarfile
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from hw.contract.errors import ArchonError
from sw.datasets import PIXEL_DEVIATION, PIXEL_MEAN, ImageSet, cifar, load_excerpt, normalise, reduced
from sw.datasets.cifar import CIFAR10, CIFAR100, Cifar
from sw.datasets.files import OfficialFile, cache_folder, keras_folder

IMAGES = 20


def drawn(classes: int) -> ImageSet:
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (IMAGES, 32, 32, 3), dtype=np.uint8)
    return ImageSet(images, random.integers(0, classes, IMAGES).astype(np.uint8))


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def official_batches(dataset: Cifar, data: ImageSet) -> dict[str, bytes]:
    """Content of the training batches."""
    planes = data.images.transpose(0, 3, 1, 2).reshape(IMAGES, -1)
    names = [batch.name for batch in dataset.batches["train"]]
    parts = zip(np.split(planes, len(names)), np.split(data.labels, len(names)), strict=True)
    return {
        name: pickle.dumps({b"data": pixels, dataset.labels: labels.tolist()})
        for name, (pixels, labels) in zip(names, parts, strict=True)
    }


def packed(dataset: Cifar, batches: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in batches.items():
            member = tarfile.TarInfo(f"{dataset.folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


class Small:
    """A data set of 20 training images, its files as the official ones are made."""

    def __init__(self, dataset: Cifar) -> None:
        self.data = drawn(dataset.classes)
        self.batches = official_batches(dataset, self.data)
        self.packed = packed(dataset, self.batches)
        self.dataset = replace(
            dataset,
            images={"train": IMAGES, "test": 4},
            archive=replace(dataset.archive, md5=md5(self.packed)),
            batches=dict(dataset.batches)
            | {"train": tuple(OfficialFile(name, md5(content)) for name, content in self.batches.items())},
        )

    def extract(self, folder: Path) -> Path:
        """The extracted archive in a folder."""
        inner = folder / self.dataset.folder
        inner.mkdir(parents=True)
        for name, content in self.batches.items():
            (inner / name).write_bytes(content)
        return inner

    def assert_is(self, loaded: ImageSet) -> None:
        np.testing.assert_array_equal(loaded.images, self.data.images)
        np.testing.assert_array_equal(loaded.labels, self.data.labels)


@pytest.fixture(params=[CIFAR10, CIFAR100], ids=lambda dataset: dataset.name)
def small(request: pytest.FixtureRequest) -> Small:
    return Small(request.param)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No folder named, and empty caches in a folder."""
    monkeypatch.delenv("ARCHON_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path


def filtered(images: np.ndarray) -> np.ndarray:
    red, green, blue = np.moveaxis(images, -1, 0)
    planes = np.stack([red - green, green, blue - green])
    return np.diff(np.diff(planes, axis=3, prepend=np.uint8(0)), axis=2, prepend=np.uint8(0))


def write_compact(small: Small, folder: Path, data: ImageSet | None = None) -> Path:
    path, data = folder / f"{small.dataset.name}_train.npz", data or small.data
    np.savez(path, x=filtered(data.images), y=data.labels)
    return path


def test_compact_form(small: Small, tmp_path: Path) -> None:
    write_compact(small, tmp_path)
    small.assert_is(small.dataset.load("train", tmp_path))


def test_extracted_form(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = small.extract(tmp_path)
    monkeypatch.setenv("ARCHON_DATA", str(tmp_path))
    small.assert_is(small.dataset.load("train"))
    last = inner / small.dataset.batches["train"][-1].name
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.raises(ArchonError, match=rf"{last.name} is damaged or incomplete: expected md5"):
        small.dataset.load("train")
    last.unlink()
    with pytest.raises(ArchonError, match=rf"{last.name} cannot be read"):
        small.dataset.load("train")


def test_archive_is_checked_and_read(small: Small, tmp_path: Path) -> None:
    path = tmp_path / small.dataset.archive.name
    path.write_bytes(small.packed)
    small.assert_is(small.dataset.load("train", tmp_path))
    path.write_bytes(small.packed[:-100])
    with pytest.raises(ArchonError, match=rf"{path.name} is damaged or incomplete: expected md5 {md5(small.packed)}"):
        small.dataset.load("train", tmp_path)


def test_archive_of_something_else_is_refused(small: Small, tmp_path: Path) -> None:
    content = packed(small.dataset, {"readme": b"nothing"})
    dataset = replace(small.dataset, archive=replace(small.dataset.archive, md5=md5(content)))
    (tmp_path / dataset.archive.name).write_bytes(content)
    with pytest.raises(ArchonError, match=rf"is damaged or not the {dataset.title} archive"):
        dataset.load("train", tmp_path)


def test_what_keras_fetched_is_used(small: Small, elsewhere: Path) -> None:
    small.extract(elsewhere / "keras" / "datasets" / f"{small.dataset.folder}-target")
    small.assert_is(small.dataset.load("train"))


@pytest.mark.parametrize("length", [0, 100, 2000])
def test_truncated_compact_file_is_named(small: Small, tmp_path: Path, length: int) -> None:
    path = write_compact(small, tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ArchonError, match=rf"{path.name} is damaged"):
        small.dataset.load("train", tmp_path)


def test_too_few_images_are_refused(small: Small, tmp_path: Path) -> None:
    write_compact(small, tmp_path, ImageSet(small.data.images[:3], small.data.labels[:3]))
    with pytest.raises(ArchonError, match=r"expected x of shape \(3, 20, 32, 32\) uint8, got \(3, 3, 32, 32\)"):
        small.dataset.load("train", tmp_path)


def test_labels_out_of_range_are_refused(small: Small, tmp_path: Path) -> None:
    classes = small.dataset.classes
    write_compact(small, tmp_path, ImageSet(small.data.images, small.data.labels + np.uint8(classes // 2)))
    with pytest.raises(ArchonError, match=f"expected labels 0 to {classes - 1}"):
        small.dataset.load("train", tmp_path)


class Foreign:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise AssertionError('code ran')",))


def test_foreign_pickle_does_not_run(small: Small, tmp_path: Path) -> None:
    small.extract(tmp_path)
    first, content = small.dataset.batches["train"][0], pickle.dumps(Foreign())
    (tmp_path / small.dataset.folder / first.name).write_bytes(content)
    others = small.dataset.batches["train"][1:]
    dataset = replace(small.dataset, batches={"train": (replace(first, md5=md5(content)), *others)})
    with pytest.raises(ArchonError, match=rf"{first.name} is damaged .* unexpected object builtins\.exec"):
        dataset.load("train", tmp_path)


def test_empty_folder_and_unknown_split(tmp_path: Path) -> None:
    with pytest.raises(ArchonError, match=r"expected cifar10_test.npz, cifar-10-python.tar.gz or the folder"):
        CIFAR10.load("test", tmp_path)
    with pytest.raises(ArchonError, match="unknown split 'validation'"):
        CIFAR100.load("validation", tmp_path)


def test_offline_says_what_to_do(small: Small, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    message = rf"{small.dataset.title} could not be downloaded .*no route.*{small.dataset.archive.name}.*set ARCHON_DATA"
    with pytest.raises(ArchonError, match=message):
        small.dataset.load("test")
    assert list((elsewhere / "archon").iterdir()) == []


class Response(io.BytesIO):
    headers: ClassVar[dict[str, str]] = {}


def test_download_keeps_only_a_whole_archive(small: Small, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = [small.packed[:-1], small.packed]
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: Response(served.pop(0)))
    with pytest.raises(ArchonError, match="is damaged or incomplete"):
        small.dataset.load("train")
    assert list((elsewhere / "archon").iterdir()) == []
    small.assert_is(small.dataset.load("train"))
    small.assert_is(small.dataset.load("train"))


class Interrupted(Response):
    def read(self, *_: object) -> bytes:
        raise http.client.IncompleteRead(b"", 7)


def test_an_interrupted_download_says_what_came(small: Small, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = [Interrupted(small.packed), Response(small.packed[:-1])]
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: served.pop(0))
    with pytest.raises(ArchonError, match=r"could not be downloaded \(IncompleteRead.* set ARCHON_DATA"):
        small.dataset.load("train")
    came = (
        rf"what came from {small.dataset.archive.url} is damaged .* of {len(small.packed) - 1:,} bytes; nothing of it is kept"
    )
    with pytest.raises(ArchonError, match=came):
        small.dataset.load("train")
    assert list((elsewhere / "archon").iterdir()) == []


def test_an_empty_variable_names_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("XDG_CACHE_HOME", "KERAS_HOME"):
        monkeypatch.setenv(variable, "")
    assert (cache_folder(), keras_folder()) == (Path.home() / ".cache" / "archon", Path.home() / ".keras" / "datasets")


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


def test_the_filter_is_undone() -> None:
    images = drawn(10).images
    np.testing.assert_array_equal(cifar.undo_filter(filtered(images)), images)
