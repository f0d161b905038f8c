"""The annotations of a COCO file to a table of objects. They are not trusted: all that is wrong becomes a Fault."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short_repr  # at most 30 characters, control codes escaped: these texts are not trusted
from typing import Any

import msgspec
import numpy as np

from detkit.data.faults import Fault, Severity
from detkit.data.ground_truth import Floats, Ints, Objects

NOWHERE = -1  # the row of an image that is left out for its own fault: its objects are not told of again

SAME_ID = "annotations have the id of another; all are kept"  # pycocotools would count the last in place of each
NO_BBOX = "annotations have no bbox; it is taken from their outline"
_MAX_COORDINATE = 1e9  # px; no image that is read comes near
_MAX_NUMBER = 2**63 - 1
_NUMBERS = frozenset({int, float})  # not bool, which is an int to isinstance


class Annotation(msgspec.Struct, gc=False):
    # Without `ignore`, which some files have: pycocotools overwrites it by iscrowd.
    id: Any = None
    image_id: Any = None
    category_id: Any = None
    bbox: Any = None
    area: Any = None
    iscrowd: Any = 0
    difficult: Any = None  # with iscrowd 1: one object, VOC's difficult, which detkit writes as a crowd for other tools
    truncated: Any = None  # VOC's, kept by detkit
    segmentation: msgspec.Raw = msgspec.Raw(b"null")  # a view of the file's bytes, decoded only where bbox is missing


@dataclass(frozen=True, eq=False)
class FoundObjects:
    objects: Objects  # in the order of the images, those of an image in the order of the file
    counts: Ints  # (N,) objects of each image
    indices: Ints  # (M,) the annotation of each object, counted from 0 in the file
    annotation_ids: tuple[int | None, ...]  # (M,) None: not stated


class AnnotationReader:
    """Collects the objects of annotations; what is wrong goes to `faults`, and the annotation is left out."""

    def __init__(
        self, path: Path, row_of: dict[int, int], categories: Sequence[tuple[int, str]], faults: list[Fault]
    ) -> None:
        """`row_of` is the place of each image id; label i is categories[i], its id and name."""
        self._path, self._row_of, self._faults = path, row_of, faults
        self._names = tuple(name for _, name in categories)
        self._label_of = {number: label for label, (number, _) in enumerate(categories)}
        self._ids: set[int] = set()
        self._not_whole: dict[str, list[tuple[int, Annotation]]] = defaultdict(list)  # by the field that is no number
        # Row of the image, index, label; whether it is ignored, a crowd, truncated.
        self._keys: list[tuple[int, int, int, bool, bool, bool]] = []
        self._kept_ids: list[int | None] = []
        self._boxes: list[list[float]] = []  # x, y, width, height, area

    def read(self, index: int, entry: Annotation) -> None:
        number = entry.id if is_number(entry.id) else None
        if number is not None and number in self._ids:
            self._warn(index, entry, "id", "is that of an earlier annotation; give each its own", SAME_ID)
        elif number is not None:
            self._ids.add(number)
        row = self._known(index, entry, "image_id", entry.image_id, self._row_of)
        label = self._known(index, entry, "category_id", entry.category_id, self._label_of)
        box = self._box(index, entry)
        area = self._area(index, entry, box)
        if type(entry.iscrowd) not in (int, bool, float) or entry.iscrowd not in (0, 1):
            self._error(index, entry, "iscrowd", f"is {short_repr(entry.iscrowd)}, expected 0 or 1")
        elif row is not None and row != NOWHERE and label is not None and box is not None and area is not None:
            is_crowd = bool(entry.iscrowd) and not _is_marked(entry.difficult)
            self._keys.append((row, index, label, bool(entry.iscrowd), is_crowd, _is_marked(entry.truncated)))
            self._kept_ids.append(number)
            self._boxes.append([*box, area])

    def found(self, num_images: int) -> FoundObjects:
        """All that was read; ids that are no numbers, such as texts, are told of once for the file."""
        for name, wrong in self._not_whole.items():
            index, entry = wrong[0]
            self._error(index, entry, name, not_whole(getattr(entry, name), len(wrong)))
        keys = np.array(self._keys, dtype=np.int64).reshape(-1, 6)
        boxes = np.array(self._boxes, dtype=np.float64).reshape(-1, 5)
        order = np.argsort(keys[:, 0], kind="stable")
        rows, indices, labels, ignore, crowd, truncated = keys[order].T
        boxes = boxes[order]
        return FoundObjects(
            Objects(labels, boxes[:, :4], boxes[:, 4], ignore == 1, truncated == 1, crowd == 1),
            np.bincount(rows, minlength=num_images).astype(np.int64),
            indices,
            tuple(self._kept_ids[place] for place in order.tolist()),
        )

    def _known(self, index: int, entry: Annotation, field: str, value: object, known: dict[int, int]) -> int | None:
        if type(value) is int and value in known:
            return known[value]
        if not is_number(value):
            self._not_whole[field].append((index, entry))
            return None
        self._error(index, entry, field, f"is {short_repr(value)}, which is not in the file's list; mend either")
        return None

    def _box(self, index: int, entry: Annotation) -> list[float] | None:
        if _are_pixels(entry.bbox, 4):
            box: list[float] = entry.bbox
            return box
        if entry.bbox is not None:
            self._error(index, entry, "bbox", f"is {short_repr(entry.bbox)}, expected four numbers of px")
            return None
        outline = _outline(entry.segmentation)
        if outline is None:
            self._error(index, entry, "bbox", "is missing, and the outline is not of polygons; add it")
            return None
        self._warn(index, entry, "bbox", "is missing", NO_BBOX)
        x1, y1 = outline.min(axis=0).tolist()
        x2, y2 = outline.max(axis=0).tolist()
        return [x1, y1, x2 - x1, y2 - y1]

    def _area(self, index: int, entry: Annotation, box: list[float] | None) -> float | None:
        if entry.area is None:
            return None if box is None else box[2] * box[3]
        if type(entry.area) in (int, float):
            return float(entry.area)
        self._error(index, entry, "area", f"is {short_repr(entry.area)}, expected a number of px")
        return None

    def _error(self, index: int, entry: Annotation, field: str, message: str) -> None:
        self._faults.append(Fault(self._path, message, Severity.ERROR, self._place(index, entry), field))

    def _warn(self, index: int, entry: Annotation, field: str, message: str, summary: str) -> None:
        self._faults.append(Fault(self._path, message, Severity.WARNING, self._place(index, entry), field, summary))

    def _place(self, index: int, entry: Annotation) -> str:
        label = self._label_of.get(entry.category_id) if type(entry.category_id) is int else None
        name = None if label is None else self._names[label]
        return place_of(index, entry.id if is_number(entry.id) else None, name)


def place_of(index: int, number: int | None, name: str | None) -> str:
    parts = ([] if number is None else [f"id {number}"]) + ([] if name is None else [name])
    return f"annotation {index} ({', '.join(parts)})" if parts else f"annotation {index}"


def not_whole(value: object, count: int) -> str:
    """What is said of ids that are no whole numbers, of which `value` is the first."""
    more = f", and {count - 1:,} more are no whole numbers" if count > 1 else ", expected a whole number"
    return f"is {short_repr(value)}{more}; write ids as numbers like 17"


def is_number(value: object) -> bool:
    return type(value) is int and abs(value) <= _MAX_NUMBER  # True is an int, but no id


def _is_marked(value: object) -> bool:
    """These fields are no part of the format: whatever else stands there is no fault."""
    return type(value) in (int, bool) and value == 1


def _are_pixels(values: object, count: int) -> bool:
    if not isinstance(values, list) or len(values) != count or not _NUMBERS.issuperset(map(type, values)):
        return False
    return bool(min(values) >= -_MAX_COORDINATE and max(values) <= _MAX_COORDINATE)


def _outline(segmentation: msgspec.Raw) -> Floats | None:
    """(P, 2) x and y of the corners of all polygons; None for anything else, such as run lengths."""
    polygons = msgspec.json.decode(segmentation)
    if not isinstance(polygons, list) or not polygons:
        return None
    if not all(isinstance(p, list) and len(p) >= 4 and len(p) % 2 == 0 and _are_pixels(p, len(p)) for p in polygons):
        return None
    return np.concatenate([np.array(polygon, dtype=np.float64).reshape(-1, 2) for polygon in polygons])
