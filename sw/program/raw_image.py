"""A raw image on the accelerator: its 3x3 windows as a tensor, so that the stem is a pointwise layer, and the job for it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.contract.config import KERNEL, TAPS, ArchonConfig
from hw.contract.descriptor import JOB
from hw.contract.errors import ArchonError
from hw.contract.memory import IMAGE_CHANNELS, LEVEL_WORDS, image_words, pack_levels, tensor_words
from sw.program.jobs import Job, Shape, reduced
from sw.program.plan import LayerPlan, Loads, TensorForm
from sw.program.tables import check_depth


@dataclass(frozen=True)
class ImagePlace:
    """A raw image's size, the stride of its windows, and its places in external memory."""

    height: int
    width: int
    channels: int
    stride: int
    image_address: int
    """image_words(height, width, channels) words, packed by hw.contract.memory.pack_image."""
    levels_address: int
    """LEVEL_WORDS words, packed by hw.contract.memory.pack_levels."""
    output_address: int

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the tensor of windows."""
        return TAPS * self.channels, reduced(self.height, self.stride), reduced(self.width, self.stride)


def image_windows(image: NDArray[np.uint8], levels: NDArray[np.int8], stride: int) -> NDArray[np.int8]:
    """The 3x3 windows of a raw image.

    Args:
        image: (H, W, C) bytes.
        levels: (256,) activation of every pixel value.
        stride: 1 or 2.

    Returns:
        (9 C, ceil(H / stride), ceil(W / stride)): channel d * C + c holds, at output pixel p, the activation of channel c at
        stride * p + d for the kernel tap d (hw.contract.config.TAPS), 0 outside the image.
    """
    height, width, channels = image.shape
    padded = np.zeros((channels, height + KERNEL - 1, width + KERNEL - 1), dtype=np.int8)
    padded[:, 1:-1, 1:-1] = levels[image].transpose(2, 0, 1)
    rows = [padded[:, row : row + height : stride] for row in range(KERNEL)]
    return np.concatenate([row[:, :, column : column + width : stride] for row in rows for column in range(KERNEL)])


def image_job(place: ImagePlace, config: ArchonConfig, number: int = 0, *, barrier: bool = False) -> Job:
    """The job of the image unit that writes image_windows of the image at a place; with `barrier`, after all jobs before it.

    Raises:
        ArchonError: a stride other than 1 and 2, too many channels, or an image that is wider than the unit's rows.
    """
    if place.stride not in (1, 2):
        raise ArchonError(f"raw image: expected a stride of 1 or 2, got {place.stride}")
    if not 1 <= place.channels <= IMAGE_CHANNELS:
        raise ArchonError(f"raw image: expected 1 to {IMAGE_CHANNELS} channels, got {place.channels}")
    check_depth("image row", place.width, config.depths.image_row)
    channels, height, width = place.output_shape
    fields = dict.fromkeys((item.name for item in JOB.fields), 0) | {
        "cluster": config.image_unit,
        "job": number,
        "barrier": int(barrier),
        "stride_two": int(place.stride == 2),
        "input_height": place.height,
        "input_width": place.width,
        "input_channels": place.channels,
        "segment": image_words(place.height, place.width, place.channels),
        "input_address": place.image_address,
        "table_address": place.levels_address,
        "table_words": LEVEL_WORDS,
        "output_rows": height,
        "output_width": width,
        "planes": tensor_words(channels, 1, 1),
        "plane_words": height * width,
        "output_address": place.output_address,
    }
    return Job("image", 0, 0, fields)


@dataclass(frozen=True)
class ImageLayer:
    """The first layer: a raw image in, the tensor of its windows out.

    Args:
        name: Of the layer.
        input_shape: Channels, height, width of the raw image.
        levels: (256,) activation of every pixel value.
        stride: 1 or 2.
    """

    name: str
    input_shape: Shape
    levels: NDArray[np.int8]
    stride: int

    def plan(self, config: ArchonConfig) -> LayerPlan:
        """Its job, and the table of levels.

        Raises:
            ArchonError: as image_job.
        """
        channels, height, width = self.input_shape
        place = ImagePlace(height, width, channels, self.stride, image_address=0, levels_address=0, output_address=0)
        job = dataclasses.replace(image_job(place, config, barrier=True), layer=self.name)
        segments = (pack_levels(self.levels),)
        nothing = Loads(0, 0)
        return LayerPlan(
            self.name, self.input_shape, place.output_shape, segments, (job,), nothing, input_form=TensorForm.PIXELS
        )
