"""Boxes and areas of outlines: polygons, turned boxes, ellipses and run lengths, as annotation tools store them."""

import math
from collections.abc import Sequence

import numpy as np

from detkit.data.formats.units import Corners
from detkit.structures import Size

Points = Sequence[tuple[float, float]]  # x, y in px


def box_around(points: Points) -> Corners:
    """The smallest upright box that holds all points, of which there must be one."""
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def outline_area(points: Points) -> float:
    """Of a closed polygon, by the sum of its signed trapezoids; NaN where that is nothing."""
    following = [*points[1:], points[0]]
    area = abs(sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in zip(points, following, strict=True))) / 2
    return area or math.nan


def turned_corners(box: Corners, degrees: float) -> Points:
    """The four corners of a box that is turned about its centre, clockwise as images are seen."""
    x1, y1, x2, y2 = box
    cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
    cos, sin = _cos_sin(degrees)
    return [
        (cx + (x - cx) * cos - (y - cy) * sin, cy + (x - cx) * sin + (y - cy) * cos)
        for x, y in ((x1, y1), (x2, y1), (x2, y2), (x1, y2))
    ]


def ellipse_box(cx: float, cy: float, rx: float, ry: float, degrees: float = 0.0) -> Corners:
    """The upright box that touches an ellipse of half axes rx and ry, turned clockwise."""
    cos, sin = _cos_sin(degrees)
    half_width, half_height = math.hypot(rx * cos, ry * sin), math.hypot(rx * sin, ry * cos)
    return cx - half_width, cy - half_height, cx + half_width, cy + half_height


def _cos_sin(degrees: float) -> tuple[float, float]:
    """Exact for quarter turns, so that whole pixels stay whole."""
    quarters, rest = divmod(degrees, 90.0)
    if rest == 0:
        return ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[int(quarters) % 4]
    return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))


def runs_box(counts: Sequence[int], size: Size) -> tuple[Corners, float] | None:
    """The box of a mask and its number of pixels; None where it has none.

    `counts` are the lengths of runs of 0, 1, 0, ... over the rows of a mask of (height, width) `size`.
    Raises ValueError where they do not add up to that.
    """
    height, width = size
    lengths = np.array(counts, dtype=np.int64)
    if (lengths < 0).any() or int(lengths.sum()) != height * width:
        raise ValueError(f"its runs add up to {int(lengths.sum())} pixels, expected {width} x {height}; mend them")
    ends = np.cumsum(lengths)
    starts = ends - lengths
    is_set = (np.arange(len(lengths)) % 2 == 1) & (lengths > 0)
    if not is_set.any():
        return None
    first, last = starts[is_set], ends[is_set] - 1
    wraps = first // width < last // width
    x1 = np.where(wraps, 0, first % width).min()
    x2 = np.where(wraps, width - 1, last % width).max()
    box = (float(x1), float(first[0] // width), float(x2 + 1), float(last[-1] // width + 1))
    return box, float(lengths[is_set].sum())
