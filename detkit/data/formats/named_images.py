"""Images that annotation files name, found inside the folder of the data set; and lists of them without doubles."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from detkit.data.faults import LISTED_TWICE, NOT_ANNOTATED, DatasetMissing, Fault, Severity
from detkit.data.formats.listing import ListedImage, image_id_of
from detkit.data.formats.read_split import UNKNOWN_SIZE, ObjectList
from detkit.data.formats.split_names import WHOLE
from detkit.data.io.images import SUFFIXES, ImageError, read_header
from detkit.structures import Size

SPLIT_WORDS = frozenset({"train", "training", "trainval", "val", "valid", "validation", "dev", "test", "testing"})

_MAX_DIGITS = 7  # of a side in px
_SORTED_SUFFIXES = sorted(SUFFIXES)
# Folders that say what is in them and nothing of the split.
_PLAIN_FOLDERS = frozenset(
    {"images", "imgs", "jpegimages", "data", "annotations", "annots", "labels", "json", "jsons", "labelme"}
)


def find_image(text: str, folders: Sequence[Path], root: Path) -> Path | None:
    """The image that a path in a data set means: below one of `folders` and never outside of `root`; None if none.

    A backslash is a slash, the suffix may be missing. Absolute paths may be those of another machine, and ../ may lead
    out of the data set: their ends are then looked for, longest first.
    """
    for place in _places(text, folders, root):
        if _is_file(place):
            return place
        if place.suffix.lower() not in SUFFIXES:
            for suffix in _SORTED_SUFFIXES:
                if _is_file(place.with_name(place.name + suffix)):
                    return place.with_name(place.name + suffix)
    return None


def _places(text: str, folders: Sequence[Path], root: Path) -> Iterator[Path]:
    path = PurePosixPath(text.replace("\\", "/"))
    parts = [part for part in path.parts if part not in ("/", "//")]
    if "\0" in text or not parts or parts[-1] == "..":
        return
    is_foreign = path.is_absolute() or parts[0].endswith(":")
    if not is_foreign:
        for folder in folders:
            if is_inside(folder / path, root):
                yield Path(os.path.normpath(folder / path))
    ends = [part for part in parts if part != ".."]
    if is_foreign or len(ends) < len(parts):
        for start in range(len(ends)):
            yield from (folder.joinpath(*ends[start:]) for folder in (*folders, root))


def is_inside(path: Path, root: Path) -> bool:
    """Whether a path with names out of a file stays in the data set; links are the user's own."""
    return _absolute(path).is_relative_to(_absolute(root))


def _absolute(path: Path) -> Path:
    return Path(os.path.normpath(path.absolute()))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long
        return False


def missing_split(root: Path, split: str, why: str, there: Iterable[str]) -> DatasetMissing:
    """The error for a split that `why` does not have; `there` are those that are."""
    return DatasetMissing(f"{root}: split {split!r} {why}; splits there: {', '.join(there) or 'none'}")


def size_of_texts(height: str, width: str) -> Size | None:
    """None where they are not two positive whole numbers that an image may have."""
    if not all(text.isascii() and text.isdecimal() and len(text) < _MAX_DIGITS for text in (height, width)):
        return None
    size = int(height), int(width)
    return size if all(size) else None


def stated_size(image: Path, stated: Size | None) -> tuple[Size, str | None]:
    """The (height, width) that boxes of an image are in, and what is wrong with the stated one.

    The image may have it before or after its EXIF orientation is applied. Without image it is believed.
    """
    try:
        header = read_header(image)
    except ImageError:  # told of where the image is decoded
        return stated or UNKNOWN_SIZE, None
    if stated is None or stated == header.size:
        return header.size, None
    if stated == header.stored_size:
        return stated, None
    (height, width), (image_height, image_width) = stated, header.size
    message = f"is {width} x {height}, the image is {image_width} x {image_height}; restore the image or mend both"
    return stated, f"{message} size and boxes"


def split_of_folder(parts: Sequence[str]) -> str:
    """The split that files belong to, by the folders they are in below the root.

    It is the path down to the first folder named like a split, such as "set/train"; else the first folder that does
    not just say what is in it, as images/ does; else "all".
    """
    for place, part in enumerate(parts):
        if part.lower() in SPLIT_WORDS:
            return "/".join(_telling(parts[: place + 1]))
    return next(iter(_telling(parts)), WHOLE)


def id_in_split(image: Path, root: Path, split: str) -> str:
    """The id of an image: of its path below `root`, without the folders of the split and those like images/."""
    parts = list(image.relative_to(root).parts)
    is_of_split = {*split.split("/")}
    while len(parts) > 1 and (parts[0] in is_of_split or not _telling(parts[:1])):
        is_of_split.discard(parts[0])
        parts.pop(0)
    return image_id_of(PurePosixPath(*parts))


def _telling(parts: Iterable[str]) -> list[str]:
    return [part for part in parts if part.lower() not in _PLAIN_FOLDERS]


@dataclass
class NamedImages:
    """The images of a split with their objects, each image once; what is wrong goes to `faults`."""

    faults: list[Fault] = field(default_factory=list)
    _images: dict[str, tuple[ListedImage, ObjectList]] = field(default_factory=dict)

    def add(self, image: ListedImage, objects: ObjectList, place: str = "") -> None:
        """Take an image of which `place` in the file of the objects is said; one with the id of another is a fault."""
        first_image, first = self._images.setdefault(image.image_id, (image, objects))
        if first is objects:
            return
        if not _is_same(first_image.image, image.image):
            message = f"{image.image} has the id of {first_image.image}, {image.image_id!r}; rename one"
            self.faults.append(Fault(objects.file, message, Severity.ERROR, place))
        elif first.boxes != objects.boxes or first.names != objects.names:
            message = f"{image.image.name} has other objects in {first.file.name} before; keep one of the two"
            self.faults.append(Fault(objects.file, message, Severity.ERROR, place))
        else:
            message = f"{image.image.name} is there before with the same objects"
            self.faults.append(Fault(objects.file, message, Severity.WARNING, place, summary=LISTED_TWICE))

    def leave_out(self, images: Iterable[Path]) -> None:
        """Warn of those of `images` that are not in the split."""
        known = {_absolute(image.image) for image, _ in self._images.values()}
        for path in images:
            if _absolute(path) not in known:
                message = "is not named by the annotations of its split"
                self.faults.append(Fault(path, message, Severity.WARNING, summary=NOT_ANNOTATED))

    def images(self) -> list[tuple[ListedImage, ObjectList]]:
        """In the order in which they were added."""
        return list(self._images.values())


def _is_same(first: Path, second: Path) -> bool:
    return first == second or first.samefile(second)
