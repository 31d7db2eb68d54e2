"""How tensors lie in external memory.

An activation tensor lies in planes of eight channels, one 64-bit word a pixel. A raw image lies as its bytes come: by row, by
pixel, by channel, eight a word.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hw.contract.config import CHANNELS_PER_WORD
from hw.contract.errors import ArchonError

MEMORY_LATENCY = 100
"""Cycles between a read request and its first word that simulation and the model of cycles take where nothing else is said."""

IMAGE_CHANNELS = 4
"""Channels of a raw image at most."""

IMAGE_LEVELS = 256
"""A pixel value indexes a table of int8 activations, so that normalisation costs nothing at run time."""

LEVEL_WORDS = IMAGE_LEVELS // CHANNELS_PER_WORD
"""Words of that table."""


def tensor_words(channels: int, height: int, width: int) -> int:
    """Words that a (channels, height, width) int8 tensor occupies."""
    return -(-channels // CHANNELS_PER_WORD) * height * width


def pack_tensor(tensor: NDArray[np.integer]) -> NDArray[np.uint64]:
    """(C, H, W) int8 values to words: word (c // 8) * H * W + y * W + x holds channel c in byte c % 8; padding bytes are 0."""
    if tensor.ndim != 3 or (tensor.size and (tensor.min() < -128 or tensor.max() > 127)):
        raise ArchonError(f"a tensor in memory is (channels, height, width) int8, got shape {tensor.shape} {tensor.dtype}")
    channels, height, width = tensor.shape
    planes = -(-channels // CHANNELS_PER_WORD)
    padded = np.zeros((planes * CHANNELS_PER_WORD, height, width), dtype=np.int8)
    padded[:channels] = tensor
    grouped = padded.reshape(planes, CHANNELS_PER_WORD, height * width).transpose(0, 2, 1)
    return np.ascontiguousarray(grouped).view("<u8").reshape(-1).astype(np.uint64)


def unpack_tensor(words: NDArray[np.uint64], channels: int, height: int, width: int) -> NDArray[np.int8]:
    """The inverse of pack_tensor."""
    expected = tensor_words(channels, height, width)
    if words.shape != (expected,):
        raise ArchonError(f"a ({channels}, {height}, {width}) tensor occupies {expected} words, got {words.shape}")
    planes = expected // (height * width)
    grouped = np.ascontiguousarray(words.astype("<u8")).view(np.int8).reshape(planes, height * width, CHANNELS_PER_WORD)
    return grouped.transpose(0, 2, 1).reshape(planes * CHANNELS_PER_WORD, height, width)[:channels].copy()


def image_words(height: int, width: int, channels: int) -> int:
    """Words that a raw image occupies."""
    return -(-height * width * channels // CHANNELS_PER_WORD)


def window_bytes(channels: int) -> list[int]:
    """Which channel each byte of a pixel holds in a tensor of `channels` channels that the image unit writes.

    What is left of the last word holds its channels again, from the first one on, so that lanes can share their work.
    """
    last_word = (channels - 1) // CHANNELS_PER_WORD * CHANNELS_PER_WORD
    spare = last_word + CHANNELS_PER_WORD - channels
    return [*range(channels), *(last_word + index % (channels - last_word) for index in range(spare))]


def pack_image(image: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(H, W, C) bytes to words: word n holds bytes 8 n to 8 n + 7, the first one lowest; the last word is filled up with 0."""
    if image.ndim != 3 or image.dtype != np.uint8:
        raise ArchonError(f"a raw image is (height, width, channels) uint8, got shape {image.shape} {image.dtype}")
    filled = np.zeros(image_words(*image.shape) * CHANNELS_PER_WORD, dtype=np.uint8)
    filled[: image.size] = image.reshape(-1)
    return filled.view("<u8").astype(np.uint64)


def unpack_image(words: NDArray[np.uint64], height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """The inverse of pack_image."""
    expected = image_words(height, width, channels)
    if words.shape != (expected,):
        raise ArchonError(f"a ({height}, {width}, {channels}) raw image occupies {expected} words, got {words.shape}")
    found = np.ascontiguousarray(words.astype("<u8")).view(np.uint8)
    return found[: height * width * channels].reshape(height, width, channels).copy()


def pack_levels(levels: NDArray[np.int8]) -> NDArray[np.uint64]:
    """The activations of all pixel values as words: byte v % 8 of word v // 8 is the activation of value v."""
    if levels.shape != (IMAGE_LEVELS,) or levels.dtype != np.int8:
        raise ArchonError(f"a table of pixel levels is ({IMAGE_LEVELS},) int8, got shape {levels.shape} {levels.dtype}")
    return np.ascontiguousarray(levels).view("<u8").astype(np.uint64)
