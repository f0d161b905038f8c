"""The images of a data set put in their place in another, under safe and unique names: copied, linked or anew."""

import re
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from detkit.data.formats.listed import ListedDataset
from detkit.data.io.images import SUFFIXES, read_header, read_stored_of_size
from detkit.runtime.console import track
from detkit.structures import Size

QUALITY = 95  # of JPEG images that are written anew

_SUFFIX_OF = {
    "JPEG": ".jpg",
    "MPO": ".jpg",
    "PNG": ".png",
    "BMP": ".bmp",
    "WEBP": ".webp",
    "TIFF": ".tif",
    "GIF": ".gif",
}
_GREY_MODES = frozenset({"1", "L", "LA", "I;16", "I;16B"})
_MAX_STEM = 180  # bytes of a file's name; systems allow 255


@dataclass(frozen=True)
class ImageKey:
    """What tells images apart: two splits may have one, and a split may have the objects of one in two parts."""

    path: Path
    size: Size  # in which its objects are annotated
    time: int = 1  # that its split lists it


@dataclass(frozen=True)
class Target:
    """How an image is written."""

    name: str
    is_grey: bool
    anew: bool  # its pixels, since viewers turn the file to a frame other than that of its boxes
    renamed: bool = False


def keys_of(dataset: ListedDataset) -> list[ImageKey]:
    times: Counter[Path] = Counter()
    keys = []
    for index, path in enumerate(dataset.paths):
        times[path] += 1
        keys.append(ImageKey(path, dataset.size(index), times[path]))
    return keys


def targets_of(keys: Iterable[ImageKey]) -> dict[ImageKey, Target]:
    """Names are those of the files, made safe and unique: forms know an image by its name without suffix.

    Raises ImageError for a file that is no image.
    """
    targets: dict[ImageKey, Target] = {}
    taken: set[str] = set()
    for key in keys:
        if key not in targets:
            targets[key] = _target(key, taken)
    return targets


def safe_name(name: str) -> str:
    """Letters, digits, _, . and - alone, as short as every system takes it."""
    safe = re.sub(r"[^\w.-]", "_", name).lstrip(".-").rstrip(".").encode()[:_MAX_STEM]
    return safe.decode("utf-8", "ignore") or "unnamed"


def place_images(
    keys: Sequence[ImageKey], targets: Mapping[ImageKey, Target], folder: Path, link: bool, label: str
) -> None:
    """Raises ValueError where a file cannot be linked, OSError where it cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    for key in track(keys, label):
        target = targets[key]
        path = folder / target.name
        if path.exists():
            continue  # of a split before, which shares the folder
        if target.anew:
            _write_pixels(key, path)
        elif link:
            _link(key.path, path)
        else:
            shutil.copyfile(key.path, path)


def _target(key: ImageKey, taken: set[str]) -> Target:
    header = read_header(key.path)
    anew = key.size != header.size
    suffix = _SUFFIX_OF[header.format]
    if anew:
        suffix = ".jpg" if suffix == ".jpg" else ".png"
    elif key.path.suffix.lower() in SUFFIXES:
        suffix = key.path.suffix
    stem = _without_inner_suffix(safe_name(key.path.stem))
    name, number = stem, 1
    while name.casefold() in taken:
        number += 1
        name = f"{stem}_{number}"
    taken.add(name.casefold())
    return Target(name + suffix, header.mode in _GREY_MODES, anew, name != key.path.stem)


def _without_inner_suffix(stem: str) -> str:
    """a.png of a.png.jpg could be read as the name of another file: it becomes a_png."""
    head, dot, tail = stem.rpartition(".")
    return f"{head}_{tail}" if dot and f".{tail.lower()}" in SUFFIXES else stem


def _write_pixels(key: ImageKey, path: Path) -> None:
    pixels = np.ascontiguousarray(read_stored_of_size(key.path, key.size)[..., ::-1])  # a deep PNG stays one
    options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY] if path.suffix == ".jpg" else []
    encoded, data = cv2.imencode(path.suffix, pixels, options)
    if not encoded:
        raise OSError(f"{path}: could not be written")
    path.write_bytes(data.tobytes())


def _link(source: Path, path: Path) -> None:
    try:
        path.hardlink_to(source.resolve())
    except OSError as error:
        raise ValueError(f"{source}: cannot be linked to {path} ({error.strerror}); leave out --link") from None
