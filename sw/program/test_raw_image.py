"""Raw images, tables of levels and windows, each against its definition spelt out byte by byte."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hw.contract.config import preset
from hw.contract.descriptor import JOB
from hw.contract.errors import ArchonError
from hw.contract.memory import IMAGE_LEVELS, image_words, pack_image, pack_levels, tensor_words, unpack_image
from sw.program.plan import TensorForm
from sw.program.raw_image import ImageLayer, image_windows

TINY = preset("tiny")
LAYER = ImageLayer("image", (3, 7, 5), np.arange(-128, 128).astype(np.int8), 2)
SIZES = {"height": st.integers(1, 9), "width": st.integers(1, 9), "channels": st.integers(1, 4), "seed": st.integers(0, 2**16)}


def random_image(height: int, width: int, channels: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


@given(**SIZES)
def test_an_image_lies_byte_after_byte(height: int, width: int, channels: int, seed: int) -> None:
    image = random_image(height, width, channels, seed)
    words = pack_image(image).tolist()
    assert len(words) == image_words(height, width, channels)
    stored = [word >> 8 * byte & 0xFF for word in words for byte in range(8)]
    expected = [int(image[y, x, c]) for y in range(height) for x in range(width) for c in range(channels)]
    assert stored[: image.size] == expected
    assert len(stored) - image.size < 8
    assert not any(stored[image.size :])
    np.testing.assert_array_equal(unpack_image(pack_image(image), height, width, channels), image)


@given(seed=st.integers(0, 2**16))
def test_levels_lie_by_pixel_value(seed: int) -> None:
    levels = np.random.default_rng(seed).integers(-128, 128, IMAGE_LEVELS).astype(np.int8)
    words = pack_levels(levels).tolist()
    assert [words[value // 8] >> value % 8 * 8 & 0xFF for value in range(IMAGE_LEVELS)] == [int(v) & 0xFF for v in levels]


@given(stride=st.sampled_from([1, 2]), **SIZES)
def test_windows_hold_the_levels_around_every_pixel(height: int, width: int, channels: int, seed: int, stride: int) -> None:
    image = random_image(height, width, channels, seed)
    levels = np.random.default_rng(seed + 1).integers(-128, 128, IMAGE_LEVELS).astype(np.int8)
    windows = image_windows(image, levels, stride)
    assert windows.shape == ImageLayer("image", (channels, height, width), levels, stride).output_shape
    for (j, y, x), value in np.ndenumerate(windows):
        tap, c = divmod(j, channels)
        row, column = stride * y + tap // 3 - 1, stride * x + tap % 3 - 1
        inside = 0 <= row < height and 0 <= column < width
        assert value == (levels[image[row, column, c]] if inside else 0)


@given(stride=st.sampled_from([1, 2]), **SIZES)
def test_a_job_describes_the_whole_image(height: int, width: int, channels: int, seed: int, stride: int) -> None:
    config = dataclasses.replace(TINY, clusters=1 + seed % 64)
    levels = np.random.default_rng(seed).integers(-128, 128, IMAGE_LEVELS).astype(np.int8)
    layer = ImageLayer("first", (channels, height, width), levels, stride)
    plan = layer.plan(config)
    (job,) = plan.jobs
    fields = job.placed(seed % 100, 1, 3, [(seed, len(plan.segments[0]))]).fields
    assert JOB.unpack(JOB.pack(fields)) == fields
    assert (job.layer, fields["cluster"], fields["job"], fields["barrier"]) == ("first", config.clusters, seed % 100, 1)
    assert (fields["input_address"], fields["table_address"], fields["output_address"]) == (1, seed, 3)
    assert (fields["segment"], fields["table_words"]) == (len(pack_image(random_image(height, width, channels, seed))), 32)
    assert (fields["output_rows"], fields["output_width"]) == layer.output_shape[1:]
    assert fields["planes"] * fields["plane_words"] == tensor_words(*layer.output_shape)
    np.testing.assert_array_equal(plan.segments[0], pack_levels(levels))


def test_the_first_layer_takes_pixels() -> None:
    plan = LAYER.plan(TINY)
    assert (plan.input_form, plan.output_form) == (TensorForm.PIXELS, TensorForm.ACTIVATIONS)
    assert (plan.input_shape, plan.output_shape) == ((3, 7, 5), (27, 4, 3))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"stride": 3}, "raw image: expected a stride of 1 or 2, got 3"),
        ({"input_shape": (0, 7, 5)}, "raw image: expected 1 to 4 channels, got 0"),
        ({"input_shape": (5, 7, 5)}, "raw image: expected 1 to 4 channels, got 5"),
        ({"input_shape": (3, 7, 65)}, "image row memory needs 65 rows, the configuration has 64"),
    ],
)
def test_an_impossible_image_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ArchonError, match=sentence):
        dataclasses.replace(LAYER, **changes).plan(TINY)


def test_packing_refuses_what_is_no_image_or_table() -> None:
    with pytest.raises(ArchonError, match=r"a raw image is \(height, width, channels\) uint8, got shape \(2, 2\) uint8"):
        pack_image(np.zeros((2, 2), dtype=np.uint8))
    with pytest.raises(ArchonError, match=r"a \(2, 2, 3\) raw image occupies 2 words, got \(1,\)"):
        unpack_image(np.zeros(1, dtype=np.uint64), 2, 2, 3)
    with pytest.raises(ArchonError, match=r"a table of pixel levels is \(256,\) int8, got shape \(255,\) int8"):
        pack_levels(np.zeros(255, dtype=np.int8))
