"""One annotation file of PASCAL VOC to boxes and names. The file is not trusted: all that is wrong becomes a Fault."""

import codecs
import re
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short_repr  # at most 30 characters, control codes escaped: these texts are not trusted
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring
from numpy.typing import NDArray

from detkit.data.faults import CLIPPED, Fault, Severity
from detkit.data.formats.class_names import fault_of_name
from detkit.data.formats.units import NUMBER, Corners
from detkit.data.io.files import MAX_TEXT_BYTES, read_bytes
from detkit.data.io.images import ImageHeader
from detkit.structures import Size

MAX_FILE_BYTES = MAX_TEXT_BYTES  # the tree of the worst XML of that size takes 0.7 GB
_MAX_COORDINATE = 1e9  # px; no image that is read comes near
_DECLARED_ENCODING = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")
_BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_NOT_FOR_TEXT = frozenset({"idna", "punycode"})  # decoding takes time quadratic in the length

ZERO_BASED = "boxes have coordinates that start at 0, which suggest a 0-based export (VOC counts from 1)"
WRONG_SIZE = "files state a wrong <size>; the size of the image file is used"


@dataclass(frozen=True)
class Annotation:
    """The objects of one XML file that are without error, and all its faults."""

    boxes: NDArray[np.float32]  # (M, 4), detkit's convention
    names: tuple[str, ...]  # M class names
    difficult: NDArray[np.bool_]  # (M,)
    truncated: NDArray[np.bool_]  # (M,)
    crowd: NDArray[np.bool_]  # (M,) a mark that FiftyOne and Datumaro add to VOC's
    objects: tuple[str, ...]  # M: how faults name them
    faults: tuple[Fault, ...]
    stated: tuple[Corners, ...] = ()  # of all objects that have four numbers, as the file states them
    stated_size: Size | None = None  # as <size> has it; None: it has none, or not as two positive whole numbers

    @staticmethod
    def of_nothing() -> "Annotation":
        marks = np.zeros(0, dtype=np.bool_)
        return Annotation(np.zeros((0, 4), dtype=np.float32), (), marks, marks, marks, (), ())


def parse_annotation(path: Path, header: ImageHeader | None, from_0: bool = False) -> Annotation:
    """Read one XML file; raises nothing, all is in `faults`.

    Without `header` boxes are not compared with the image. `from_0`: coordinates are the corners of continuous boxes
    that count from 0, and not VOC's (voc_base.py).
    """
    faults: list[Fault] = []
    objects: list[tuple[Corners, str, bool, bool, bool, str]] = []
    stated: list[Corners] = []
    size = None
    try:
        root = _read_xml(path)
    except ValueError as error:
        faults.append(Fault(path, str(error)))
    else:
        size = _stated_size(root)
        if header is not None:
            faults += _check_size(path, root, header)
        for index, element in enumerate(root.findall("object")):
            reader = _ObjectReader(path, index, element, faults, stated)
            name, difficult = reader.name(), reader.difficult()
            box = reader.box(header.size if header is not None else None, from_0)
            if name is not None and difficult is not None and box is not None:
                objects.append((box, name, difficult, reader.truncated(), reader.crowd(), reader.label))
    return Annotation(
        boxes=np.array([box for box, *_ in objects], dtype=np.float32).reshape(-1, 4),
        names=tuple(name for _, name, *_ in objects),
        difficult=np.array([difficult for _, _, difficult, *_ in objects], dtype=np.bool_),
        truncated=np.array([truncated for _, _, _, truncated, *_ in objects], dtype=np.bool_),
        crowd=np.array([crowd for *_, crowd, _ in objects], dtype=np.bool_),
        objects=tuple(label for *_, label in objects),
        faults=tuple(faults),
        stated=tuple(stated),
        stated_size=size,
    )


class _ObjectReader:
    """Reads one <object>; what is wrong goes to `faults`, and the value is then None."""

    def __init__(self, path: Path, index: int, element: Element, faults: list[Fault], stated: list[Corners]) -> None:
        self._path, self._element, self._faults, self._stated = path, element, faults, stated
        self._name = (element.findtext("name") or "").strip()
        self.label = f"object {index} ({self._name if self._name.isidentifier() else short_repr(self._name)})"

    def name(self) -> str | None:
        if self._only(self._element, "name") is None:
            return None
        name = self._name
        fault = fault_of_name(name)
        if fault is not None:
            self._error("name", fault)
            return None
        return name

    def difficult(self) -> bool | None:
        text = (self._element.findtext("difficult") or "").strip()
        if text not in ("", "0", "1"):
            self._error("difficult", f"is {short_repr(text)}, expected 0 or 1")
            return None
        return text == "1"

    def truncated(self) -> bool:
        """Nothing is learned or scored by it, so that odd values are no fault."""
        return (self._element.findtext("truncated") or "").strip() == "1"

    def crowd(self) -> bool:
        named = {
            (one.findtext("name") or "").strip(): (one.findtext("value") or "").strip()
            for one in self._element.findall("attributes/attribute")
        }
        return (self._element.findtext("iscrowd") or "").strip() == "1" or named.get("is_crowd") == "True"

    def box(self, size: Size | None, from_0: bool) -> Corners | None:
        """VOC counts from 1 and both corners are inside, unless `from_0`.

        Children of <part> have their own box, which is not ours.
        """
        element = self._only(self._element, "bndbox")
        if element is None:
            return None
        xmin, ymin, xmax, ymax = (self._number(element, field) for field in ("xmin", "ymin", "xmax", "ymax"))
        if xmin is None or ymin is None or xmax is None or ymax is None:
            return None
        self._stated.append((xmin, ymin, xmax, ymax))
        for axis, low, high in (("x", xmin, xmax), ("y", ymin, ymax)):
            if low > high:
                self._error("bndbox", f"{axis}min {low:g} is greater than {axis}max {high:g}; swap them")
                return None
        first = 0 if from_0 else 1
        box = (xmin - first, ymin - first, xmax, ymax)
        return box if size is None else self._clip(box, size, first)

    def _clip(self, box: Corners, size: Size, first: int) -> Corners | None:
        height, width = size
        inside = (max(box[0], 0.0), max(box[1], 0.0), min(box[2], float(width)), min(box[3], float(height)))
        x1, y1, x2, y2 = np.array(inside, dtype=np.float32)  # as stored: rounding may leave no area
        corners = f"({box[0] + first:g}, {box[1] + first:g}, {box[2]:g}, {box[3]:g})"
        if not (x1 < x2 and y1 < y2):
            self._error("bndbox", f"{corners} lies outside the image of {width} x {height}; mend or remove it")
            return None
        lowest = min(box[0], box[1]) + first
        if lowest < 0 or box[2] > width or box[3] > height:
            self._warn(f"{corners} reaches beyond the image of {width} x {height} and is clipped", CLIPPED)
        if 0 <= lowest < first:
            self._warn(f"{corners} starts at 0, VOC counts from 1; the box is clipped to the image", ZERO_BASED)
        return inside

    def _number(self, parent: Element, field: str) -> float | None:
        element = self._only(parent, field)
        if element is None:
            return None
        text = (element.text or "").strip()
        if not NUMBER.fullmatch(text) or abs(float(text)) > _MAX_COORDINATE:
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
    text = _decode(read_bytes(path, MAX_FILE_BYTES))
    try:
        root: Element = fromstring(text, forbid_dtd=True)
    except DefusedXmlException:
        raise ValueError("declares a document type or entities, which are refused; remove them") from None
    except (ParseError, ValueError) as error:  # ValueError: characters that XML cannot hold
        raise ValueError(f"is not well-formed XML ({error}); write it anew") from None
    if root.tag != "annotation":
        raise ValueError(f"holds <{short_repr(root.tag)}>, expected <annotation>; is this a VOC file?")
    return root


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


def _stated_size(root: Element) -> Size | None:
    height, width = ((root.findtext(f"size/{field}") or "").strip() for field in ("height", "width"))
    if not all(text.isascii() and text.isdecimal() and 0 < int(text) < _MAX_COORDINATE for text in (height, width)):
        return None
    return int(height), int(width)


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
        message += " once turned by its EXIF orientation; boxes drawn on the unturned image are wrong, draw them anew"
    elif texts == [str(width), str(height)]:
        message += "; width and height are swapped"
    return [Fault(path, message, Severity.WARNING, field="size", summary=WRONG_SIZE)]
