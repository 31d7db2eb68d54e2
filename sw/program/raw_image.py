"""A raw image on the accelerator: its 3x3 windows as a tensor, so that the stem is a pointwise layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.contract.config import ArchonConfig
from hw.contract.descriptor import JOB
from hw.contract.errors import ArchonError
from hw.contract.memory import IMAGE_CHANNELS, image_words, pack_levels, tensor_words
from hw.contract.taps import SMALL_KERNEL, SMALL_TAPS
from sw.program.jobs import Job, Shape, numbered, reduced
from sw.program.plan import LayerPlan, Loads, TensorForm
from sw.program.tables import check_depth


def image_windows(image: NDArray[np.uint8], levels: NDArray[np.int8], stride: int) -> NDArray[np.int8]:
    """The 3x3 windows of a raw image.

    Args:
        image: (H, W, C) bytes.
        levels: (256,) activation of every pixel value.
        stride: 1 or 2.

    Returns:
        (9 C, ceil(H / stride), ceil(W / stride)): channel d * C + c holds, at output pixel p, the activation of channel c at
        stride * p + d for the kernel tap d (hw.contract.taps.tap_places), 0 outside the image.
    """
    height, width, channels = image.shape
    padded = np.zeros((channels, height + SMALL_KERNEL - 1, width + SMALL_KERNEL - 1), dtype=np.int8)
    padded[:, 1:-1, 1:-1] = levels[image].transpose(2, 0, 1)
    rows = [padded[:, row : row + height : stride] for row in range(SMALL_KERNEL)]
    return np.concatenate([row[:, :, column : column + width : stride] for row in rows for column in range(SMALL_KERNEL)])


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

    @property
    def output_shape(self) -> Shape:
        """Channels, height and width of the tensor of windows."""
        channels, height, width = self.input_shape
        return SMALL_TAPS * channels, reduced(height, self.stride), reduced(width, self.stride)

    def plan(self, config: ArchonConfig) -> LayerPlan:
        """The image unit's job, after all jobs before it, and the table of levels.

        Raises:
            ArchonError: a stride other than 1 and 2, too many channels, or an image that is wider than the unit's rows.
        """
        channels, height, width = self.input_shape
        if self.stride not in (1, 2):
            raise ArchonError(f"raw image: expected a stride of 1 or 2, got {self.stride}")
        if not 1 <= channels <= IMAGE_CHANNELS:
            raise ArchonError(f"raw image: expected 1 to {IMAGE_CHANNELS} channels, got {channels}")
        check_depth("image row", width, config.depths.image_row)
        outputs, output_height, output_width = self.output_shape
        fields = dict.fromkeys((item.name for item in JOB.fields), 0) | {
            "cluster": config.image_unit,
            "stride_two": int(self.stride == 2),
            "input_height": height,
            "input_width": width,
            "input_channels": channels,
            "segment": image_words(height, width, channels),
            "output_rows": output_height,
            "output_width": output_width,
            "planes": tensor_words(outputs, 1, 1),
            "plane_words": output_height * output_width,
        }
        jobs = numbered([Job(self.name, 0, 0, fields)])
        segments = (pack_levels(self.levels),)
        nothing = Loads(0, 0)
        return LayerPlan(self.name, self.input_shape, self.output_shape, segments, jobs, nothing, input_form=TensorForm.PIXELS)
