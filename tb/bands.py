"""Random jobs for the predictor's unit tests: bands of rows of images of odd sizes."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from hw.contract.config import ArchonConfig
from hw.contract.descriptor import JOB
from hw.contract.taps import KERNELS


@dataclass(frozen=True)
class Band:
    """One job's geometry: a band of output rows of one group, with the input rows that it needs."""

    stride: int
    kernel: int
    input_height: int
    input_width: int
    output_row_start: int
    output_rows: int
    turns: int
    slices: int
    half: int
    """Of the table memories."""
    fixed: int = 0
    """All masks are ones, of one pixel."""

    @property
    def output_width(self) -> int:
        """Columns of the output."""
        return -(-self.input_width // self.stride)

    @property
    def input_row_start(self) -> int:
        """The first row of the first window, within the image."""
        return max(0, self.stride * self.output_row_start - self.kernel // 2)

    @property
    def input_rows(self) -> int:
        """Rows down to the last window's last one, within the image."""
        last = self.stride * (self.output_row_start + self.output_rows - 1) + self.kernel // 2
        return min(last, self.input_height - 1) - self.input_row_start + 1

    @property
    def first_centre_row(self) -> int:
        """Of the first window, counted from the first input row."""
        return self.stride * self.output_row_start - self.input_row_start

    @property
    def leading_rows(self) -> int:
        """Input rows that the first window needs."""
        return min(self.input_rows, self.first_centre_row + 1 + self.kernel // 2)

    def job(self) -> int:
        """The packed job; fields that the predictor does not look at are zero."""
        values = JOB.unpack(0)
        names = [*(item.name for item in dataclasses.fields(self)), "output_width", "input_row_start", "input_rows"]
        values |= {name: getattr(self, name) for name in names if name in values}
        segment = self.input_rows * self.input_width
        values |= {"stride_two": self.stride == 2, "kernel_five": self.kernel == 5, "segment": segment}
        return JOB.pack(values | {"first_center": self.first_centre_row * self.input_width})


def random_band(config: ArchonConfig, random: np.random.Generator) -> Band:
    """Any stride, kernel, size, band (every other one whole), turns and slices that fit the configuration's memories."""
    depths = config.depths
    while True:
        stride, height, width = (int(random.integers(1, top)) for top in (3, 13, 10))
        output_height = -(-height // stride)
        start, rows = 0, output_height
        if random.random() < 0.5:
            start = int(random.integers(0, output_height))
            rows = int(random.integers(1, output_height - start + 1))
        turns, slices = int(random.integers(1, 5)), int(random.integers(1, 7))
        kernel = int(random.choice([kernel for kernel in KERNELS if kernel <= config.kernel]))
        band = Band(stride, kernel, height, width, start, rows, turns, slices, half=int(random.integers(2)))
        fits = turns * band.input_rows * width <= depths.activation and slices <= depths.slices
        fits &= turns * slices <= depths.turned_slices and width * slices <= depths.row_store
        if fits:
            return band
