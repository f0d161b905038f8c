"""Colour spaces, and what each pixel votes for in the histograms of colour and texture (Uijlings et al. 2013, 3.2).

Shapes: H, W the image, C channels of the colour space; each pixel has 2 * C votes, one colour and one texture vote
per channel.
"""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from detkit.ops.compiled import compiled

Space = Literal["hsv", "lab", "rgi", "hue", "gray"]

COLOR_BINS = 25  # per channel; section 3.2
ORIENTATIONS = 8  # section 3.2
MAGNITUDES = 10  # bins of the strength of a gradient; section 3.2
TEXTURE_BINS = ORIENTATIONS * MAGNITUDES  # per channel
TEXTURE_SIGMA = 1.0  # px; section 3.2


def converted(image: NDArray[np.uint8], space: Space) -> NDArray[np.uint8]:
    """RGB (H, W, 3) -> (H, W, C) in 0..255; the five spaces of table 5 that keep apart what light changes."""
    if space == "lab":
        return _uint8(cv2.cvtColor(image, cv2.COLOR_RGB2LAB))
    if space == "gray":
        return _uint8(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[..., None]
    if space == "rgi":
        return _shares_and_intensity(image, _uint8(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)))
    hsv = _uint8(cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL))
    return hsv if space == "hsv" else np.ascontiguousarray(hsv[..., :1])


def votes(image: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """(H, W, C) -> the bins (H, W, 2 * C) that each pixel counts in: colours first, then textures.

    A texture vote is one of 8 directions of the gradient together with its strength. (The paper counts a pixel once
    for each of 8 directional derivatives; one vote is an eighth of the work.)
    """
    smooth = _uint8(cv2.GaussianBlur(image, (0, 0), TEXTURE_SIGMA)).reshape(image.shape)
    return _votes(image, smooth, _texture_table())


def _uint8(array: object) -> NDArray[np.uint8]:
    return np.asarray(array, np.uint8)


def _texture_table() -> NDArray[np.uint16]:
    """The texture bin (256, 256) of a gradient, by its vertical and horizontal part, each plus 128."""
    vertical, horizontal = np.mgrid[-128:128, -128:128].astype(np.float64)
    turn = np.arctan2(vertical, horizontal) / (2 * np.pi)
    direction = np.floor(turn * ORIENTATIONS + 0.5).astype(np.int64) % ORIENTATIONS
    # The square root: most gradients are weak. 1.2 puts those of 56 and more, of 128, in the last bin.
    strength = np.minimum(MAGNITUDES - 1, np.sqrt(np.hypot(vertical, horizontal)) * 1.2).astype(np.int64)
    return np.asarray(direction * MAGNITUDES + strength, np.uint16)


@compiled
def _shares_and_intensity(image: NDArray[np.uint8], gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The shares of red and green in each pixel's sum, and its intensity."""
    out = np.empty_like(image)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            total = max(np.int32(image[y, x, 0]) + image[y, x, 1] + image[y, x, 2], 1)
            out[y, x, 0] = np.int32(image[y, x, 0]) * 255 // total
            out[y, x, 1] = np.int32(image[y, x, 1]) * 255 // total
            out[y, x, 2] = gray[y, x]
    return out


@compiled
def _votes(
    image: NDArray[np.uint8], smooth: NDArray[np.uint8], texture_table: NDArray[np.uint16]
) -> NDArray[np.uint16]:
    height, width, channels = image.shape
    out = np.empty((height, width, 2 * channels), np.uint16)
    for y in range(height):
        above, below = max(y - 1, 0), min(y + 1, height - 1)
        for x in range(width):
            left, right = max(x - 1, 0), min(x + 1, width - 1)
            for c in range(channels):
                out[y, x, c] = c * COLOR_BINS + np.int32(image[y, x, c]) * COLOR_BINS // 256
                dx = (np.int32(smooth[y, right, c]) - np.int32(smooth[y, left, c])) // 2
                dy = (np.int32(smooth[below, x, c]) - np.int32(smooth[above, x, c])) // 2
                texture = texture_table[dy + 128, dx + 128]
                out[y, x, channels + c] = channels * COLOR_BINS + c * TEXTURE_BINS + texture
    return out
