"""How an activation tensor lies in external memory: planes of eight channels, one 64-bit word a pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hw.contract.config import CHANNELS_PER_WORD
from hw.contract.errors import ArchonError


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
