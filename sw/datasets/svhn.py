"""SVHN, cropped digits: the official MATLAB files of 32 x 32 pixels.

Y. Netzer, T. Wang, A. Coates, A. Bissacco, B. Wu, A. Ng, "Reading Digits in Natural Images with Unsupervised Feature
Learning", NIPS workshop 2011, http://ufldl.stanford.edu/housenumbers.
"""

import zlib
from pathlib import Path

import numpy as np

from hw.contract.errors import ArchonError
from sw.datasets.files import OfficialFile, data_folder
from sw.datasets.images import ImageSet, checked

TITLE = "SVHN"
SITE = "http://ufldl.stanford.edu/housenumbers"
SIDE = 32
CLASSES = 10
IMAGES = {"train": 73_257, "test": 26_032}
FILES = {
    "train": OfficialFile("train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373", f"{SITE}/train_32x32.mat"),
    "test": OfficialFile("test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3", f"{SITE}/test_32x32.mat"),
}


def load_svhn(split: str, folder: Path | None = None) -> ImageSet:
    """Images [N, 32, 32, 3] and the digits they show.

    Args:
        split: "train" (73,257 images) or "test" (26,032).
        folder: where the files lie; else the folder in ARCHON_DATA; else a download.

    Raises:
        ArchonError: unknown split, missing or damaged files, no network for the download, or no scipy to read them with.
    """
    if split not in FILES:
        raise ArchonError(f"unknown split {split!r}: expected train or test")
    file, folder = FILES[split], data_folder(folder)
    if folder is None:
        path = file.download(TITLE)
    elif (folder / file.name).exists():
        path = file.check(folder / file.name)
    else:
        raise ArchonError(f"no {TITLE} in {folder}: expected {file.name}")
    return checked(_read_mat(path), (IMAGES[split], SIDE, SIDE, 3), CLASSES, path)


def _read_mat(path: Path) -> ImageSet:
    """X [32, 32, 3, N] and y [N, 1], in which 10 stands for the digit 0."""
    try:
        from scipy.io import loadmat  # noqa: PLC0415 (only training's environment has it)
        from scipy.io.matlab import MatReadError  # noqa: PLC0415
    except ImportError as error:
        raise ArchonError(f"{path} is read with scipy, which is not installed: make train installs it") from error
    try:
        arrays = loadmat(path, variable_names=("X", "y"))
        images, labels = np.moveaxis(arrays["X"], -1, 0), arrays["y"].reshape(-1) % 10
    except (MatReadError, KeyError, ValueError, TypeError, EOFError, OSError, zlib.error) as error:
        raise ArchonError(f"{path} is damaged or not an SVHN file: {error}") from error
    return ImageSet(np.ascontiguousarray(images, np.uint8), labels.astype(np.uint8))
