"""The images of a data set as lists: found in folders, and known by an id."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from detkit.data.io.images import SUFFIXES


@dataclass(frozen=True)
class ListedImage:
    """An image and the file of its objects."""

    image_id: str
    image: Path
    annotation: Path  # YOLO: may not be there, which means no objects


def list_images(folder: Path, below: bool = True) -> list[Path]:
    """The images in a folder (and `below` it) in the order of their paths, without hidden ones."""
    return sorted(iterate_images(folder, below))


def iterate_images(folder: Path, below: bool = True) -> Iterator[Path]:
    """As list_images, in no order, so that the first is there at once."""
    yield from iterate_files(folder, SUFFIXES, below)


def iterate_files(folder: Path, suffixes: frozenset[str], below: bool = True) -> Iterator[Path]:
    """The files in a folder (and `below` it) that end with one of `suffixes` in either case, without hidden ones.

    Links to folders are followed, each folder once: a link to a folder above it would lead round for ever.
    """
    seen: set[tuple[int, int]] = set()
    for parent, folders, files in os.walk(folder, followlinks=below):
        folders[:] = sorted(name for name in folders if below and not name.startswith("."))
        if below:
            info = Path(parent).stat()
            if (info.st_dev, info.st_ino) in seen:
                folders.clear()
                continue
            seen.add((info.st_dev, info.st_ino))
        for name in files:
            if not name.startswith(".") and PurePath(name).suffix.lower() in suffixes:
                yield Path(parent) / name


def image_id_of(path: PurePath) -> str:
    """The id of the image at `path` below the folder of its split: one word, since result files hold one a line."""
    return one_word(path.with_suffix("").as_posix())


def one_word(text: str) -> str:
    """With _ for white space, slashes and what cannot be printed."""
    return "".join(sign if sign.isprintable() and not sign.isspace() and sign not in "/\\" else "_" for sign in text)
