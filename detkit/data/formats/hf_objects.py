"""The objects of one row of a Hugging Face data set, and the names of its classes.

A row has `objects`, a dict of lists (or a list of dicts) of bbox, [x, y, w, h] in px, and category, names or numbers;
or those columns themselves. area, iscrowd, difficult and truncated are taken where they are there.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from reprlib import repr as short_repr  # at most 30 characters, control codes escaped: these texts are not trusted
from typing import Any

import msgspec
import yaml

from detkit.data.faults import Fault, Severity
from detkit.data.formats.read_split import ObjectList
from detkit.data.io.files import read_bytes

BOX_FIELD = "bbox"
NUMBERS_AS_NAMES = "splits have numbers for classes and no file names them; the numbers are used as names"

Row = Mapping[str, Any]

BOX_KEYS = ("bbox", "bboxes", "boxes", "box")
CLASS_KEYS = (
    "category", "categories", "category_id", "category_ids", "label", "labels", "class", "classes", "class_id",
)  # fmt: skip
_CLASS_FILES = ("classes.txt", "labels.txt", "obj.names")
_MAX_YAML_BYTES = 256 << 10  # PyYAML takes a second for it
_MAX_COORDINATE = 1e9  # px; no image that is read comes near
_FEW = 10  # one of so many boxes may be beyond its image and say nothing of the unit
_MAX_DEPTH = 8  # of features within features


def has_objects(row: Row) -> bool:
    """Whether the columns are those of object detection."""
    return "objects" in row or any(key in row for key in BOX_KEYS)


class ObjectReader:
    """Reads the objects of rows of one split, with the names of its numbers; None where no file says them."""

    def __init__(self, names: Sequence[str] | None) -> None:
        self._names = names
        self.has_numbers = False  # as the names of classes
        self.has_corners = True  # each box may be x1, y1, x2, y2
        self.num_boxes = 0
        self.num_beyond = 0  # boxes that reach beyond their image

    def read(self, row: Row, objects: ObjectList, place: str) -> None:
        """Raises ValueError for what is wrong with the row as a whole; the rest is in the faults of `objects`."""
        for index, item in enumerate(_items(row)):
            self._read_object(item, objects, f"{place}, object {index}")

    def _read_object(self, item: Row, objects: ObjectList, place: str) -> None:
        try:
            name = self._name(_first(item, CLASS_KEYS))
        except ValueError as error:
            objects.error(place, "category", str(error))
            return
        place = f"{place} ({name if name.isidentifier() else short_repr(name)})"
        box = _first(item, BOX_KEYS)
        if not _is_box(box):
            objects.error(place, BOX_FIELD, f"is {short_repr(box)}, expected [x, y, width, height] in px; mend it")
            return
        x, y, width, height = map(float, box)
        if width < 0 or height < 0:
            objects.error(place, BOX_FIELD, f"({x:g}, {y:g}, {width:g}, {height:g}) has a negative side; mend it")
            return
        self._count((x, y, width, height), objects)
        try:
            difficult, truncated, crowd = (
                _is_set(item, *keys) for keys in (("difficult",), ("truncated",), ("iscrowd", "is_crowd"))
            )
        except ValueError as error:
            objects.error(place, "", str(error))
            return
        stated: Any = item.get("area")
        area = float(stated) if _is_number(stated) and stated > 0 else math.nan
        objects.add(place, name, (x, y, x + width, y + height), difficult, truncated, crowd, area)

    def _count(self, xywh: tuple[float, float, float, float], objects: ObjectList) -> None:
        """Whether boxes look like corners; the unit of all boxes is the same."""
        x, y, width, height = xywh
        limits = objects.size[::-1]
        self.num_boxes += 1
        self.num_beyond += x + width > limits[0] + 1 or y + height > limits[1] + 1
        self.has_corners &= width > x and height > y and width <= limits[0] + 1 and height <= limits[1] + 1

    def faults(self, file: Path) -> Iterator[Fault]:
        """About all rows together."""
        if self.has_corners and self.num_beyond * _FEW > self.num_boxes:
            message = (
                f"{self.num_beyond} of {self.num_boxes} boxes reach beyond their image as [x, y, width, height] and "
                "none does as [x1, y1, x2, y2]; write width and height in place of x2 and y2"
            )
            yield Fault(file, message, Severity.ERROR, field=BOX_FIELD)
        if self.has_numbers:
            message = "classes are numbers; write their names, or one a line into classes.txt"
            yield Fault(file, message, Severity.WARNING, field="category", summary=NUMBERS_AS_NAMES)

    def _name(self, value: object) -> str:
        """Raises ValueError."""
        if isinstance(value, str):
            return value.strip()
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"is {short_repr(value)}, expected the name or the number of a class; mend it")
        if self._names is None:
            self.has_numbers = True
            return str(value)
        if not 0 <= value < len(self._names):
            raise ValueError(f"is {value}, expected 0..{len(self._names) - 1}, the classes that have a name; mend it")
        return self._names[value]


def _items(row: Row) -> Iterator[Row]:
    """Each object as a mapping. Raises ValueError."""
    if "objects" in row:
        found = _decoded(row["objects"], "objects")
    else:
        found = {key: _decoded(row[key], key) for key in (*BOX_KEYS, *CLASS_KEYS) if key in row}
        if all(value is None for value in found.values()):
            return
    if found is None:
        return
    if isinstance(found, list):
        if not all(isinstance(item, dict) for item in found):
            raise ValueError(f"objects: is {short_repr(found)}, expected bbox and category of each; mend it")
        yield from found
        return
    if not isinstance(found, dict):
        raise ValueError(f"objects: is {short_repr(found)}, expected lists of bbox and category; mend it")
    boxes, classes = _first(found, BOX_KEYS), _first(found, CLASS_KEYS)
    if boxes is None and classes is None:
        return
    if not isinstance(boxes, list):
        raise ValueError(f"{BOX_FIELD}: is {short_repr(boxes)}, expected a list of [x, y, width, height]; mend it")
    if not isinstance(classes, list) or len(classes) != len(boxes):
        has = f"{len(classes)} values" if isinstance(classes, list) else short_repr(classes)
        raise ValueError(f"category: has {has} for {len(boxes)} boxes; give one a box")
    columns = {key: value for key, value in found.items() if isinstance(value, list) and len(value) == len(boxes)}
    for index in range(len(boxes)):
        yield {key: column[index] for key, column in columns.items()}


def _decoded(value: object, key: str) -> object:
    """A CSV file holds lists as text of JSON."""
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        raise ValueError(f"{key}: is {short_repr(value)}, expected JSON (json.dumps writes it); mend it") from None


def _first(item: Row, keys: Sequence[str]) -> Any:
    return next((item[key] for key in keys if item.get(key) is not None), None)


def _is_box(value: object) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MAX_COORDINATE


def _is_set(item: Row, *keys: str) -> bool:
    value = _first(item, keys)
    if value not in (None, 0, 1):
        raise ValueError(f"{keys[0]}: is {short_repr(value)}, expected 0 or 1; mend it")
    return bool(value)


# The names of classes


def names_of_features(features: object) -> tuple[str, ...] | None:
    """Of the ClassLabel among features as `datasets` writes them, in README.md, dataset_info.json or Arrow files."""
    return next(_class_labels(features, "", 0), None)


def _class_labels(value: object, key: str, depth: int) -> Iterator[tuple[str, ...]]:
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, list):
        for item in value:
            yield from _class_labels(item, key, depth + 1)
    elif isinstance(value, dict):
        own = value.get("name")
        key = own if isinstance(own, str) else key
        label = value.get("class_label", value if value.get("_type") == "ClassLabel" else None)
        names = _names(label.get("names")) if isinstance(label, dict) else None
        if names is not None and key in CLASS_KEYS:
            yield names
        for inner, item in value.items():
            is_shape = inner in ("feature", "dtype", "struct", "sequence", "list", "features", "_type")
            yield from _class_labels(item, key if is_shape else str(inner), depth + 1)


def _names(value: object) -> tuple[str, ...] | None:
    if isinstance(value, dict):  # {'0': 'cat', '1': 'dog'}
        by_number = {str(number): name for number, name in value.items()}
        value = [by_number.get(str(number)) for number in range(len(by_number))]
    if not isinstance(value, list) or not value or not all(isinstance(name, str | int) for name in value):
        return None
    return tuple(str(name).strip() for name in value)


def names_of_files(folders: Sequence[Path], faults: list[Fault]) -> tuple[str, ...] | None:
    """From the head of README.md, from dataset_info.json, or from a list of names, one a line; None without."""
    for folder in folders:
        for path, read in (
            (folder / "README.md", _names_of_readme),
            (folder / "dataset_info.json", _names_of_info),
            *((folder / name, _names_of_lines) for name in _CLASS_FILES),
        ):
            if not path.is_file():
                continue
            try:
                names = read(read_bytes(path).decode("utf-8-sig"))
            except (ValueError, RecursionError) as error:
                faults.append(Fault(path, f"names of classes cannot be read ({' '.join(str(error).split())}); mend it"))
                return None
            if names:
                return names
    return None


def _names_of_readme(text: str) -> tuple[str, ...] | None:
    lines = text.split("\n")
    ends = [place for place, line in enumerate(lines) if line.strip() == "---"]
    if len(ends) < 2 or ends[0] != 0:
        return None
    head = "\n".join(lines[1 : ends[1]])
    if len(head) > _MAX_YAML_BYTES:
        raise ValueError(f"its head has {len(head):,} characters, at most {_MAX_YAML_BYTES:,} are read")
    try:
        content = yaml.safe_load(head)
    except yaml.YAMLError as error:
        raise ValueError(f"not valid YAML: {error}") from None
    return names_of_features(content.get("dataset_info")) if isinstance(content, dict) else None


def _names_of_info(text: str) -> tuple[str, ...] | None:
    content = msgspec.json.decode(text)
    return names_of_features(content.get("features")) if isinstance(content, dict) else None


def _names_of_lines(text: str) -> tuple[str, ...] | None:
    return tuple(line.strip() for line in text.strip().split("\n") if line.strip())
