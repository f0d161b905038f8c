"""Data sets of Open Images: CSV files whose rows are boxes as fractions of the image, and CSV files of class names.

Known shapes, at the root or in folders below it:
    train-annotations-bbox.csv, validation-..., test-... (also oidv6-...); images in train/, images/train/, images/
    annotations/SPLIT-annotations-bbox.csv and images/SPLIT/ (Datumaro)
    SPLIT/labels/detections.csv, SPLIT/metadata/classes.csv and SPLIT/data/ (FiftyOne)
    SPLIT/*.csv beside the images (globox)
"""

import re
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from reprlib import repr as short_repr  # at most 30 characters, control codes escaped: these texts are not trusted

from detkit.data.faults import Fault, Severity
from detkit.data.formats.csv_rows import read_header, read_records, read_rows
from detkit.data.formats.listing import ListedImage, image_id_of, iterate_images, list_images
from detkit.data.formats.named_images import SPLIT_WORDS, NamedImages, is_inside, missing_split, split_of_folder
from detkit.data.formats.read_split import UNKNOWN_SIZE, ObjectList, ReadSplit, size_of, split_of_lists
from detkit.data.formats.units import NUMBER, Corners, fault_of_fraction

BOX_FIELD = "XMin, YMin, XMax, YMax"
NO_IMAGE = "files have boxes of images that are not there, which are left out"

_EDGES = ("XMin", "YMin", "XMax", "YMax")
_NEEDED = frozenset({"ImageID", "LabelName", *_EDGES})
_TABLES = ("*.csv", "*/*.csv", "*/labels/*.csv")
_NAME = re.compile(r"(?:oidv\d+-)?(?P<split>.+?)-(?:annotations|detection)-bbox.*", re.IGNORECASE)
_CLASS_FILES = ("class-descriptions-boxable.csv", "*class-descriptions-boxable*.csv", "*class-descriptions*.csv")
_MAX_CLASSES = 100_000


def find_open_images_splits(root: Path) -> tuple[str, ...]:
    """The splits whose boxes are in CSV files of Open Images, by the names of the files or their folders."""
    return tuple(_tables(root))


def read_open_images_split(root: Path, split: str) -> ReadSplit:
    """Read all of a split but the pixels; faults are in the result. Raises DatasetMissing."""
    tables = _tables(root)
    if split not in tables:
        raise missing_split(root, split, "has no CSV file of Open Images", tables)
    faults: list[Fault] = []
    table = tables[split][0]
    for other in tables[split][1:]:
        faults.append(Fault(other, f"has boxes of {split!r} as {table} has; keep one of the two"))
    folder, is_own = _image_folder(root, table, split, tables)
    if folder is None:
        message = f"none of its images is there; put them into {root / 'images' / split}"
        return split_of_lists(split, table, [], None, [*faults, Fault(table, message)], BOX_FIELD)
    reader = _TableReader(table, folder, _ClassNames(_class_files(root, table), faults), faults)
    reader.read()
    reader.read_image_lists(_image_lists(root, table), split, tables.keys())
    named = NamedImages(faults)
    for path in sorted(reader.objects):
        image = ListedImage(image_id_of(path.relative_to(folder)), path, table)
        named.add(image, reader.objects[path])
    if is_own:
        named.leave_out(list_images(folder))
    return split_of_lists(split, table, named.images(), None, named.faults, BOX_FIELD)


def _tables(root: Path) -> dict[str, list[Path]]:
    """The files of boxes of each split."""
    found = defaultdict(list)
    for path in sorted(path for pattern in _TABLES for path in root.glob(pattern)):
        if _NEEDED.issubset(read_header(path)):
            found[_split_of_table(root, path)].append(path)
    return {split: found[split] for split in sorted(found)}


def _split_of_table(root: Path, path: Path) -> str:
    named = _NAME.fullmatch(path.stem)
    own = named["split"] if named else path.stem if path.stem.lower() in SPLIT_WORDS else None
    return split_of_folder([*path.parent.relative_to(root).parts, *([] if own is None else [own])])


def _bases(root: Path, table: Path) -> list[Path]:
    """The folders that a file may be in the middle of, the nearest first."""
    around = (table.parent, table.parent.parent, root)
    return list(dict.fromkeys(folder for folder in around if folder.is_relative_to(root)))


def _image_folder(
    root: Path, table: Path, split: str, tables: Mapping[str, Sequence[Path]]
) -> tuple[Path | None, bool]:
    """The first likely folder that has images, and whether it is that of this split alone."""
    name = split.rpartition("/")[2]
    others = [path for other, paths in tables.items() if other != split for path in paths]
    for base in _bases(root, table):
        is_shared = any(path.is_relative_to(base) for path in others)
        for places, is_own in (
            (("images/{}", "data/{}", "{}/images", "{}/data", "{}"), True),
            (("images", "data", "."), not is_shared),
        ):
            for folder in (base / place.format(name) for place in places):
                if is_inside(folder, root) and folder.is_dir() and any(iterate_images(folder)):
                    return folder, is_own
    return None, False


def _folders_of_tables(root: Path, table: Path) -> list[Path]:
    return [place for base in _bases(root, table) for place in (base, base / "annotations", base / "metadata")]


def _class_files(root: Path, table: Path) -> list[Path]:
    folders = _folders_of_tables(root, table)
    patterns = (*_CLASS_FILES, "metadata/classes.csv", "classes.csv")
    return [path for folder in folders for pattern in patterns for path in sorted(folder.glob(pattern))]


def _image_lists(root: Path, table: Path) -> Iterator[Path]:
    """CSV files that say which images there are, also those without boxes."""
    folders = _folders_of_tables(root, table)
    for path in dict.fromkeys(path for folder in folders for path in sorted(folder.glob("*image*.csv"))):
        header = read_header(path)
        if "ImageID" in header and "LabelName" not in header:
            yield path


class _ClassNames:
    """What the labels of a file are called, by the first file of classes that is there."""

    def __init__(self, files: Sequence[Path], faults: list[Fault]) -> None:
        self._faults = faults
        self._names: dict[str, str] = {}
        self._label_of: dict[str, str] = {}  # by the names that are used
        self._known: dict[str, str | None] = {}  # of each label that is used
        for path in files[:1]:
            self._read(path)

    def name(self, table: Path, line: int, label: str) -> str | None:
        """None where it has none, which is told once."""
        if label not in self._known:
            self._known[label] = self._checked(table, line, label)
        return self._known[label]

    def _checked(self, table: Path, line: int, label: str) -> str | None:
        name = self._names.get(label, label)
        message = None
        if label not in self._names and "/" in label:
            message = f"{short_repr(label)} has no name; put class-descriptions-boxable.csv beside the file"
        elif self._label_of.setdefault(name, label) != label:
            message = f"{short_repr(label)} has the name of {self._label_of[name]}, {short_repr(name)}; rename one"
        if message is None:
            return name
        self._faults.append(Fault(table, message, Severity.ERROR, f"line {line}", "LabelName"))
        return None

    def _read(self, path: Path) -> None:
        try:
            for line, row in read_rows(path):
                if len(row) != 2 or len(self._names) >= _MAX_CLASSES:
                    raise ValueError(f"line {line} has {len(row)} columns, expected a label and its name")
                label, name = (text.strip() for text in row)
                if label != "LabelName":
                    self._names[label] = name
        except ValueError as error:
            self._faults.append(Fault(path, str(error)))


class _TableReader:
    """Reads the rows of one file that are of images in `folder`, as a stream: the official file has 2 GB."""

    def __init__(self, table: Path, folder: Path, classes: _ClassNames, faults: list[Fault]) -> None:
        self._table = table
        self._classes = classes
        self._faults = faults
        self._images = _index(folder)
        self.objects: dict[Path, ObjectList] = {}  # by image

    def read(self) -> None:
        missing = 0
        first_missing = ""
        try:
            for line, fields in read_records(self._table):
                image = self._find(fields.get("ImageID", ""))
                if image is not None:
                    self._read_box(line, fields, self._objects_of(image))
                else:
                    missing += 1
                    first_missing = first_missing or fields.get("ImageID", "")
        except ValueError as error:
            self._faults.append(Fault(self._table, str(error)))
        if missing and not self.objects:
            message = f"none of its images, such as {short_repr(first_missing)}, is there; put them into images/"
            self._faults.append(Fault(self._table, message, field="ImageID"))
        elif missing:
            message = f"{missing:,} boxes are of images that are not there, such as {short_repr(first_missing)}"
            self._faults.append(Fault(self._table, message, Severity.WARNING, "", "ImageID", NO_IMAGE))

    def read_image_lists(self, files: Iterator[Path], split: str, splits: Container[str]) -> None:
        """Images that are listed and have no boxes are background."""
        for path in files:
            try:
                for _, fields in read_records(path):
                    subset = fields.get("Subset", "")
                    image = self._find(fields.get("ImageID", ""))
                    if image is not None and (subset == split or subset not in splits):
                        self._objects_of(image)
            except ValueError as error:
                self._faults.append(Fault(path, str(error)))

    def _find(self, image_id: str) -> Path | None:
        return self._images.get(image_id.replace("\\", "/").removeprefix("./"))

    def _objects_of(self, image: Path) -> ObjectList:
        found = self.objects.get(image)
        if found is None:
            found = self.objects[image] = ObjectList(self._table, size_of(image), BOX_FIELD)
        return found

    def _read_box(self, line: int, fields: dict[str, str], objects: ObjectList) -> None:
        name = self._classes.name(self._table, line, fields["LabelName"].strip())
        if name is None:
            return
        place = f"line {line} ({name if name.isidentifier() else short_repr(name)})"
        try:
            box = self._box(fields, objects)
            is_crowd, is_truncated = (_is_set(fields, mark) for mark in ("IsGroupOf", "IsTruncated"))
        except ValueError as error:
            objects.error(place, "", str(error))
            return
        if objects.size != UNKNOWN_SIZE:  # else the image cannot be read, told of where it is decoded
            objects.add(place, name, box, truncated=is_truncated, crowd=is_crowd)

    def _box(self, fields: dict[str, str], objects: ObjectList) -> Corners:
        height, width = objects.size
        x1, y1, x2, y2 = (_fraction(fields, edge) for edge in _EDGES)
        return x1 * width, y1 * height, x2 * width, y2 * height


def _fraction(fields: dict[str, str], edge: str) -> float:
    text = fields[edge].strip()
    if len(text) > 50 or not NUMBER.fullmatch(text):
        raise ValueError(f"{edge}: is {short_repr(text)}, expected a number from 0 to 1; mend it")
    value = float(text)
    fault = fault_of_fraction(value)
    if fault is not None:
        raise ValueError(f"{edge}: {text} {fault}")
    return value


def _is_set(fields: dict[str, str], mark: str) -> bool:
    text = fields.get(mark, "").strip()
    if text not in ("", "0", "1", "-1"):  # -1: not known
        raise ValueError(f"{mark}: is {short_repr(text)}, expected 0, 1 or -1; mend it")
    return text == "1"


def _index(folder: Path) -> dict[str, Path]:
    """The images below a folder by what may be their ImageID: their path, or their name where folders are classes."""
    paths = list_images(folder)
    by_name: dict[str, Path] = {}
    by_path: dict[str, Path] = {}
    for path in paths:
        inner = path.relative_to(folder)
        for places, key in ((by_name, path.name), (by_path, inner.as_posix())):
            places.setdefault(key, path)
            places.setdefault(key.removesuffix(path.suffix), path)
    return by_name | by_path
