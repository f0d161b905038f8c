"""Data sets in the PASCAL VOC folder shape: Annotations/ID.xml, JPEGImages/ID.jpg, ImageSets/Main/SPLIT.txt.

The files are not trusted. All annotations are read when the data set is made, so that a fault shows in the first
seconds. Every fault is a value: the data set raises the first that is an error, the checker (check.py) lists them all.
"""

import codecs
import difflib
import logging
import re
import shlex
import stat
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from reprlib import repr as short_repr  # at most 30 characters, control codes escaped: these texts are not trusted
from xml.etree.ElementTree import Element, ParseError

import numpy as np
import torch
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring
from numpy.typing import NDArray

from detkit.data.images import SUFFIXES, ImageHeader, read_header, read_image
from detkit.structures import Sample, Size, Target

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

MAX_FILE_BYTES = 16 << 20  # an annotation or split file; the tree of the worst 16 MiB of XML takes 0.7 GB
_MAX_COORDINATE = 1e9  # px; no image that is read comes near
_MAX_NAME = 100  # characters of a class name, which becomes part of a file name
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)  # float() also takes nan, inf and 1_0
_DECLARED_ENCODING = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")
_BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_NOT_FOR_TEXT = frozenset({"idna", "punycode"})  # decoding takes time quadratic in the length

CLIPPED = "boxes reach beyond their image and are clipped to it"
ZERO_BASED = "boxes have coordinates that start at 0, which suggest a 0-based export (VOC counts from 1)"
WRONG_SIZE = "files state a wrong <size>; the size of the image file is used"
LISTED_TWICE = "ids are listed more than once and are used once"


_log_warning = logging.getLogger(__name__).warning


class DatasetMissing(ValueError):
    """A data set folder or a split of it is not there."""


class Severity(StrEnum):
    ERROR = "error"  # training cannot start
    WARNING = "warning"  # it can, but look at this
    INFO = "info"


@dataclass(frozen=True)
class Fault:
    """Something wrong in the files of a data set, at one place."""

    file: Path
    message: str
    severity: Severity = Severity.ERROR
    object: str = ""  # index in the file and class
    field: str = ""
    summary: str = ""  # of warnings: one phrase for all of the kind, which follows their number

    def __str__(self) -> str:
        return ": ".join(part for part in (str(self.file), self.object, self.field, self.message) if part)


@dataclass(frozen=True)
class Annotation:
    """The objects of one XML file that are without error, and all its faults."""

    boxes: NDArray[np.float32]  # (M, 4), detkit's convention
    names: tuple[str, ...]  # M class names
    difficult: NDArray[np.bool_]  # (M,)
    objects: tuple[str, ...]  # M: how faults name them
    faults: tuple[Fault, ...]


@dataclass(frozen=True)
class VocImage:
    image_id: str
    image: Path
    annotation: Path


class VocDataset:
    """A DetectionDataset of one or more splits, such as ["trainval"] or ["VOC2007/trainval", "VOC2012/trainval"].

    What stands before the last "/" of a split is a folder below `root`. Without `classes` they are the sorted names
    found in the splits. Raises DatasetMissing, and ValueError for the first fault that is an error; each kind of
    warning is told once, with its number and the first example.
    """

    def __init__(
        self,
        root: Path,
        splits: Sequence[str],
        classes: Sequence[str] | None,
        on_warning: Callable[[str], None] = _log_warning,
    ) -> None:
        images, faults = _merge_splits(root, splits)
        _raise_first_error(faults, root)
        sizes, annotations = [], []
        for image in images:
            header = read_header(image.image)
            annotation = parse_annotation(image.annotation, header, classes)
            _raise_first_error(annotation.faults, root)
            sizes.append(header.size)
            annotations.append(annotation)
            faults += annotation.faults
        _tell_warnings(faults, root, on_warning)

        self.classes = _check_classes(classes) if classes is not None else _discover_classes(annotations, root, splits)
        self.image_ids = tuple(image.image_id for image in images)
        self._paths = tuple(image.image for image in images)
        self._sizes = tuple(sizes)
        # One array for all, not thousands of small ones: worker processes share it and copy it quickly.
        label_of = {name: label for label, name in enumerate(self.classes)}
        self._ends = np.cumsum([len(annotation.names) for annotation in annotations])
        self._boxes = torch.from_numpy(np.concatenate([annotation.boxes for annotation in annotations]))
        self._labels = torch.tensor([label_of[name] for a in annotations for name in a.names], dtype=torch.int64)
        self._ignore = torch.from_numpy(np.concatenate([annotation.difficult for annotation in annotations]))

    def __len__(self) -> int:
        return len(self.image_ids)

    def read(self, index: int) -> Sample:
        """Decode image `index`, with its target. Raises ImageError where the file is broken behind its header."""
        image = torch.from_numpy(read_image(self._paths[index])).permute(2, 0, 1)
        return Sample(self.image_ids[index], image, self._sizes[index], self.target(index))

    def target(self, index: int) -> Target:
        end = int(self._ends[index])
        begin = int(self._ends[index - 1]) if index else 0
        here = slice(begin, end)
        return Target(self._boxes[here].clone(), self._labels[here].clone(), self._ignore[here].clone())

    def size(self, index: int) -> Size:
        return self._sizes[index]


def find_splits(root: Path) -> tuple[str, ...]:
    """The splits below a VOC folder or a folder of such, without the per-class files like aeroplane_train.txt."""
    found = []
    for main in sorted([root / "ImageSets" / "Main", *root.glob("*/ImageSets/Main")]):
        folder = main.parent.parent.relative_to(root)
        files = sorted(path for path in main.glob("*.txt") if path.is_file())
        stems = [path.stem for path in files]
        found += [(folder / path.stem).as_posix() for path in files if not _is_of_one_class(path, stems)]
    return tuple(found)


def _is_of_one_class(path: Path, stems: Iterable[str]) -> bool:
    if not any(path.stem.endswith(f"_{stem}") for stem in stems):
        return False
    with path.open("rb") as file:  # "my_train" may be a split of its own: it has one column
        return len(file.readline(1000).split()) > 1


def list_split(root: Path, split: str) -> tuple[list[VocImage], list[Fault]]:
    """The images of a split that have both files, and what is wrong with the rest. Raises DatasetMissing."""
    folder, _, name = split.rpartition("/")
    path = root / folder / "ImageSets" / "Main" / f"{name}.txt"
    if not path.is_file():
        raise _missing(root, split, path)
    ids, faults = _read_ids(path)
    files = find_images(root / folder)
    images = []
    for image_id in ids:
        found = files.get(image_id, [])
        annotation = root / folder / "Annotations" / f"{image_id}.xml"
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            faults.append(Fault(path, f"id {short_repr(image_id)} has {len(found)} images: {names}; keep one"))
        elif not found:
            faults.append(Fault(path, f"id {short_repr(image_id)} has no image in JPEGImages; add it or drop the id"))
        if not annotation.is_file():
            message = f"{annotation} is missing; add it or drop the id (tools/detect.py takes images without objects)"
            faults.append(Fault(path, f"id {short_repr(image_id)}: {message}"))
        elif len(found) == 1:
            images.append(VocImage(image_id, found[0], annotation))
    return images, faults


def find_images(folder: Path) -> dict[str, list[Path]]:
    """The images in JPEGImages by their id, which is the file name without suffix; <filename> in the XML may lie."""
    files = defaultdict(list)
    if (folder / "JPEGImages").is_dir():
        for path in sorted((folder / "JPEGImages").iterdir()):
            if path.suffix.lower() in SUFFIXES:
                files[path.stem].append(path)
    return dict(files)


def parse_annotation(path: Path, header: ImageHeader | None, classes: Sequence[str] | None = None) -> Annotation:
    """Read one XML file; raises nothing, all is in `faults`.

    Without `header` boxes are not compared with the image; without `classes` all names are allowed.
    """
    faults: list[Fault] = []
    objects: list[tuple[_Box, str, bool, str]] = []
    try:
        root = _read_xml(path)
    except ValueError as error:
        faults.append(Fault(path, str(error)))
    else:
        if header is not None:
            faults += _check_size(path, root, header)
        for index, element in enumerate(root.findall("object")):
            reader = _ObjectReader(path, index, element, faults)
            name, difficult = reader.name(classes), reader.difficult()
            box = reader.box(header.size if header is not None else None)
            if name is not None and difficult is not None and box is not None:
                objects.append((box, name, difficult, reader.label))
    return Annotation(
        boxes=np.array([box for box, *_ in objects], dtype=np.float32).reshape(-1, 4),
        names=tuple(name for _, name, *_ in objects),
        difficult=np.array([difficult for _, _, difficult, _ in objects], dtype=np.bool_),
        objects=tuple(label for *_, label in objects),
        faults=tuple(faults),
    )


_Box = tuple[float, float, float, float]


class _ObjectReader:
    """Reads one <object>; what is wrong goes to `faults`, and the value is then None."""

    def __init__(self, path: Path, index: int, element: Element, faults: list[Fault]) -> None:
        self._path = path
        self._element = element
        self._faults = faults
        self._name = (element.findtext("name") or "").strip()
        self.label = f"object {index} ({self._name if self._name.isidentifier() else short_repr(self._name)})"

    def name(self, classes: Sequence[str] | None) -> str | None:
        if self._only(self._element, "name") is None:
            return None
        name = self._name
        if not name:
            self._error("name", "is empty; give the class")
            return None
        if len(name) > _MAX_NAME or not name.isprintable() or set(name) & set("/\\"):
            # It becomes part of the names of result files, so it must not lead elsewhere.
            self._error("name", f"must be at most {_MAX_NAME} printable characters without / and \\; rename it")
            return None
        if classes is not None and name not in classes:
            near = difflib.get_close_matches(name, classes, n=1, cutoff=0) or ["none"]
            self._error("name", f"{name!r} is not one of the classes, the nearest is {near[0]!r}; mend either")
            return None
        return name

    def difficult(self) -> bool | None:
        text = (self._element.findtext("difficult") or "").strip()
        if text not in ("", "0", "1"):
            self._error("difficult", f"is {short_repr(text)}, expected 0 or 1")
            return None
        return text == "1"

    def box(self, size: Size | None) -> _Box | None:
        """VOC counts from 1 and both corners are inside. Children of <part> have their own box, which is not ours."""
        element = self._only(self._element, "bndbox")
        if element is None:
            return None
        xmin, ymin, xmax, ymax = (self._number(element, field) for field in ("xmin", "ymin", "xmax", "ymax"))
        if xmin is None or ymin is None or xmax is None or ymax is None:
            return None
        for axis, low, high in (("x", xmin, xmax), ("y", ymin, ymax)):
            if low > high:
                self._error("bndbox", f"{axis}min {low:g} is greater than {axis}max {high:g}; swap them")
                return None
        box = (xmin - 1, ymin - 1, xmax, ymax)
        return box if size is None else self._clip(box, size)

    def _clip(self, box: _Box, size: Size) -> _Box | None:
        height, width = size
        inside = (max(box[0], 0.0), max(box[1], 0.0), min(box[2], float(width)), min(box[3], float(height)))
        x1, y1, x2, y2 = np.array(inside, dtype=np.float32)  # as stored: rounding may leave no area
        corners = f"({box[0] + 1:g}, {box[1] + 1:g}, {box[2]:g}, {box[3]:g})"
        if not (x1 < x2 and y1 < y2):
            self._error("bndbox", f"{corners} lies outside the image of {width} x {height}; mend or remove it")
            return None
        lowest = min(box[0], box[1]) + 1
        if lowest < 0 or box[2] > width or box[3] > height:
            self._warn(f"{corners} reaches beyond the image of {width} x {height} and is clipped", CLIPPED)
        if 0 <= lowest < 1:
            self._warn(f"{corners} starts at 0, VOC counts from 1; the box is clipped to the image", ZERO_BASED)
        return inside

    def _number(self, parent: Element, field: str) -> float | None:
        element = self._only(parent, field)
        if element is None:
            return None
        text = (element.text or "").strip()
        if not _NUMBER.fullmatch(text) or abs(float(text)) > _MAX_COORDINATE:
            self._error(f"bndbox/{field}", f"is {short_repr(text)}, expected a number of pixels")
            return None
        return float(text)

    def _only(self, parent: Element, field: str) -> Element | None:
        found = parent.findall(field)
        if len(found) == 1:
            return found[0]
        where = field if parent is self._element else f"{parent.tag}/{field}"
        self._error(where, f"is there {len(found)} times, keep one" if found else "is missing, add it")
        return None

    def _error(self, field: str, message: str) -> None:
        self._faults.append(Fault(self._path, message, Severity.ERROR, self.label, field))

    def _warn(self, message: str, summary: str) -> None:
        self._faults.append(Fault(self._path, message, Severity.WARNING, self.label, "bndbox", summary))


def _read_xml(path: Path) -> Element:
    """The root of the file. Raises ValueError, whose message goes into a Fault."""
    text = _decode(_read_bytes(path))
    try:
        root: Element = fromstring(text, forbid_dtd=True)
    except DefusedXmlException:
        raise ValueError("declares a document type or entities, which are refused; remove them") from None
    except (ParseError, ValueError) as error:  # ValueError: characters that XML cannot hold
        raise ValueError(f"is not well-formed XML ({error}); write it anew") from None
    if root.tag != "annotation":
        raise ValueError(f"holds <{short_repr(root.tag)}>, expected <annotation>; is this a VOC file?")
    return root


def _read_bytes(path: Path) -> bytes:
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):  # reading a pipe would wait for ever
            raise ValueError("is not a regular file")
        if info.st_size > MAX_FILE_BYTES:
            raise ValueError(f"has {info.st_size:,} bytes, at most {MAX_FILE_BYTES:,} are read; split or mend the file")
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None


def _decode(data: bytes) -> str:
    """By byte order mark, else by the declaration, else UTF-8. (expat alone knows no GBK, Shift-JIS and the like.)"""
    declared = _DECLARED_ENCODING.match(data)
    encoding = declared[1].decode() if declared else "utf-8"
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), encoding)
    try:
        if codecs.lookup(encoding).name in _NOT_FOR_TEXT:
            raise LookupError
        return data.decode(encoding)
    except LookupError:
        raise ValueError(f"declares the unknown encoding {encoding!r}; save it as UTF-8") from None
    except ValueError as error:  # UnicodeDecodeError, or a codec's own
        raise ValueError(f"is not in {encoding}, its encoding ({error}); declare the right one") from None


def _check_size(path: Path, root: Element, header: ImageHeader) -> list[Fault]:
    element = root.find("size")
    if element is None:
        return []
    texts = [(element.findtext(field) or "").strip() for field in ("height", "width")]
    height, width = header.size
    if texts == [str(height), str(width)]:
        return []
    message = f"says {short_repr(texts[1])} x {short_repr(texts[0])}, the image is {width} x {height}"
    if texts == [str(width), str(height)] and header.is_sideways:
        message += " once turned by its EXIF orientation; boxes drawn on the unturned picture are wrong, draw them anew"
    elif texts == [str(width), str(height)]:
        message += "; width and height are swapped"
    return [Fault(path, message, Severity.WARNING, field="size", summary=WRONG_SIZE)]


def _read_ids(path: Path) -> tuple[list[str], list[Fault]]:
    """One id a line; per-class files have a second column -1, 0 or 1, which is not used."""
    try:
        text = _read_bytes(path).decode("utf-8-sig")
    except ValueError as error:
        return [], [Fault(path, f"cannot be read as UTF-8 ({error}); write it anew")]
    ids: dict[str, None] = {}
    faults = []
    for number, line in enumerate(text.split("\n"), start=1):
        columns = line.split()
        if not columns:
            continue
        image_id = columns[0]
        if len(columns) > 2 or columns[1:] not in ([], ["-1"], ["0"], ["1"]):
            message = f"line {number} is {short_repr(line)}, expected an id without spaces, or an id and -1, 0 or 1"
            faults.append(Fault(path, message))
        elif set(image_id) & set("/\\\0") or image_id in (".", ".."):
            faults.append(Fault(path, f"line {number}: id {short_repr(image_id)} leads to another folder; remove it"))
        elif image_id in ids:
            message = f"line {number}: id {image_id!r} is listed before"
            faults.append(Fault(path, message, Severity.WARNING, summary=LISTED_TWICE))
        else:
            ids[image_id] = None
    return list(ids), faults


def _merge_splits(root: Path, splits: Sequence[str]) -> tuple[list[VocImage], list[Fault]]:
    images: dict[str, VocImage] = {}
    faults = []
    for split in splits:
        found, split_faults = list_split(root, split)
        faults += split_faults
        for image in found:
            first = images.setdefault(image.image_id, image)
            if first is image:
                continue
            if first.image.samefile(image.image) and first.annotation.samefile(image.annotation):
                message = f"is in {split!r} and in an earlier one of the splits"
                faults.append(Fault(image.image, message, Severity.WARNING, summary=LISTED_TWICE))
            else:
                message = f"has the id of {first.image}; ids must differ between the splits of a union, rename one"
                faults.append(Fault(image.image, message))
    if not images and not any(fault.severity is Severity.ERROR for fault in faults):
        raise ValueError(f"{root}: the splits {list(splits)} list no images; name a split that does")
    return list(images.values()), faults


def _missing(root: Path, split: str, path: Path) -> DatasetMissing:
    there = ", ".join(find_splits(root)) if root.is_dir() else ""
    folder = split.rpartition("/")[0]
    first_missing = next((place for place in (root, root / folder, path.parent) if not place.exists()), path)
    message = f"{first_missing} is missing, needed for split {split!r}; splits below {root}: {there or 'none'}"
    official = {"VOC2007": "voc07", "VOC2012": "voc12"}.get(folder)
    if official is not None:
        message += f"; fetch it with: python tools/download.py {official} --root {shlex.quote(str(root))}"
    return DatasetMissing(message)


def _raise_first_error(faults: Iterable[Fault], root: Path) -> None:
    for fault in faults:
        if fault.severity is Severity.ERROR:
            raise ValueError(f"{fault} (tools/check_data.py {shlex.quote(str(root))} lists all faults)")


def _tell_warnings(faults: Iterable[Fault], root: Path, on_warning: Callable[[str], None]) -> None:
    kinds = defaultdict(list)
    for fault in faults:
        kinds[fault.summary].append(fault)
    for summary, members in kinds.items():
        on_warning(f"{root}: {len(members)} {summary}; the first: {members[0]}")


def _check_classes(classes: Sequence[str]) -> tuple[str, ...]:
    twice = sorted({name for name in classes if classes.count(name) > 1})
    if twice:
        raise ValueError(f"classes: {twice} are there more than once; name each class once")
    return tuple(classes)


def _discover_classes(annotations: Iterable[Annotation], root: Path, splits: Sequence[str]) -> tuple[str, ...]:
    names = {name for annotation in annotations for name in annotation.names}
    if not names:
        raise ValueError(f"{root}: the splits {list(splits)} have no objects, so no classes; name the classes")
    return tuple(sorted(names))
