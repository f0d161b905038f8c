"""Boxes in other units than their form has: fractions of the image for pixels, corners for width and height.

They would train silently, on boxes of a pixel or of the wrong place: what they look like is said, and nothing is
guessed. Notation: M objects.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from detkit.data.faults import Fault
from detkit.data.ground_truth import Bools, Floats
from detkit.structures import Size

Corners = tuple[float, float, float, float]  # x1, y1, x2, y2

OTHER_UNITS = "splits have boxes in other units"
PIXELS = "looks like pixels"
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)  # float() also takes nan, inf and 1_0
FRACTION_SLACK = 0.01  # a coordinate this far outside 0..1 is still clipped: tools that round, or count pixels from 1

_MOST_FRACTION = 2.0  # no fraction is greater: the number must be of pixels
_ONE = 1.01  # the largest fraction of an image: tools that round, or count from 1, pass 1 by a little
_LEAST_SIDE = 8  # px, of an image in which boxes may be told to be too small
_SHARE = 0.05  # of the objects: fewer are single slips, told as boxes of a pixel or less
_FITTING = 0.95  # share of the boxes that fit their image as corners
_BEYOND = 0.2  # and of those that leave it as width and height
_LOOSE = 0.02  # share of the image's side that loosely drawn boxes leave it by
_ENOUGH = 10  # objects: what fewer look like may be chance
_PERCENT_SIDE = 200  # px, of images in which boxes that all end before 100 are odd
_FAR = 0.1  # share by which one of them leaves it at least


def units_fault(
    file: Path, box_field: str, stated: Iterable[tuple[Sequence[Corners], Size]], are_sizes: bool = False
) -> Fault | None:
    """The error where the boxes of a split look like those of other units; None where they may be pixels.

    stated: of each image its boxes as the file states them, 0-based or 1-based, and its height and width, (0, 0) where
    that is not known. are_sizes: the boxes are x, y, width, height.
    """
    known = [(boxes, size) for boxes, size in stated if boxes and min(size) > _LEAST_SIDE]
    if not known:
        return None
    boxes = np.concatenate([np.array(one, dtype=np.float64).reshape(-1, 4) for one, _ in known])  # (M, 4)
    sizes = np.repeat(np.array([size for _, size in known]), [len(one) for one, _ in known], axis=0)  # (M, 2)
    are_fractions = _look_like_fractions(boxes)
    if are_fractions.mean() >= _SHARE:
        return _fault(file, box_field, boxes, are_fractions, "fractions of the image", "multiply them by its size")
    every = np.ones(len(boxes), dtype=np.bool_)
    if _look_like_percents(boxes, sizes):
        return _fault(file, box_field, boxes, every, "percents of the image", "multiply them by its size / 100")
    expected = "left, top, width and height"
    if are_sizes and _look_like_corners(boxes, sizes):
        return _fault(file, box_field, boxes, every, "corners (x1, y1, x2, y2)", "write x, y, width, height", expected)
    if are_sizes and _look_like_centres(boxes, sizes):
        return _fault(file, box_field, boxes, every, "centres and sizes", "write the left and top", expected)
    return None


def in_place_of_boxes(wrong_units: Fault | None, faults: Iterable[Fault], box_field: str) -> list[Fault]:
    """The faults of a split; where all boxes are of other units, without those of single boxes."""
    if wrong_units is None:
        return list(faults)
    return [wrong_units, *(fault for fault in faults if fault.field.partition("/")[0] != box_field)]


def fault_of_fraction(value: float) -> str | None:
    """What is wrong with a number that should be a fraction of the image's width or height, if anything."""
    if -FRACTION_SLACK <= value <= 1 + FRACTION_SLACK:
        return None
    what = PIXELS if value > _MOST_FRACTION else "is outside 0..1"
    return f"{what}; write fractions of the image's width and height"


def centres_fault(file: Path, stated: Sequence[Corners]) -> Fault | None:
    """The error where the boxes of a split in YOLO's form, centre and size as fractions, look like corners."""
    boxes = np.array(stated, dtype=np.float64).reshape(-1, 4)
    if not len(boxes):
        return None
    beyond = (np.abs(boxes[:, :2] - 0.5) + boxes[:, 2:] / 2 - 0.5).max(axis=1)
    every, remedy = np.ones(len(boxes), dtype=np.bool_), "write class cx cy w h"
    if _are_other(_fit_as_corners(boxes, np.ones((1, 2))), beyond):
        return _fault(file, "box", boxes, every, "corners (x1, y1, x2, y2)", remedy, "centre and size")
    fit = np.asarray((boxes >= 0).all(axis=1) & (boxes[:, :2] + boxes[:, 2:] <= _ONE).all(axis=1))
    none_far = (boxes[:, :2] + boxes[:, 2:] / 2).max() <= 1 + _LOOSE  # centres would leave all sides alike
    if len(boxes) >= _ENOUGH and none_far and _are_other(fit, beyond):
        return _fault(file, "box", boxes, every, "left, top, width and height", remedy, "centre and size")
    return None


def _look_like_fractions(boxes: Floats) -> Bools:
    """(M,) whether all numbers are within 0..1, and not whole: a box of one pixel is no fraction."""
    inside = ((boxes >= 1 - _ONE) & (boxes <= _ONE)).all(axis=1)
    is_whole_image = (boxes == (0, 0, 1, 1)).all(axis=1)  # 0-based, while a pixel of VOC's is (1, 1, 1, 1)
    found: Bools = inside & ((boxes != np.rint(boxes)).any(axis=1) | is_whole_image)
    return found


def _look_like_corners(boxes: Floats, sizes: Floats) -> bool:
    """Whether all boxes fit their images as corners, and many do not as width and height."""
    limits = sizes[:, ::-1]  # (M, 2) width and height
    beyond = ((boxes[:, :2] + boxes[:, 2:]) / limits - 1).max(axis=1)
    return _are_other(_fit_as_corners(boxes, limits), beyond)


def _look_like_centres(boxes: Floats, sizes: Floats) -> bool:
    """Whether all boxes fit their images as centre and size, and many do not as left, top and size."""
    limits = sizes[:, ::-1]
    shares = boxes / np.concatenate([limits, limits], axis=1)
    beyond = (shares[:, :2] + shares[:, 2:] - 1).max(axis=1)
    reach = np.abs(shares[:, :2] - 0.5) + shares[:, 2:] / 2  # of the box around the centre, from the image's middle
    fit = np.asarray((shares >= 0).all(axis=1) & (reach <= 0.5 + _ONE - 1).all(axis=1))
    return len(boxes) >= _ENOUGH and _are_other(fit, beyond)


def _look_like_percents(boxes: Floats, sizes: Floats) -> bool:
    """Whether the boxes of several larger images keep to 0..100, and fill that."""
    is_large = bool((sizes > _PERCENT_SIDE).all())
    ends = boxes.max(axis=0)
    return is_large and len(boxes) >= _ENOUGH and bool((boxes >= 0).all()) and 90 <= ends.max() <= 100


def _are_other(fit: Bools, beyond: Floats) -> bool:
    """Whether boxes are of another kind: nearly all `fit` (M,) as such, and many do not fit as they are to be read.

    beyond: (M,) how far they leave their image then, as shares of its side. Boxes drawn a little too large say nothing.
    """
    return bool(fit.mean() >= _FITTING and (beyond > _LOOSE).mean() >= _BEYOND and beyond.max() > _FAR)


def _fit_as_corners(boxes: Floats, limits: Floats) -> Bools:
    """(M,) whether they are boxes within their limits (M, 2), width and height, which counting from 1 may pass."""
    is_inside = (boxes >= 0) & (boxes <= np.concatenate([limits, limits], axis=1) * _ONE)
    found: Bools = np.asarray(is_inside.all(axis=1) & (boxes[:, :2] < boxes[:, 2:]).all(axis=1))
    return found


def _fault(
    file: Path, box_field: str, boxes: Floats, chosen: Bools, what: str, remedy: str, expected: str = "pixels"
) -> Fault:
    first = ", ".join(f"{value:g}" for value in boxes[int(np.argmax(chosen))].tolist())
    count = f"all {len(boxes):,}" if chosen.all() else f"{int(chosen.sum()):,} of {len(boxes):,}"
    message = f"the numbers of {count} boxes look like {what}, such as ({first}), {expected} are expected: {remedy}"
    return Fault(file, message, field=box_field, summary=OTHER_UNITS)
