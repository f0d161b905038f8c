"""The images of a data set as lists: found in folders, known by an id, merged over the splits of a union."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from detkit.data.faults import LISTED_TWICE, Fault, Severity
from detkit.data.io.images import SUFFIXES


@dataclass(frozen=True)
class ListedImage:
    """An image and the file of its objects."""

    image_id: str
    image: Path
    annotation: Path  # YOLO: may not be there, which means no objects


ListSplit = Callable[[str], tuple[list[ListedImage], list[Fault]]]  # of one split, by its name


def list_images(folder: Path, below: bool = True) -> list[Path]:
    """The images in a folder (and `below` it) in the order of their paths, without hidden ones."""
    return sorted(iterate_images(folder, below))


def iterate_images(folder: Path, below: bool = True) -> Iterator[Path]:
    """As list_images, in no order, so that the first is there at once."""
    for parent, folders, files in os.walk(folder, followlinks=below):
        folders[:] = sorted(name for name in folders if below and not name.startswith("."))
        for name in files:
            if not name.startswith(".") and PurePath(name).suffix.lower() in SUFFIXES:
                yield Path(parent) / name


def image_id_of(path: PurePath) -> str:
    """The id of the image at `path` below the folder of its split: one word, since result files hold one a line."""
    text = path.with_suffix("").as_posix()
    return "".join(sign if sign.isprintable() and not sign.isspace() and sign not in "/\\" else "_" for sign in text)


def merge_splits(root: Path, splits: Sequence[str], list_split: ListSplit) -> tuple[list[ListedImage], list[Fault]]:
    """The images of all `splits`, each once, and what is wrong. Raises ValueError where they list none."""
    images: dict[str, ListedImage] = {}
    faults = []
    for split in splits:
        found, split_faults = list_split(split)
        faults += split_faults
        for image in found:
            first = images.setdefault(image.image_id, image)
            if first is image:
                continue
            if first.image.samefile(image.image) and _same_file(first.annotation, image.annotation):
                message = f"is in {split!r} and in an earlier one of the splits"
                faults.append(Fault(image.image, message, Severity.WARNING, summary=LISTED_TWICE))
            else:
                message = f"has the id of {first.image}; ids must differ between the splits of a union, rename one"
                faults.append(Fault(image.image, message))
    if not images and not any(fault.severity is Severity.ERROR for fault in faults):
        raise ValueError(f"{root}: the splits {list(splits)} list no images; name a split that does")
    return list(images.values()), faults


def _same_file(first: Path, second: Path) -> bool:
    return first == second or (first.exists() and second.exists() and first.samefile(second))
