"""One annotation file of COCO ("instances") to arrays. The file is not trusted: all that is wrong becomes a Fault.

Boxes, areas and numbers are kept exactly as stated, so that scores are those of the file itself.
The file is read once, at three to four seconds per 100 MB and three times its size in memory; outlines are skipped.
"""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from reprlib import repr as short_repr  # at most 30 characters, control codes escaped: these texts are not trusted
from typing import Any, TypeVar

import msgspec
import numpy as np

from detkit.data.faults import LISTED_TWICE, Fault, Severity
from detkit.data.formats.class_names import fault_of_name
from detkit.data.formats.coco_objects import NOWHERE, Annotation, AnnotationReader, is_number, not_whole, place_of
from detkit.data.ground_truth import Ints, Objects
from detkit.data.io.files import read_bytes
from detkit.structures import Size

MAX_FILE_BYTES = 4 << 30
_MAX_PATH = 4096  # characters, of any system
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

EMPTY_TWIN = "categories without objects have the name of another and are left out"
SAME_IMAGE = "images have the file_name of another; all are kept"


class _Image(msgspec.Struct, gc=False):
    """Fields may be of any type, and missing: what is wrong is said by the checks below, for all of them at once."""

    id: Any = None
    file_name: Any = None
    height: Any = None
    width: Any = None


class _Category(msgspec.Struct, gc=False):
    id: Any = None
    name: Any = None


class _File(msgspec.Struct):
    images: list[_Image] | None = None
    annotations: list[Annotation] | None = None
    categories: list[_Category] | None = None


class _PeekCategory(msgspec.Struct):
    keypoints: Any = None


class _Peek(msgspec.Struct):
    images: msgspec.Raw
    annotations: msgspec.Raw
    categories: list[_PeekCategory]


_Listed = TypeVar("_Listed", _Image, _Category)


@dataclass(frozen=True, slots=True)
class CocoImage:
    number: int  # COCO's id
    file_name: str  # below the folder of the images, without ".."
    size: Size | None  # None: not stated, or not as two positive whole numbers


@dataclass(frozen=True, slots=True)
class CocoCategory:
    number: int  # COCO's id
    name: str  # stripped


@dataclass(frozen=True, eq=False)
class CocoFile:
    """What a file states without error, and all its faults. Label i is categories[i]."""

    path: Path
    images: tuple[CocoImage, ...]  # in the order of the file, numbers are unique
    categories: tuple[CocoCategory, ...]  # ascending numbers, unique
    objects: Objects  # in the order of the images, those of an image in the order of the file
    counts: Ints  # (N,) objects of each image
    indices: Ints  # (M,) the annotation of each object, counted from 0 in the file
    annotation_ids: tuple[int | None, ...]  # (M,) None: not stated
    faults: tuple[Fault, ...]

    def place(self, row: int) -> str:
        """How a Fault names object `row`."""
        name = self.categories[int(self.objects.labels[row])].name
        return place_of(int(self.indices[row]), self.annotation_ids[row], name)


def read_coco_file(path: Path) -> CocoFile:
    """Read one instances file; raises nothing, all is in `faults`. Boxes are not compared with the images."""
    try:
        content = _decode(read_bytes(path, MAX_FILE_BYTES))
    except ValueError as error:
        nothing = np.zeros(0, dtype=np.int64)
        return CocoFile(path, (), (), Objects.joined([]), nothing, nothing, (), (Fault(path, str(error)),))
    faults: list[Fault] = []
    images, row_of = _read_images(path, content.images or [], faults)
    used = {annotation.category_id for annotation in content.annotations or [] if is_number(annotation.category_id)}
    categories = _read_categories(path, content.categories or [], used, faults)
    reader = AnnotationReader(path, row_of, [(c.number, c.name) for c in categories], faults)
    for index, annotation in enumerate(content.annotations or []):
        reader.read(index, annotation)
    found = reader.found(len(images))
    return CocoFile(
        path, tuple(images), categories, found.objects, found.counts, found.indices, found.annotation_ids, tuple(faults)
    )


def is_coco_file(path: Path) -> bool:
    """Whether it has lists of images, annotations and categories, none of them of key points; a quick look."""
    try:
        content = msgspec.json.decode(_without_mark(read_bytes(path, MAX_FILE_BYTES)), type=_Peek)
    except (ValueError, RecursionError):  # ValueError: unreadable, not JSON, or of another shape
        return False
    starts = [bytes(memoryview(part)[:1]) for part in (content.images, content.annotations)]
    return starts == [b"[", b"["] and all(category.keypoints is None for category in content.categories)


def _decode(data: bytes) -> _File:
    """Raises ValueError, whose message goes into a Fault."""
    text = _without_mark(data)
    try:
        content = msgspec.json.decode(text, type=_File)
    except msgspec.ValidationError as error:  # names the place: $.annotations[3]
        raise ValueError(
            f"is no COCO instances file ({error}); name a file of images, annotations, categories"
        ) from None
    except msgspec.DecodeError as error:
        raise ValueError(f"is not JSON ({error}{_around(text, str(error))}); write it anew") from None
    except RecursionError:
        raise ValueError("nests too deep to be a COCO annotation file; write it anew") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"is not in UTF-8 ({error}); save it as UTF-8") from None
    missing = [key for key in _File.__struct_fields__ if getattr(content, key) is None]
    if missing:
        raise ValueError(f"has no {', '.join(missing)}, so it is no COCO instances file; name one that has them")
    annotations = content.annotations or []
    if annotations and all(a.bbox is None and bytes(a.segmentation) == b"null" for a in annotations):
        raise ValueError("none of its annotations has a bbox; name an instances file, not one of captions or keypoints")
    return content


def _without_mark(data: bytes) -> memoryview:
    """Without the byte order mark that some editors put before UTF-8."""
    return memoryview(data)[len(_BYTE_ORDER_MARK) if data.startswith(_BYTE_ORDER_MARK) else 0 :]


def _around(text: memoryview, message: str) -> str:
    """The text at the byte that an error names: NaN and Infinity, which Python writes, are found by it."""
    found = re.search(r"\(byte (\d+)\)", message)
    if found is None:
        return ""
    place = int(found[1])
    shown = bytes(text[max(place - 40, 0) : place + 10]).decode("ascii", "backslashreplace")
    number = "; NaN and Infinity are no numbers in JSON" if bytes(text[place : place + 1]) in (b"N", b"I") else ""
    return f", at {shown!r}{number}"


def _read_images(path: Path, entries: list[_Image], faults: list[Fault]) -> tuple[list[CocoImage], dict[int, int]]:
    """The images, and the row of each number."""
    images: list[CocoImage] = []
    row_of: dict[int, int] = {}
    names: dict[str, int] = {}
    for index, entry, number in _numbered(path, "image", entries, faults):
        place = f"image {index} (id {number})"
        name, fault = _file_name(entry.file_name)
        if fault is not None:
            faults.append(Fault(path, fault, Severity.ERROR, place, "file_name"))
            row_of.setdefault(number, NOWHERE)
        elif number not in row_of:
            if name in names:
                message = f"{name!r} is also that of image id {names[name]}; remove one"
                faults.append(Fault(path, message, Severity.WARNING, place, "file_name", SAME_IMAGE))
            row_of[number] = len(images)
            names.setdefault(name, number)
            images.append(CocoImage(number, name, _size(entry)))
        elif row_of[number] != NOWHERE and images[row_of[number]].file_name != name:
            message = f"is also that of {images[row_of[number]].file_name!r}, here of {name!r}; give each its own"
            faults.append(Fault(path, message, Severity.ERROR, place, "id"))
        else:
            faults.append(Fault(path, "is listed before", Severity.WARNING, place, "id", LISTED_TWICE))
    return images, row_of


def _numbered(path: Path, kind: str, entries: list[_Listed], faults: list[Fault]) -> list[tuple[int, _Listed, int]]:
    """Index, entry and id of those whose id is a number; one fault for all others."""
    found, wrong = [], []
    for index, entry in enumerate(entries):
        if is_number(entry.id):
            found.append((index, entry, entry.id))
        else:
            wrong.append((index, entry.id))
    if wrong:
        index, value = wrong[0]
        faults.append(Fault(path, not_whole(value, len(wrong)), Severity.ERROR, f"{kind} {index}", "id"))
    return found


def _file_name(value: object) -> tuple[str, str | None]:
    """The name below the folder of the images, and what is wrong with it.

    Tools write folders with \\, and places on the machine they ran on: what leads out of the folder is left away.
    """
    if isinstance(value, str) and "\0" not in value:
        parts = PurePosixPath(value.replace("\\", "/")).parts
        name = "/".join(part for part in parts if part not in ("/", "//", "..") and not part.endswith(":"))
        if name.strip(". ") and len(name) <= _MAX_PATH:
            return name, None
    return "", f"is {short_repr(value)}, expected the name of an image"


def _size(entry: _Image) -> Size | None:
    if all(is_number(side) and side > 0 for side in (entry.height, entry.width)):
        return entry.height, entry.width
    return None


def _read_categories(
    path: Path, entries: list[_Category], used: set[int], faults: list[Fault]
) -> tuple[CocoCategory, ...]:
    """Those that have a number and a name, even if the name is not allowed: one fault is enough for all its objects."""
    name_of: dict[int, str] = {}
    numbered = _numbered(path, "category", entries, faults)
    used_names = {str(entry.name).strip() for _, entry, number in numbered if number in used}
    for index, entry, number in numbered:
        place = f"category {index} (id {number})"
        name = entry.name.strip() if isinstance(entry.name, str) else ""
        if number not in used and name in used_names:  # such as the heading that Roboflow puts before its classes
            message = f"{name!r} is also that of a category with objects; this one, without, is left out"
            faults.append(Fault(path, message, Severity.WARNING, place, "name", EMPTY_TWIN))
            continue
        fault = fault_of_name(name) if isinstance(entry.name, str) else f"is {short_repr(entry.name)}, expected a text"
        if fault is not None:
            faults.append(Fault(path, fault, Severity.ERROR, place, "name"))
        if number in name_of and name_of[number] != name:
            message = f"is also that of {name_of[number]!r}, here of {name!r}; give each its own"
            faults.append(Fault(path, message, Severity.ERROR, place, "id"))
        elif number in name_of:
            faults.append(Fault(path, "is listed before", Severity.WARNING, place, "id", LISTED_TWICE))
        elif name and name in name_of.values():
            first = next(other for other, known in name_of.items() if known == name)
            message = (
                f"{name!r} is also that of id {first}; rename one, or write {first} for {number} and remove {number}"
            )
            faults.append(Fault(path, message, Severity.ERROR, place, "name"))
        name_of.setdefault(number, name)
    return tuple(CocoCategory(number, name_of[number]) for number in sorted(name_of))
