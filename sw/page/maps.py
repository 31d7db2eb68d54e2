"""Pictures made of pixels, as addresses that hold the whole file (data:image/png)."""

import base64
import io
import math
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_hex
from matplotlib.image import imsave
from numpy.typing import NDArray

COLOURS = "viridis"
"""Even steps for the eye, for colour-blind readers as well."""

_STOPS = 9
_STEP = 0.1


def shared_range(maps: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """The shares at the ends of a scale that all maps have in common, in whole steps of 10 %."""
    lowest, highest = min(float(found.min()) for found in maps), max(float(found.max()) for found in maps)
    low = math.floor(lowest / _STEP + 1e-9)
    return low * _STEP, max(low + 1, math.ceil(highest / _STEP - 1e-9)) * _STEP


def map_address(shares: NDArray[np.float64], low: float, high: float) -> str:
    """A map (height, width) in colours of the scale from low to high."""
    return _address(shares, cmap=COLOURS, vmin=low, vmax=high)


def picture_address(pixels: NDArray[np.uint8]) -> str:
    """An image (height, width, channels) as it is; with other channels than red, green and blue, their mean in grey."""
    if pixels.shape[-1] != 3:
        pixels = np.repeat(np.rint(pixels.mean(axis=-1, keepdims=True)).astype(np.uint8), 3, axis=-1)
    return _address(pixels)


def gradient() -> str:
    """The scale's colours from low to high, for a gradient of CSS."""
    return ", ".join(to_hex(mpl.colormaps[COLOURS](place / (_STOPS - 1))) for place in range(_STOPS))


def _address(array: NDArray[np.generic], **colours: Any) -> str:
    content = io.BytesIO()
    imsave(content, array, format="png", metadata={"Software": "ARCHON"}, **colours)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode("ascii")
