"""Anchors: the boxes of fixed sizes and ratios, centred on every cell of the feature map, that the RPN starts from."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    pass

Boxes = NDArray[np.float32]  # (A, 4)
Placing = Literal["centered", "corner", "rounded"]


def cell_anchors(sizes: Sequence[float], ratios: Sequence[float]) -> Boxes:
    """The anchors of one cell, centred on (0, 0): (A, 4), all ratios of the first size first.

    A size is the square root of the area in px, a ratio is height / width (Faster R-CNN, section 3.1.1). The papers'
    code rounds sides to whole pixels of a 16 px base box; the exact values are used here.
    """
    area_root = np.array(sizes, dtype=np.float64)[:, None]
    height_factor = np.sqrt(np.array(ratios, dtype=np.float64))[None]
    half_width = (area_root / height_factor / 2).flatten()
    half_height = (area_root * height_factor / 2).flatten()
    return np.stack([-half_width, -half_height, half_width, half_height], axis=1).astype(np.float32)


def placed_anchors(sizes: Sequence[float], ratios: Sequence[float], placing: Placing, stride: int) -> Boxes:
    """The anchors of a cell of `stride` px, seen from the cell's centre, where a system puts them: (A, 4).

    "centered": on the centre. "corner": on the cell's top left corner (detectron2: anchor_generator.py, OFFSET 0.0).
    "rounded": on the centre, with the rounded sides of py-faster-rcnn's generate_anchors.py.
    """
    match placing:
        case "centered":
            return cell_anchors(sizes, ratios)
        case "corner":
            return cell_anchors(sizes, ratios) - np.float32(stride / 2)
        case "rounded":
            return _rounded_anchors(sizes, ratios, stride)


def _rounded_anchors(sizes: Sequence[float], ratios: Sequence[float], base: int) -> Boxes:
    """`cell_anchors` as multiples of boxes of `base`^2 px whose sides are rounded, first the width, then the height.

    There a box of the base is [0, 15] in pixels that are both inside, about 7.5, which is detkit's [0, 16] about 8.
    """
    rows = []
    for size in sizes:
        for ratio in ratios:
            width = round(math.sqrt(base * base / ratio))
            half = [side * size / base / 2 for side in (width, round(width * ratio))]
            rows.append([-half[0], -half[1], *half])
    return np.array(rows, dtype=np.float32).reshape(-1, 4)
