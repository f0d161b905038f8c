"""Data sets of "CVAT for images 1.1": an XML file that lists images and the shapes drawn in each.

Known shapes: annotations.xml (or another XML file of the kind) at the root or in folders below it; images beside the
file, in images/ or data/ beside it, and there in folders by their subset. Coordinates are px, continuous, from the
top left corner. Every shape that has an area is an object, with the box around it.
"""

import html
import math
import re
import stat
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from reprlib import repr as short_repr  # at most 30 characters, control codes escaped: these texts are not trusted
from xml.etree.ElementTree import Element, SubElement
from xml.sax import SAXParseException
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl

from defusedxml import DefusedXmlException
from defusedxml.expatreader import create_parser

from detkit.data.faults import DatasetMissing, Fault, Severity
from detkit.data.formats.listing import ListedImage, image_id_of, list_images
from detkit.data.formats.named_images import NamedImages, find_image, is_inside, split_of_folder, stated_size
from detkit.data.formats.outlines import (
    Points,
    box_around,
    ellipse_box,
    outline_area,
    runs_box,
    turned_corners,
)
from detkit.data.formats.read_split import Corners, ObjectList, ReadSplit, split_of_lists
from detkit.structures import Size

BOX_FIELD = "box"
NOT_OBJECTS = "tags, points, lines and skeletons have no box and are left out"
OUTSIDE = "shapes are marked as outside and are left out"
TURNED = "boxes are turned; the upright box around each is used"

MAX_FILE_BYTES = 1 << 30  # read as a stream, one image at a time
MAX_ELEMENTS = 1_000_000  # of one image: what is held at a time
_PEEK_BYTES = 4096
_CHUNK_BYTES = 1 << 20
_MAX_TAG_BYTES = 8192
_IMAGE = re.compile(rb"<image\s[^<>]{0,8000}>")
_SUBSET = re.compile(rb"""\ssubset\s*=\s*(["'])(.*?)\1""", re.DOTALL)
_ROOT = re.compile(rb"<annotations[\s>/]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)  # float() also takes nan, inf and 1_0
_MAX_COORDINATE = 1e9  # px; no image that is read comes near
_BOXLESS = frozenset({"tag", "points", "polyline", "skeleton"})  # elements, and types of labels
_SHAPES = frozenset({"box", "polygon", "ellipse", "mask", "cuboid"})
_CUBOID = ("xtl1", "ytl1", "xbl1", "ybl1", "xtr1", "ytr1", "xbr1", "ybr1")
_IMAGE_FOLDERS = ("images", "data", ".")


def find_cvat_splits(root: Path) -> tuple[str, ...]:
    """The subsets of images that CVAT's files below `root` name; else the name of the file or of its folder."""
    return tuple(sorted({split for file in _files(root) for split in _splits(root, file)}))


def read_cvat_split(root: Path, split: str) -> ReadSplit:
    """Read all of a split but the pixels; faults are in the result. Raises DatasetMissing."""
    files = {file: _splits(root, file) for file in _files(root)}
    its_files = [file for file, splits in files.items() if split in splits]
    if not its_files:
        there = ", ".join(sorted({name for splits in files.values() for name in splits})) or "none"
        raise DatasetMissing(f"{root}: split {split!r} is in no file of CVAT for images; splits there: {there}")
    reader = _SplitReader(root, split)
    for file in its_files:
        reader.read(file)
    reader.named.leave_out(_images_of_split(root, split, files))
    used = {name for _, objects in reader.named.images() for name in objects.names}
    classes = [*reader.labels, *sorted(used - reader.labels.keys())]
    place = its_files[0] if len(its_files) == 1 else root
    return split_of_lists(split, place, reader.named.images(), classes, reader.named.faults, BOX_FIELD)


def _files(root: Path) -> list[Path]:
    """The XML files at the root and in folders below it that begin as CVAT's do."""
    return [path for path in sorted([*root.glob("*.xml"), *root.glob("*/*.xml")]) if _is_cvat(path)]


def _is_cvat(path: Path) -> bool:
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return _ROOT.search(file.read(_PEEK_BYTES)) is not None
    except OSError:
        return False


def _splits(root: Path, file: Path) -> list[str]:
    """Of the images of a file, sorted; that of the file where it has none or is broken."""
    own = _split_of_file(root, file)
    try:
        return sorted({own if subset is None else subset for subset in _subsets(file)}) or [own]
    except (OSError, ValueError):
        return [own]


def _subsets(file: Path) -> Iterator[str | None]:
    """Of each <image>, by a quick look that takes no XML apart: large files have two million elements."""
    if not file.is_file() or file.stat().st_size > MAX_FILE_BYTES:
        return
    rest = b""
    with file.open("rb") as stream:
        while data := stream.read(_CHUNK_BYTES):
            text = rest + data
            end = 0
            for image in _IMAGE.finditer(text):
                end = image.end()
                subset = _SUBSET.search(image[0])
                yield html.unescape(subset[2].decode()) or None if subset else None
            rest = text[max(end, len(text) - _MAX_TAG_BYTES) :]


def _split_of_file(root: Path, file: Path) -> str:
    """Datumaro names files by their subset; all others are known by their folder."""
    own = [] if file.stem in ("annotations", "labels") else [file.stem]
    return split_of_folder([*file.parent.relative_to(root).parts, *own])


def _elements(file: Path) -> Iterator[Element]:
    """The elements below the root of a file, one at a time. Raises ValueError, whose message goes into a Fault."""
    try:
        info = file.stat()
        if not stat.S_ISREG(info.st_mode):
            raise ValueError("is not a regular file")
        if info.st_size > MAX_FILE_BYTES:
            raise ValueError(f"has {info.st_size:,} bytes, at most {MAX_FILE_BYTES:,} are read; split it")
        handler = _TopElements()
        parser = create_parser(forbid_dtd=True)
        parser.setContentHandler(handler)
        with file.open("rb") as stream:
            while data := stream.read(_CHUNK_BYTES):
                parser.feed(data)
                yield from handler.taken()
        parser.close()
        yield from handler.taken()
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    except DefusedXmlException:
        raise ValueError("declares a document type or entities, which are refused; remove them") from None
    except LookupError as error:  # an encoding that is not known
        raise ValueError(f"is not well-formed XML ({error}); write it anew") from None
    except SAXParseException as error:
        place = f"line {error.getLineNumber()}"
        raise ValueError(f"is not well-formed XML ({error.getMessage()}, {place}); write it anew") from None


class _TopElements(ContentHandler):
    """Builds the elements below the root; what has been taken is let go. (iterparse of defusedxml takes five times as
    long: its parser is not compiled.)"""

    def __init__(self) -> None:
        super().__init__()
        self._done: list[Element] = []
        self._open: list[Element] = []  # from a child of the root down
        self._is_in_root = False
        self._count = 0  # elements since the last was done, and their text in pieces of 64

    def taken(self) -> list[Element]:
        done, self._done = self._done, []
        return done

    def startElement(self, name: str, attrs: AttributesImpl) -> None:  # noqa: N802 - the parser's names
        self._add(1)
        if not self._is_in_root:
            self._is_in_root = True
        elif self._open:
            self._open.append(SubElement(self._open[-1], name, dict(attrs.items())))
        else:
            self._open.append(Element(name, dict(attrs.items())))

    def characters(self, content: str) -> None:
        if self._open and not content.isspace():
            self._add(len(content) // 64)
            self._open[-1].text = (self._open[-1].text or "") + content

    def endElement(self, name: str) -> None:  # noqa: N802
        if not self._open:
            return
        element = self._open.pop()
        if not self._open:
            self._done.append(element)
            self._count = 0

    def _add(self, count: int) -> None:
        self._count += count
        if self._count > MAX_ELEMENTS:
            raise ValueError(f"has over {MAX_ELEMENTS:,} elements in one image; split or mend the file")


def _images_of_split(root: Path, split: str, files: dict[Path, list[str]]) -> Iterator[Path]:
    """The images in folders that belong to this split alone; `files` are all, with the splits of each."""
    bases = {file.parent for file, splits in files.items() if split in splits}
    for base in sorted(bases):
        others = {name for file, splits in files.items() if file.is_relative_to(base) for name in splits} - {split}
        for folder in (base / "images" / split, base / "data" / split, base / split) if others else (base,):
            if is_inside(folder, root) and folder.is_dir():
                yield from list_images(folder)


@dataclass
class _SplitReader:
    root: Path
    split: str
    named: NamedImages = field(default_factory=NamedImages)
    labels: dict[str, None] = field(default_factory=dict)  # as declared, in their order

    def read(self, file: Path) -> None:
        number = -1
        try:
            for element in _elements(file):
                if element.tag == "meta":
                    self.labels |= dict.fromkeys(_declared(element))
                elif element.tag == "track":
                    message = 'has <track> elements, of "CVAT for video"; export it as "CVAT for images 1.1"'
                    self.named.faults.append(Fault(file, message))
                    return
                elif element.tag == "image":
                    number += 1
                    if (element.get("subset") or _split_of_file(self.root, file)) == self.split:
                        self._read_image(file, number, element)
        except ValueError as error:
            self.named.faults.append(Fault(file, str(error)))

    def _read_image(self, file: Path, number: int, element: Element) -> None:
        name = element.get("name") or ""
        place = f"image {number} ({short_repr(name)})"
        image = find_image(name, self._folders(file, element), self.root)
        if image is None:
            message = f"{short_repr(name)} is not there; put it into {file.parent / 'images'} or remove the element"
            self.named.faults.append(Fault(file, message, Severity.ERROR, place, "name"))
            return
        size, wrong = stated_size(image, _size(element))
        if wrong is not None:
            self.named.faults.append(Fault(file, wrong, Severity.ERROR, place, "width, height"))
        objects = ObjectList(file, size, BOX_FIELD)
        counts: dict[str, int] = defaultdict(int)
        for shape in element:
            _ShapeReader(objects, shape, f"{place}, {shape.tag} {counts[shape.tag]}").read()
            counts[shape.tag] += 1
        self.named.add(ListedImage(_image_id(image, name), image, file), objects, place)

    def _folders(self, file: Path, element: Element) -> list[Path]:
        """Where an image may be, the likeliest first."""
        subset = element.get("subset") or self.split
        return [
            base / folder / inner
            for base in dict.fromkeys((file.parent, self.root))
            for folder in _IMAGE_FOLDERS
            for inner in (subset, ".")
        ]


def _image_id(image: Path, name: str) -> str:
    """Of the name in the file, which may lack the suffix; of the image where the name is a path of another machine."""
    path = Path(name.replace("\\", "/"))
    is_plain = not path.is_absolute() and ".." not in path.parts and not path.parts[0].endswith(":")
    return image_id_of(path.with_name(image.name) if is_plain else Path(image.name))


def _size(element: Element) -> Size | None:
    sides = [element.get(side, "") for side in ("height", "width")]
    if not all(side.isascii() and side.isdecimal() and 0 < len(side) < 7 for side in sides):
        return None
    height, width = map(int, sides)
    return (height, width) if height and width else None


def _declared(meta: Element) -> Iterator[str]:
    """The names of labels that may have boxes; the points of skeletons have a <parent>."""
    for label in meta.iter("label"):
        name = (label.findtext("name") or "").strip()
        if name and label.find("parent") is None and label.findtext("type") not in _BOXLESS:
            yield name


class _ShapeReader:
    """Reads one shape into `objects`, what is wrong with it too."""

    def __init__(self, objects: ObjectList, element: Element, place: str) -> None:
        self._objects = objects
        self._element = element
        self._name = (element.get("label") or "").strip()
        self._place = f"{place} ({self._name if self._name.isidentifier() else short_repr(self._name)})"

    def read(self) -> None:
        tag = self._element.tag
        if tag in _BOXLESS:
            self._objects.warn(self._place, f"is a <{tag}>", NOT_OBJECTS)
        elif tag not in _SHAPES:
            known = ", ".join(sorted(_SHAPES | _BOXLESS))
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
    if len(text) > 50 or not _NUMBER.fullmatch(text.strip()) or abs(float(text)) > _MAX_COORDINATE:
        raise ValueError(f"{name} is {short_repr(text)}, expected a number of pixels; mend it")
    return float(text)


def _whole(text: str, name: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ValueError(f"{name} is {short_repr(text)}, expected a whole number of pixels; mend it")
    return int(text)
