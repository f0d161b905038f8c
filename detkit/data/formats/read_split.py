"""What a split of a data set holds, whatever its form: images, objects with the place of each, and all its faults.

Every form reads its files into this. Opening a data set raises the first error in it, checking lists them all.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from detkit.data.faults import CLIPPED, Fault, Severity
from detkit.data.formats.class_names import fault_of_name
from detkit.data.formats.listing import ListedImage
from detkit.data.formats.units import Corners, in_place_of_boxes, units_fault
from detkit.data.ground_truth import GroundTruth, Ints, Objects, numbered
from detkit.data.io.images import ImageError, read_header
from detkit.structures import Size

UNKNOWN_SIZE: Size = (0, 0)
_ROUNDING = 0.011  # px: left and width with two decimals, or in float32, may pass the border by that
NO_AREA = "boxes have no area and are left out"


@dataclass(frozen=True, eq=False)
class ReadSplit:
    """A split under the classes of its own files."""

    name: str
    file: Path  # what is wrong with the split as a whole is said of this file or folder
    truth: GroundTruth  # objects without error; UNKNOWN_SIZE where neither a file nor the image tells the size
    paths: tuple[Path, ...]  # of each image, there or not
    annotations: tuple[Path, ...]  # of each image, the file that states its objects
    name_object: Callable[[int], str]  # how faults name object `row` of truth
    box_field: str  # how the form calls a box
    class_field: str  # and a class
    faults: tuple[Fault, ...]

    @cached_property
    def ends(self) -> Ints:
        """(N,) the row behind the last object of each image."""
        return np.cumsum(self.truth.counts)

    def object_fault(self, row: int, message: str, summary: str) -> Fault:
        """A warning about the box of object `row`."""
        place, name = self.annotation_of(row), self.name_object(row)
        return Fault(place, message, Severity.WARNING, name, self.box_field, summary)

    def annotation_of(self, row: int) -> Path:
        """The file that states object `row`."""
        return self.annotations[int(np.searchsorted(self.ends, row, side="right"))]


@dataclass
class ObjectList:
    """The objects of one image of a form that knows classes by name, as they are read: what is wrong goes to `faults`.

    `file` is what faults are said of, `box_field` how the form calls a box.
    """

    file: Path
    size: Size  # of the image; UNKNOWN_SIZE: boxes are not compared with it
    box_field: str
    faults: list[Fault] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    boxes: list[Corners] = field(default_factory=list)  # px, continuous, 0-based, inside the image
    difficult: list[bool] = field(default_factory=list)
    truncated: list[bool] = field(default_factory=list)
    crowd: list[bool] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)  # px, of the outline; NaN: that of the box
    places: list[str] = field(default_factory=list)  # how faults name each
    stated: list[Corners] = field(default_factory=list)  # of all objects, right or wrong

    def add(
        self,
        place: str,
        name: str,
        corners: Corners,
        difficult: bool = False,
        truncated: bool = False,
        crowd: bool = False,
        area: float = math.nan,
    ) -> None:
        """Take an object with its box in px, 0-based, x1 <= x2: clipped to its image; a fault takes its place if it
        has a name that no class may have, lies outside of the image, or has no area. `area` is that of its outline."""
        self.stated.append(corners)
        fault = fault_of_name(name)
        if fault is not None:
            self.error(place, "class", f"{name[:40]!r} {fault}")
        box = self._inside(place, corners)
        if fault is None and box is not None:
            self.names.append(name)
            self.boxes.append(box)
            self.difficult.append(difficult)
            self.truncated.append(truncated)
            self.crowd.append(crowd)
            self.areas.append(area)
            self.places.append(place)

    def error(self, place: str, what: str, message: str) -> None:
        self.faults.append(Fault(self.file, message, Severity.ERROR, place, what))

    def warn(self, place: str, message: str, summary: str) -> None:
        self.faults.append(Fault(self.file, message, Severity.WARNING, place, self.box_field, summary))

    def _inside(self, place: str, corners: Corners) -> Corners | None:
        x1, y1, x2, y2 = corners
        shown = ", ".join(f"{value:g}" for value in corners)
        if not all(map(math.isfinite, corners)) or x1 > x2 or y1 > y2:
            self.error(place, self.box_field, f"({shown}) is no box: expected x1 <= x2 and y1 <= y2 in px; mend it")
            return None
        if not _has_area(corners):
            self.warn(place, f"({shown}) has no area", NO_AREA)
            return None
        if self.size == UNKNOWN_SIZE:
            return corners
        height, width = self.size
        inside = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
        if not _has_area(inside):
            self.error(
                place, self.box_field, f"({shown}) lies outside the image of {width} x {height}; mend or remove it"
            )
            return None
        if max(abs(value - kept) for value, kept in zip(corners, inside, strict=True)) > _ROUNDING:
            self.warn(place, f"({shown}) reaches beyond the image of {width} x {height} and is clipped", CLIPPED)
        return inside

    def objects(self, label_of: dict[str, int]) -> Objects:
        labels = np.array([label_of[name] for name in self.names], dtype=np.int64)
        found = Objects.of_boxes(
            labels,
            np.array(self.boxes, dtype=np.float64).reshape(-1, 4),
            np.array(self.difficult, dtype=np.bool_) | np.array(self.crowd, dtype=np.bool_),
            np.array(self.truncated, dtype=np.bool_),
        )
        areas = np.array(self.areas, dtype=np.float64)
        areas = np.where(np.isnan(areas), found.area, areas)
        return replace(found, area=areas, crowd=np.array(self.crowd, dtype=np.bool_))


def _has_area(corners: Corners) -> bool:
    x1, y1, x2, y2 = map(np.float32, corners)  # as stored: rounding may leave no area
    return bool(x1 < x2 and y1 < y2)


def size_of(image: Path) -> Size:
    """(height, width) of the image as decoded; UNKNOWN_SIZE where it cannot be read, told of where it is decoded."""
    try:
        return read_header(image).size
    except ImageError:
        return UNKNOWN_SIZE


def split_of_lists(
    name: str,
    file: Path,
    images: Sequence[tuple[ListedImage, ObjectList]],
    classes: Sequence[str] | None,
    faults: Sequence[Fault],
    box_field: str,
    class_field: str = "class",
) -> ReadSplit:
    """The split of images whose objects were read into lists. Without `classes` they are the sorted names they have."""
    wrong_units = units_fault(file, box_field, [(found.stated, found.size) for _, found in images])
    told = [fault for _, found in images for fault in found.faults]
    told = in_place_of_boxes(wrong_units, told, box_field)
    names = tuple(sorted({name for _, found in images for name in found.names})) if classes is None else tuple(classes)
    label_of = {name: label for label, name in enumerate(names)}
    places = [place for _, found in images for place in found.places]
    return with_any_image(
        ReadSplit(
            name,
            file,
            numbered(
                names,
                [image.image_id for image, _ in images],
                [found.size for _, found in images],
                [found.objects(label_of) for _, found in images],
            ),
            tuple(image.image for image, _ in images),
            tuple(image.annotation for image, _ in images),
            places.__getitem__,
            box_field,
            class_field,
            (*faults, *told),
        )
    )


def with_any_image(split: ReadSplit) -> ReadSplit:
    """With a fault where the split lists nothing and nothing else says why."""
    if len(split.truth) or split.faults:
        return split
    return replace(split, faults=(Fault(split.file, f"{split.name!r} lists no images; add some or remove it"),))
