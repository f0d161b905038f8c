"""One label file of YOLO to boxes in px. The file is not trusted: all that is wrong becomes a Fault.

A line is `class cx cy w h`, or `class x1 y1 x2 y2 x3 y3 ...`, the outline of the object, of which the box is taken.
All but the class are fractions of the image's width or height.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from reprlib import repr as short_repr  # at most 30 characters, control codes escaped: these texts are not trusted

import numpy as np

from detkit.data.faults import CLIPPED, Fault, Severity
from detkit.data.formats.units import Corners, fault_of_fraction
from detkit.data.ground_truth import Objects
from detkit.data.io.files import read_bytes
from detkit.structures import Size

NO_AREA = "boxes have no area in their image and are left out"
TWICE = "objects are there twice and are used once"

_ROUNDING = 1e-5  # six digits a number leave a corner this exact


@dataclass(frozen=True, eq=False)
class YoloLabels:
    """The objects of one label file that are without error, and all its faults."""

    objects: Objects  # labels are the numbers in the file
    places: tuple[str, ...]  # M: how faults name them
    faults: tuple[Fault, ...]
    stated: tuple[Corners, ...] = ()  # centre and size of the boxes that are no outlines, as the file states them


def parse_labels(path: Path, size: Size, names: Sequence[str]) -> YoloLabels:
    """Read one file of an image of `size`; raises nothing, all is in `faults`. No file means no objects.

    `names` are those of the numbers in the file.
    """
    faults: list[Fault] = []
    found: dict[tuple[int, Corners], tuple[float, str]] = {}
    stated: list[Corners] = []
    for number, line in _read_lines(path, faults):
        reader = _LineReader(path, number, line, names, faults, stated)
        label, outline = reader.label(), reader.box_and_area()
        if label is None or outline is None:
            continue
        box, area = outline
        if (label, box) in found:
            reader.warn(f"has the class and box of {found[label, box][1]}; remove one", TWICE)
        else:
            found[label, box] = area, reader.place
    height, width = size
    scale = np.array([width, height, width, height], dtype=np.float64)
    boxes = np.array([box for _, box in found], dtype=np.float64).reshape(-1, 4) * scale
    objects = Objects.of_boxes(np.array([label for label, _ in found], dtype=np.int64), boxes)
    outlines = np.array([area for area, _ in found.values()], dtype=np.float64) * (width * height)
    objects = replace(objects, area=np.where(np.isnan(outlines), objects.area, outlines))
    return YoloLabels(objects, tuple(place for _, place in found.values()), tuple(faults), tuple(stated))


def _read_lines(path: Path, faults: list[Fault]) -> list[tuple[int, str]]:
    if not path.exists():
        return []
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except ValueError as error:
        faults.append(Fault(path, f"cannot be read as UTF-8 ({error}); write it anew"))
        return []
    return [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]


class _LineReader:
    """Reads one line; what is wrong goes to `faults`, and the value is then None."""

    def __init__(
        self, path: Path, number: int, line: str, names: Sequence[str], faults: list[Fault], stated: list[Corners]
    ) -> None:
        self._path, self._stated = path, stated
        self._columns = line.split()
        self._names = names
        self._faults = faults
        self._number = _number(self._columns[0])
        self.place = f"line {number}" if self._name() is None else f"line {number} ({self._name()})"

    def _name(self) -> str | None:
        number = self._number
        if number is None or not number.is_integer() or not 0 <= number < len(self._names):
            return None
        return self._names[int(number)]

    def label(self) -> int | None:
        name, number = self._name(), self._number
        if number is None or not number.is_integer():
            self._error("class", f"is {short_repr(self._columns[0])}, expected the number of a class")
        elif name is None:
            last = len(self._names) - 1
            self._error("class", f"is {self._columns[0]}, expected 0..{last}, the classes that have a name")
        else:
            return int(number)
        return None

    def box_and_area(self) -> tuple[Corners, float] | None:
        """Corners and the area of the outline, NaN where the line states none; None too where it has no area."""
        count = len(self._columns)
        if count == 6:
            self._error("", "has 6 numbers, the last looks like a confidence; labels have class cx cy w h: remove it")
            return None
        if count < 5 or count % 2 == 0:
            self._error("", f"has {count} numbers, expected class cx cy w h, or class and x y of 3 or more corners")
            return None
        values = self._fractions()
        if values is None:
            return None
        if count == 5:
            cx, cy, w, h = values
            self._stated.append((cx, cy, w, h))
            if w < 0 or h < 0:
                self._error("box", f"has the size {w:g} x {h:g}, expected 0..1; write class cx cy w h")
                return None
            corners = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
            return self._clipped(corners, math.nan)
        xs, ys = values[0::2], values[1::2]
        return self._clipped((min(xs), min(ys), max(xs), max(ys)), _outline_area(xs, ys))

    def _fractions(self) -> list[float] | None:
        values = []
        for text in self._columns[1:]:
            value = _number(text)
            if value is None:
                self._error("box", f"{short_repr(text)} is no finite number")
                return None
            values.append(value)
        worst = max(values, key=lambda value: abs(value - 0.5))
        fault = fault_of_fraction(worst)
        if fault is None:
            return values
        self._error("box", f"{worst:g} {fault}")
        return None

    def _clipped(self, corners: Corners, area: float) -> tuple[Corners, float] | None:
        x1, y1, x2, y2 = (min(max(value, 0.0), 1.0) for value in corners)
        if not (x1 < x2 and y1 < y2):
            self.warn("has no area in the image and is left out", NO_AREA)
            return None
        if min(corners) < -_ROUNDING or max(corners) > 1 + _ROUNDING:
            shown = ", ".join(f"{value:g}" for value in corners)
            self.warn(f"the corners ({shown}) reach beyond the image and are clipped", CLIPPED)
        return (x1, y1, x2, y2), area

    def _error(self, field: str, message: str) -> None:
        self._faults.append(Fault(self._path, message, Severity.ERROR, self.place, field))

    def warn(self, message: str, summary: str) -> None:
        self._faults.append(Fault(self._path, message, Severity.WARNING, self.place, "box", summary))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and text.isascii() and "_" not in text else None  # float() also takes 1_0


def _outline_area(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Of a closed polygon, by the sum of its signed trapezoids; NaN where that is nothing."""
    following = zip([*xs[1:], xs[0]], [*ys[1:], ys[0]], strict=True)
    area = abs(sum(x * next_y - next_x * y for x, y, (next_x, next_y) in zip(xs, ys, following, strict=True))) / 2
    return area or math.nan
