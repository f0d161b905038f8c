"""One shape of CVAT's XML to a box in px. The file is not trusted: what is wrong with it becomes a Fault."""

import math
from reprlib import repr as short_repr  # at most 30 characters, control codes escaped: these texts are not trusted
from xml.etree.ElementTree import Element

from detkit.data.formats.outlines import (
    Points,
    box_around,
    ellipse_box,
    outline_area,
    runs_box,
    turned_corners,
)
from detkit.data.formats.read_split import ObjectList
from detkit.data.formats.units import NUMBER, Corners

NOT_OBJECTS = "tags, points, lines and skeletons have no box and are left out"
OUTSIDE = "shapes are marked as outside and are left out"
TURNED = "boxes are turned; the upright box around each is used"
_MAX_COORDINATE = 1e9  # px; no image that is read comes near
_SHAPES = frozenset({"box", "polygon", "ellipse", "mask", "cuboid"})
_CUBOID = ("xtl1", "ytl1", "xbl1", "ybl1", "xtr1", "ytr1", "xbr1", "ybr1")
BOXLESS = frozenset({"tag", "points", "polyline", "skeleton"})  # elements, and types of labels


class ShapeReader:
    """Reads one shape into `objects`, what is wrong with it too."""

    def __init__(self, objects: ObjectList, element: Element, place: str) -> None:
        self._objects = objects
        self._element = element
        self._name = (element.get("label") or "").strip()
        self._place = f"{place} ({self._name if self._name.isidentifier() else short_repr(self._name)})"

    def read(self) -> None:
        tag = self._element.tag
        if tag in BOXLESS:
            self._objects.warn(self._place, f"is a <{tag}>", NOT_OBJECTS)
        elif tag not in _SHAPES:
            known = ", ".join(sorted(_SHAPES | BOXLESS))
            self._objects.error(self._place, "", f"is a <{short_repr(tag)}>; known are {known}")
        elif self._element.get("outside") == "1":
            self._objects.warn(self._place, "has outside=1", OUTSIDE)
        else:
            try:
                found = self._outline(tag)
            except ValueError as error:
                self._objects.error(self._place, tag, str(error))
                return
            if found is None:
                self._objects.error(self._place, tag, "is empty; draw or remove it")
                return
            marks = {mark for mark in ("difficult", "truncated", "is_crowd", "crowd") if self._has(mark)}
            is_crowd = bool(marks & {"is_crowd", "crowd"})
            box, area = found
            self._objects.add(self._place, self._name, box, "difficult" in marks, "truncated" in marks, is_crowd, area)

    def _has(self, attribute: str) -> bool:
        """Attributes of labels are the user's own; those that detkit knows are taken."""
        found = (a.text for a in self._element.findall("attribute") if a.get("name") == attribute)
        return (next(found, "") or "").strip().lower() in ("1", "true")

    def _outline(self, tag: str) -> tuple[Corners, float] | None:
        """The box and the area, NaN for that of the box. Raises ValueError."""
        if tag == "box":
            return self._box()
        if tag == "polygon":
            points = self._points()
            return box_around(points), outline_area(points)
        if tag == "ellipse":
            cx, cy, rx, ry = (self._number(name) for name in ("cx", "cy", "rx", "ry"))
            return ellipse_box(cx, cy, rx, ry, self._rotation()), math.pi * rx * ry
        if tag == "mask":
            return self._mask()
        names = [name[:-1] + side for side in "12" for name in _CUBOID]
        xs, ys = ([self._number(name) for name in names if name[0] == axis] for axis in "xy")
        return box_around(list(zip(xs, ys, strict=True))), math.nan

    def _box(self) -> tuple[Corners, float]:
        x1, y1, x2, y2 = (self._number(name) for name in ("xtl", "ytl", "xbr", "ybr"))
        degrees = self._rotation()
        if not degrees:
            return (x1, y1, x2, y2), math.nan
        self._objects.warn(self._place, f"is turned by {degrees:g} degrees", TURNED)
        return box_around(turned_corners((x1, y1, x2, y2), degrees)), (x2 - x1) * (y2 - y1)

    def _mask(self) -> tuple[Corners, float] | None:
        left, top, width, height = (self._whole(name) for name in ("left", "top", "width", "height"))
        counts = [_whole(text.strip(), "rle") for text in (self._element.get("rle") or "").split(",")]
        found = runs_box(counts, (height, width))
        if found is None:
            return None
        (x1, y1, x2, y2), area = found
        return (left + x1, top + y1, left + x2, top + y2), area

    def _points(self) -> Points:
        """x,y;x,y;..."""
        text = self._element.get("points") or ""
        pairs = [pair.split(",") for pair in text.split(";")]
        if not text or any(len(pair) != 2 for pair in pairs):
            raise ValueError(f"points are {short_repr(text)}, expected x,y;x,y;... in px; mend them")
        return [(_number(x, "points"), _number(y, "points")) for x, y in pairs]

    def _rotation(self) -> float:
        return self._number("rotation") if self._element.get("rotation") else 0.0

    def _number(self, name: str) -> float:
        return _number(self._element.get(name) or "", name)

    def _whole(self, name: str) -> int:
        return _whole(self._element.get(name) or "", name)


def _number(text: str, name: str) -> float:
    if len(text) > 50 or not NUMBER.fullmatch(text.strip()) or abs(float(text)) > _MAX_COORDINATE:
        raise ValueError(f"{name} is {short_repr(text)}, expected a number of pixels; mend it")
    return float(text)


def _whole(text: str, name: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ValueError(f"{name} is {short_repr(text)}, expected a whole number of pixels; mend it")
    return int(text)
