"""Data sets of labelme: a JSON file beside each image (or in a folder of its own), which lists the shapes drawn in it.

The file names its image; where that is not there, the image of the JSON file's own name is meant, else the one inside
the file, which is written out. Coordinates are px, continuous, from the top left corner. Every shape that has an area
is an object, with the box around it.
"""

import base64
import math
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from reprlib import repr as short_repr  # at most 30 characters, control codes escaped: these texts are not trusted
from typing import Any

import msgspec

from detkit.data.faults import Fault, Severity
from detkit.data.formats.embedded_images import EmbeddedImages
from detkit.data.formats.listing import ListedImage, list_images
from detkit.data.formats.named_images import (
    NamedImages,
    find_image,
    id_in_split,
    missing_split,
    split_of_folder,
    stated_size,
)
from detkit.data.formats.outlines import box_around, ellipse_box, outline_area
from detkit.data.formats.read_split import ObjectList, ReadSplit, split_of_lists
from detkit.data.formats.units import Corners
from detkit.data.io.files import read_bytes
from detkit.structures import Size

BOX_FIELD = "points"
NO_SHAPE_AREA = "shapes are points or lines, which have no area, and are left out"
JOINED = "objects are several shapes of one class and group_id; the box is around all of them"
OTHER_JSON = "JSON files are not labelme's and are left out"
TURNED = "boxes are turned; the upright box around each is used"

_MAX_FILE_BYTES = 256 << 20  # the image may be inside, as text
_MAX_DEPTH = 5  # folders below the root
_PEEK_BYTES = 64 << 10
_PEEK_FILES = 20  # of a folder
_KEYS = (b'"shapes"', b'"imagePath"', b'"imageData"')
_LINES = frozenset({"point", "points", "line", "linestrip"})
_OUTLINES = frozenset({"rectangle", "polygon", "oriented_rectangle", "rotation", "quadrilateral", "cuboid"})
_FLAGS = ("difficult", "truncated", "crowd")
_TURNED = frozenset({"oriented_rectangle", "rotation"})
_IMAGE_FOLDERS = ("images", "Images", "JPEGImages", "imgs")


class _Shape(msgspec.Struct, gc=False):
    """Fields may be of any type, and missing: the reader says what is wrong with them."""

    label: Any = None
    points: Any = None
    shape_type: Any = None
    group_id: Any = None
    flags: Any = None
    difficult: Any = None  # of X-AnyLabeling


class _File(msgspec.Struct):
    shapes: list[_Shape] | None = None
    imagePath: Any = None  # noqa: N815 - the file's own words
    imageData: msgspec.Raw = msgspec.Raw(b"null")  # noqa: N815
    imageHeight: Any = None  # noqa: N815
    imageWidth: Any = None  # noqa: N815


def find_labelme_splits(root: Path) -> tuple[str, ...]:
    """The folders below `root` that hold files of labelme, "all" for the root; looks into a few files of each."""
    return tuple(_layout(root))


def read_labelme_split(root: Path, split: str) -> ReadSplit:
    """Read all files of a split but the pixels; faults are in the result. Raises DatasetMissing."""
    layout = _layout(root)
    if split not in layout:
        raise missing_split(root, split, "is no folder with files of labelme", layout)
    named = NamedImages()
    written = EmbeddedImages(root, split)
    for folder in layout[split]:
        for path in sorted(folder.glob("*.json")):
            _read_file(path, written, named)
    named.faults += written.faults(layout[split][0])
    folders = {image.image.parent for image, _ in named.images()}
    named.leave_out(image for folder in sorted(folders | set(layout[split])) for image in list_images(folder, False))
    file = layout[split][0] if len(layout[split]) == 1 else root
    return split_of_lists(split, file, named.images(), None, named.faults, BOX_FIELD)


def _layout(root: Path) -> dict[str, list[Path]]:
    """The folders of each split that hold files of labelme, in the order of their paths."""
    found: dict[str, list[Path]] = defaultdict(list)
    for parent, folders, files in os.walk(root, followlinks=True):
        folder = Path(parent)
        parts = folder.relative_to(root).parts
        deep = len(parts) >= _MAX_DEPTH
        folders[:] = [] if deep else sorted(name for name in folders if not name.startswith("."))
        names = sorted(name for name in files if name.endswith(".json"))[:_PEEK_FILES]
        if any(_is_labelme(folder / name) for name in names):
            found[split_of_folder(parts)].append(folder)
    return {split: sorted(found[split]) for split in sorted(found)}


def _is_labelme(path: Path) -> bool:
    """By the keys near the beginning of the file."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            start = file.read(_PEEK_BYTES)
    except OSError:
        return False
    return any(key in start for key in _KEYS)


def _read_file(path: Path, written: EmbeddedImages, named: NamedImages) -> None:
    root, split = written.root, written.split
    try:
        content = _decode(path)
    except ValueError as error:
        named.faults.append(Fault(path, str(error)))
        return
    if content.shapes is None:
        named.faults.append(Fault(path, "has no list of shapes", Severity.WARNING, summary=OTHER_JSON))
        return
    image = _find_image(path, root, content.imagePath)
    image_id = id_in_split(image or path, root, split)
    try:
        image = image or _write_image(path, content, image_id, written)
    except ValueError as error:
        named.faults.append(Fault(path, str(error), field="imageData"))
        return
    if image is None:
        message = f"its image {short_repr(content.imagePath)} is not there; put it beside the file"
        named.faults.append(Fault(path, message, field="imagePath"))
        return
    size, wrong = stated_size(image, _size(content))
    objects = ObjectList(path, size, BOX_FIELD)
    if wrong is not None:
        named.faults.append(Fault(path, wrong, field="imageWidth, imageHeight"))
    _read_shapes(content.shapes, objects)
    named.add(ListedImage(image_id, image, path), objects)


def _decode(path: Path) -> _File:
    """Raises ValueError, whose message goes into a Fault."""
    data = read_bytes(path, _MAX_FILE_BYTES).removeprefix(b"\xef\xbb\xbf")
    try:
        return msgspec.json.decode(data, type=_File)
    except msgspec.ValidationError as error:  # names the place: $.shapes[3]
        raise ValueError(f"is no file of labelme ({error}); mend or remove it") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"is not JSON ({error}); write it anew") from None


def _find_image(path: Path, root: Path, stated: object) -> Path | None:
    """The image of a JSON file: named by it, or of its name; beside it, or in the folder of images beside its own."""
    parts = path.parent.relative_to(root).parts
    folders = [path.parent]
    for place in range(len(parts) - 1, -1, -1):
        folders += [root.joinpath(*parts[:place], name, *parts[place + 1 :]) for name in _IMAGE_FOLDERS]
    folders += [path.parent / name for name in _IMAGE_FOLDERS]
    found = find_image(stated, folders, root) if isinstance(stated, str) else None
    return found or find_image(path.stem, folders, root)


def _write_image(path: Path, content: _File, image_id: str, written: EmbeddedImages) -> Path | None:
    """The image inside a file; None without. Raises ValueError."""
    if bytes(memoryview(content.imageData)) == b"null":
        return None
    try:
        data = base64.b64decode(msgspec.json.decode(content.imageData, type=str), validate=True)
    except (ValueError, msgspec.DecodeError):
        raise ValueError("is not an image in base64; put the image beside the file") from None
    return written.write(image_id, data, path)


def _size(content: _File) -> Size | None:
    height, width = content.imageHeight, content.imageWidth
    return (height, width) if _is_side(height) and _is_side(width) else None


def _is_side(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _read_shapes(shapes: list[_Shape], objects: ObjectList) -> None:
    groups: dict[object, list[tuple[str, str, Corners, float, _Shape]]] = defaultdict(list)
    for index, shape in enumerate(shapes):
        if not isinstance(shape.label, str):
            objects.error(f"shape {index}", "label", f"is {short_repr(shape.label)}, expected the class as text")
            continue
        name = shape.label.strip()
        place = f"shape {index} ({name if name.isidentifier() else short_repr(name)})"
        found = _box(shape, place, objects)
        if found is not None:
            is_part = isinstance(shape.group_id, int | str) and shape.shape_type != "rectangle"
            key = (name, shape.group_id) if is_part else index  # as labelme's own converters join them
            groups[key].append((place, name, *found, shape))
    for parts in groups.values():
        place, name, box, area, _ = parts[0]
        if len(parts) > 1:
            objects.warn(place, f"is one of {len(parts)} shapes of group_id {short_repr(parts[0][4].group_id)}", JOINED)
            boxes = [part[2] for part in parts]
            box = box_around([corner for x1, y1, x2, y2 in boxes for corner in ((x1, y1), (x2, y2))])
            area = sum(part[3] for part in parts)
        flags = {flag for *_, shape in parts for flag in _flags(shape)}
        objects.add(place, name, box, "difficult" in flags, "truncated" in flags, "crowd" in flags, area)


def _flags(shape: _Shape) -> set[str]:
    """Those that are set; their names are the user's own, of which detkit knows three."""
    flags = shape.flags if isinstance(shape.flags, dict) else {}
    return {flag for flag in _FLAGS if flags.get(flag) is True} | ({"difficult"} if shape.difficult is True else set())


def _box(shape: _Shape, place: str, objects: ObjectList) -> tuple[Corners, float] | None:
    """The box and the area of the outline; None where the shape has none, which is told."""
    kind = "polygon" if shape.shape_type is None else shape.shape_type
    kind = kind if isinstance(kind, str) else repr(kind)
    if kind in _LINES:
        objects.warn(place, f"is a {kind}, not an outline", NO_SHAPE_AREA)
        return None
    points = list(_points(shape.points))
    needed = 1 if len(points) == 1 and kind == "polygon" else 2
    if len(points) < needed or len(points) != len(shape.points):
        objects.error(place, BOX_FIELD, f"are {short_repr(shape.points)}, expected two or more [x, y] in px; mend them")
    elif kind == "circle" and len(points) == 2:
        (cx, cy), edge = points
        radius = math.dist((cx, cy), edge)
        return ellipse_box(cx, cy, radius, radius), math.pi * radius**2
    elif kind == "mask" and len(points) == 2:
        x1, y1, x2, y2 = box_around(points)
        return (x1, y1, x2 + 1, y2 + 1), math.nan  # both corners are pixels of the mask
    elif kind in _OUTLINES:
        if kind in _TURNED:
            objects.warn(place, f"is a {kind}", TURNED)
        return box_around(points), outline_area(points) if kind != "cuboid" and len(points) > 2 else math.nan
    else:
        known = ", ".join(sorted(_OUTLINES | _LINES | {"circle", "mask"}))
        objects.error(place, "shape_type", f"is {short_repr(kind)} of {len(points)} points; known are {known}")
    return None


def _points(value: object) -> Iterator[tuple[float, float]]:
    """Those that are two finite numbers."""
    for point in value if isinstance(value, list) else ():
        if isinstance(point, list) and len(point) == 2 and all(_is_number(number) for number in point):
            yield float(point[0]), float(point[1])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9  # NaN is not
