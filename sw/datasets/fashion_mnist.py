"""Fashion-MNIST: the four official files, 28 x 28 grey pixels.

H. Xiao, K. Rasul, R. Vollgraf, arXiv:1708.07747, https://github.com/zalandoresearch/fashion-mnist.
"""

import gzip
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hw.contract.errors import ArchonError
from sw.datasets.files import OfficialFile, data_folder, keras_folder
from sw.datasets.images import ImageSet, checked

TITLE = "Fashion-MNIST"
SITE = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
FOLDER = "fashion-mnist"
SIDE = 28
CLASSES = 10
IMAGES = {"train": 60_000, "test": 10_000}


def _official(name: str, md5: str) -> OfficialFile:
    return OfficialFile(name, md5, f"{SITE}/{name}")


FILES = {
    "train": (
        _official("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        _official("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
    ),
    "test": (
        _official("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
        _official("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
    ),
}
"""Images and labels of each split."""


def load_fashion_mnist(split: str, folder: Path | None = None) -> ImageSet:
    """Images [N, 28, 28, 1] and labels of one split.

    Args:
        split: "train" (60,000 images) or "test" (10,000).
        folder: where the files lie, or a folder fashion-mnist with them; else that in ARCHON_DATA; else Keras' cache, or a
            download.

    Raises:
        ArchonError: unknown split, missing or damaged files, or no network for the download.
    """
    if split not in FILES:
        raise ArchonError(f"unknown split {split!r}: expected train or test")
    images, labels = (_read_idx(_find(file, data_folder(folder))) for file in FILES[split])
    shape = (IMAGES[split], SIDE, SIDE, 1)
    return checked(ImageSet(images[..., None], labels), shape, CLASSES, f"{TITLE}, {split}")


def _find(file: OfficialFile, folder: Path | None) -> Path:
    """A checked copy of a file."""
    if folder is None:
        cached = keras_folder() / FOLDER / file.name
        return file.check(cached) if cached.exists() else file.download(TITLE)
    for path in (folder / file.name, folder / FOLDER / file.name):
        if path.exists():
            return file.check(path)
    raise ArchonError(f"no {TITLE} in {folder}: expected {file.name} there or in the folder {FOLDER}")


def _read_idx(path: Path) -> NDArray[np.uint8]:
    """A gzipped IDX file of bytes: two zeros, the type 8, the number of dimensions, their sizes as 32 bits, then the data."""
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise ArchonError(f"{path} is damaged: {error}") from error
    dimensions = content[3] if len(content) > 3 else 0
    start = 4 + 4 * dimensions
    if content[:3] != b"\0\0\x08" or len(content) < start:
        raise ArchonError(f"{path}: expected an IDX file of bytes, got another beginning")
    shape = tuple(int(size) for size in np.frombuffer(content[4:start], ">u4"))
    if len(content) - start != int(np.prod(shape)):
        raise ArchonError(f"{path}: expected {int(np.prod(shape))} bytes of data, got {len(content) - start}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
