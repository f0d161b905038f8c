"""Data sets of "CVAT for images 1.1": an XML file that lists images and the shapes drawn in each.

Known shapes: annotations.xml (or another XML file of the kind) at the root or in folders below it; images beside the
file, in images/ or data/ beside it, and there in folders by their subset. Coordinates are px, continuous, from the
top left corner. Every shape that has an area is an object, with the box around it.
"""

import html
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

from detkit.data.faults import Fault, Severity
from detkit.data.formats.cvat_shapes import BOXLESS, ShapeReader
from detkit.data.formats.listing import ListedImage, image_id_of, list_images
from detkit.data.formats.named_images import (
    NamedImages,
    find_image,
    is_inside,
    missing_split,
    size_of_texts,
    split_of_folder,
    stated_size,
)
from detkit.data.formats.read_split import ObjectList, ReadSplit, split_of_lists

BOX_FIELD = "box"

MAX_FILE_BYTES = 1 << 30  # read as a stream, one image at a time
MAX_ELEMENTS = 1_000_000  # of one image: what is held at a time
_PEEK_BYTES = 4096
_CHUNK_BYTES = 1 << 20
_MAX_TAG_BYTES = 8192
_IMAGE = re.compile(rb"<image\s[^<>]{0,8000}>")
_SUBSET = re.compile(rb"""\ssubset\s*=\s*(["'])(.*?)\1""", re.DOTALL)
_ROOT = re.compile(rb"<annotations[\s>/]")
_IMAGE_FOLDERS = ("images", "data", ".")


def find_cvat_splits(root: Path) -> tuple[str, ...]:
    """The subsets of images that CVAT's files below `root` name; else the name of the file or of its folder."""
    return tuple(sorted({split for file in _files(root) for split in _splits(root, file)}))


def read_cvat_split(root: Path, split: str) -> ReadSplit:
    """Read all of a split but the pixels; faults are in the result. Raises DatasetMissing."""
    files = {file: _splits(root, file) for file in _files(root)}
    its_files = [file for file, splits in files.items() if split in splits]
    if not its_files:
        there = sorted({name for splits in files.values() for name in splits})
        raise missing_split(root, split, "is in no file of CVAT for images", there)
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
        size, wrong = stated_size(image, size_of_texts(element.get("height", ""), element.get("width", "")))
        if wrong is not None:
            self.named.faults.append(Fault(file, wrong, Severity.ERROR, place, "width, height"))
        objects = ObjectList(file, size, BOX_FIELD)
        counts: dict[str, int] = defaultdict(int)
        for shape in element:
            ShapeReader(objects, shape, f"{place}, {shape.tag} {counts[shape.tag]}").read()
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


def _declared(meta: Element) -> Iterator[str]:
    """The names of labels that may have boxes; the points of skeletons have a <parent>."""
    for label in meta.iter("label"):
        name = (label.findtext("name") or "").strip()
        if name and label.find("parent") is None and label.findtext("type") not in BOXLESS:
            yield name
