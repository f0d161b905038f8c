"""The channels that a structured forest looks at: colour, gradient magnitude and gradient by orientation.

Dollar & Zitnick 2013, section 4, with the units and the resampling of OpenCV's ximgproc, which its model file is for.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

FloatMap = NDArray[np.float32]

RGB_TO_XYZ = np.array([[0.430574, 0.341550, 0.178325], [0.222015, 0.706655, 0.071330], [0.020183, 0.129553, 0.939180]])
WHITE_U, WHITE_V = 0.197833, 0.468331
LUV_RANGE, LEAST_U, LEAST_V = 270.0, -88.0, -134.0  # brings L, u and v into 0..1
MAGNITUDE_FLOOR = 0.01  # added to the local mean that a magnitude is divided by


def channels(image: FloatMap, shrink: int, orientations: int, smoothing: int, normalization: int) -> FloatMap:
    """RGB (H, W, 3) in 0..1 -> (H / shrink, W / shrink, 3 + 2 (1 + orientations)), rounded."""
    height, width = image.shape[:2]
    colors = luv(image)
    cells = (round(width / shrink), round(height / shrink))
    found = [resize(colors, cells)]
    for scale in (1.0, 0.5):
        size = (width, height) if scale == 1 else (round(width * scale), round(height * scale))
        scaled = triangle(resize(colors, size), smoothing)
        magnitude, histogram = _gradients(scaled, orientations, max(1, int(shrink * scale)), normalization)
        found += [resize(magnitude, cells)[..., None], resize(histogram, cells).reshape(*cells[::-1], orientations)]
    return np.concatenate(found, axis=2)


def triangle(image: FloatMap, radius: int) -> FloatMap:
    """`image` (H, W) or (H, W, C) smoothed by a triangle of `radius` px, of which 0 changes nothing."""
    if radius == 0:
        return image
    if radius == 1:
        kernel = np.array([1, 2, 1]) / 4
    else:
        rising = np.arange(1, radius + 2)
        kernel = np.concatenate([rising, rising[-2::-1]]) / (radius + 1) ** 2
    weights = kernel.astype(np.float32)
    return cv2.sepFilter2D(image, cv2.CV_32F, weights, weights).astype(np.float32, copy=False)


def resize(image: FloatMap, size: tuple[int, int]) -> FloatMap:
    """`image` at `size` = width, height."""
    shrinks = size[0] < image.shape[1] and size[1] < image.shape[0]
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return resized.astype(np.float32, copy=False)


def luv(image: FloatMap) -> FloatMap:
    """RGB (H, W, 3) in 0..1 -> CIE L*u*v*, each about 0..1."""
    xyz = image @ RGB_TO_XYZ.T.astype(np.float32)
    bend = (29 / 3) ** 3  # below 8 / bend lightness is linear
    luminance = np.floor(1024 * xyz[..., 1]) / 1024  # a table of 1,024 steps there, so the model was trained on them
    lightness = np.where(luminance > 8 / bend, 116 * np.cbrt(luminance) - 16, luminance * bend) / LUV_RANGE
    divisor = xyz @ np.array([1, 15, 3], np.float32) + 1e-35
    u = lightness * 13 * (4 * xyz[..., 0] / divisor - WHITE_U) - LEAST_U / LUV_RANGE
    v = lightness * 13 * (9 * xyz[..., 1] / divisor - WHITE_V) - LEAST_V / LUV_RANGE
    return np.stack([lightness, u, v], axis=2).astype(np.float32)


def _gradients(image: FloatMap, orientations: int, cell: int, normalization: int) -> tuple[FloatMap, FloatMap]:
    """Magnitude (H, W) over its local mean, and its mean by orientation, (ceil(H / cell), ceil(W / cell), o)."""
    all_x = cv2.Sobel(image, cv2.CV_32F, 1, 0, ksize=1, borderType=cv2.BORDER_REFLECT)
    all_y = cv2.Sobel(image, cv2.CV_32F, 0, 1, ksize=1, borderType=cv2.BORDER_REFLECT)
    strongest = (all_x**2 + all_y**2).argmax(axis=2)[..., None]
    dx, dy = (np.take_along_axis(part, strongest, 2)[..., 0] for part in (all_x, all_y))
    magnitude = np.sqrt(dx * dx + dy * dy)
    half_turns = cv2.phase(dx, dy, angleInDegrees=True) / 180 - (dy < 0)  # OpenCV's quick arc tangent: 0..1
    half_turns[np.abs(dx) + np.abs(dy) < 1e-5] = 0.5
    magnitude = magnitude / (triangle(magnitude, normalization) + np.float32(MAGNITUDE_FLOOR))
    kind = np.rint(half_turns * orientations).astype(np.int64) % orientations
    height, width = magnitude.shape
    rows, columns = -(-height // cell), -(-width // cell)
    y, x = np.mgrid[:height, :width]
    place = ((y // cell) * columns + x // cell) * orientations + kind
    histogram = np.bincount(place.ravel(), magnitude.ravel(), rows * columns * orientations) / cell**2
    return magnitude, histogram.reshape(rows, columns, orientations).astype(np.float32)
