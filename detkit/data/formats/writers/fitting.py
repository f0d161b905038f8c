"""What a form can hold of the objects of a data set: they are brought to it, and what is lost is counted.

Notation: M objects.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from detkit.config.data import FormName
from detkit.data.formats.writers.voc import has_pixels
from detkit.data.formats.writers.yolo import yolo_lines
from detkit.data.formats.written_forms import TITLES, WrittenForm
from detkit.data.ground_truth import Bools, Floats, GroundTruth, Objects, learned_boxes

BY_OBJECTS: frozenset[WrittenForm] = frozenset({"voc", "labelme", "openimages", "huggingface"})  # they name no classes
SORTED = BY_OBJECTS | {"cvat"}  # whose classes are read in the order of their names
OF_FRACTIONS: frozenset[str] = frozenset({"yolo", "darknet", "openimages"})  # whose boxes are fractions of the image

_BEYOND = 1e-3  # px over a limit that count: less is rounding
_WHOLE = 1e-3  # px: a coordinate from a fraction of six digits, of an image up to 1,300 px, is this near to what it was
_DECIMALS = 4  # of coordinates from fractions; ten digits, as detkit writes, bring them back that exactly
_UNMARKED: frozenset[WrittenForm] = frozenset({"yolo", "darknet"})  # whose objects have a class and a box alone


def fitted(truth: GroundTruth, target: WrittenForm) -> GroundTruth:
    """The same images, with the objects that the form can hold: what comes back when it is read."""
    if target == "coco":
        return truth
    left_out = _left_out(truth, target)
    kept = ~np.any(list(left_out.values()), axis=0)
    objects = truth.objects.rows(kept)
    boxes = np.clip(objects.boxes, 0, _limits(truth)[kept])
    xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    xywh = np.where((boxes == objects.boxes).all(axis=1, keepdims=True), objects.xywh, xywh)
    area = np.where(_has_outline(objects) & _holds_area(objects, target), objects.area, xywh[:, 2:].prod(axis=1))
    crowd = objects.ignore if target == "openimages" else objects.crowd
    truncated = objects.truncated & (target not in _UNMARKED)
    counts = np.bincount(truth.image_index[kept], minlength=len(truth)).astype(np.int64)
    return replace(truth, objects=Objects(objects.labels, xywh, area, objects.ignore, truncated, crowd), counts=counts)


def losses(truth: GroundTruth, source: FormName, target: WrittenForm) -> Iterator[tuple[str, int]]:
    """What is lost or changed on the way, and how many objects it concerns."""
    left_out = _left_out(truth, target)
    objects = truth.objects
    kept = ~np.any(list(left_out.values()), axis=0) if left_out else np.ones(len(objects), dtype=np.bool_)
    difficult = kept & objects.ignore & ~objects.crowd
    is_new = source != target
    beyond = (np.abs(objects.boxes - np.clip(objects.boxes, 0, _limits(truth))) > _BEYOND).any(axis=1)
    title = TITLES[target]
    changes = left_out | {
        "are crowd: written as difficult 1 and iscrowd 1; other tools take them for difficult": (
            kept & objects.crowd & is_new & (target == "voc")
        ),
        "are difficult: written as iscrowd 1 and difficult 1; other tools take them for crowds": (
            difficult & is_new & (target == "coco")
        ),
        "are difficult, which Open Images cannot say: written as IsGroupOf 1, which are crowds": (
            difficult & (target == "openimages")
        ),
        f"are truncated, which {title} cannot say: the mark is lost": kept & objects.truncated & (target in _UNMARKED),
        "have the area of their outline: lost, that of the box is left": (
            kept & _has_outline(objects) & ~_holds_area(objects, target)
        ),
        "reach beyond their image: clipped to it": kept & beyond & (target != "coco"),
        f"are in images of which few classes are known (federated): {title} takes all others for absent": (
            kept & (truth.federated is not None and target != "coco")
        ),
    }
    yield from ((change, int(concerned.sum())) for change, concerned in changes.items())


def in_px(truth: GroundTruth) -> GroundTruth:
    """Objects that a form states as fractions of their image, as the px that were meant.

    Corners within a thousandth of a whole px are whole, others get four decimals: none moves by more than 0.001 px.
    Objects that this would leave without an area stay as they are.
    """
    objects = truth.objects
    whole = np.rint(objects.boxes)
    boxes = np.where(np.abs(objects.boxes - whole) < _WHOLE, whole, objects.boxes.round(_DECIMALS))
    sides = (boxes[:, 2:] - boxes[:, :2]).round(_DECIMALS)
    has_sides = np.all(sides > 0, axis=1, keepdims=True)
    xywh = np.where(has_sides, np.concatenate([boxes[:, :2], sides], axis=1), objects.xywh)
    area = np.where(_has_outline(objects), objects.area, xywh[:, 2:].prod(axis=1)).round(_DECIMALS)
    return replace(truth, objects=replace(objects, xywh=xywh, area=area))


def _left_out(truth: GroundTruth, target: WrittenForm) -> dict[str, Bools]:
    """Why objects are left out, and which (M,), none for two reasons; COCO holds all."""
    if target == "coco":
        return {}
    objects = truth.objects
    _, has_area = learned_boxes(truth)
    found = {"have no area in their image: left out": ~has_area}
    if target == "voc":
        thin = has_area & ~has_pixels(np.clip(objects.boxes, 0, _limits(truth)))
        found["are under 1 px wide or high in their image, which VOC cannot say: left out"] = thin
    if target in _UNMARKED:
        title = TITLES[target]
        found[f"are crowd, which {title} cannot say: left out"] = has_area & objects.crowd
        found[f"are difficult, which {title} cannot say: left out"] = has_area & objects.ignore & ~objects.crowd
        rest = has_area & ~objects.ignore
        found[f"have the class and the box of another, which {title} reads as one: left out"] = _repeats(truth, rest)
    return found


def _repeats(truth: GroundTruth, rest: Bools) -> Bools:
    """(M,) which of `rest` have the line of an object before them in their image."""
    objects, limits = truth.objects.rows(rest), _limits(truth)[rest]
    lines = yolo_lines(objects.labels, np.clip(objects.boxes, 0, limits), limits)
    seen: set[tuple[int, str]] = set()
    found = np.zeros(len(rest), dtype=np.bool_)
    for row, image, line in zip(np.flatnonzero(rest).tolist(), truth.image_index[rest].tolist(), lines, strict=True):
        found[row] = (image, line) in seen
        seen.add((image, line))
    return found


def _has_outline(objects: Objects) -> Bools:
    """(M,) whether the stated area is not that of the box."""
    found: Bools = ~np.isclose(objects.area, objects.xywh[:, 2:].prod(axis=1), rtol=1e-6)
    return found


def _holds_area(objects: Objects, target: WrittenForm) -> Bools:
    """(M,) whether the stated area comes back."""
    found: Bools = (objects.area > 0) & (target == "huggingface") | (target == "coco")
    return found


def _limits(truth: GroundTruth) -> Floats:
    """(M, 4) width, height, width, height of the image of each object."""
    return truth.sizes[truth.image_index][:, [1, 0, 1, 0]].astype(np.float64)
