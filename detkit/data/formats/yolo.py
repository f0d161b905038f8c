"""Splits in the form of YOLO: a text file of labels beside each image, or in a folder of labels.

yolo_layout.py tells where files are looked for, yolo_labels.py reads one. The files are not trusted: all that is wrong
is a Fault.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from detkit.data.faults import LISTED_TWICE, Fault, Severity, image_fault
from detkit.data.formats.listing import ListedImage, image_id_of, iterate_files, list_images
from detkit.data.formats.read_split import UNKNOWN_SIZE, ReadSplit, with_any_image
from detkit.data.formats.units import PIXELS, centres_fault, in_place_of_boxes
from detkit.data.formats.yolo_labels import YoloLabels, parse_labels
from detkit.data.formats.yolo_layout import (
    NAME_FILES,
    YoloLayout,
    find_layout,
    missing_split,
)
from detkit.data.formats.yolo_places import label_path, listed_images
from detkit.data.ground_truth import Objects, numbered
from detkit.data.io.images import ImageError, ImageHeader, read_header
from detkit.runtime.console import track

TEXT = frozenset({".txt"})

UNLABELLED = "splits have images without a label file beside others that have one"
NO_IMAGE = "label files have no image and are left out"


@dataclass(frozen=True)
class _Scanned:
    place: ListedImage
    header: ImageHeader | None  # None: the image cannot be read
    labels: YoloLabels  # boxes in px, in fractions where there is no header
    faults: tuple[Fault, ...]  # those of the labels included


def read_yolo_split(root: Path, split: str) -> ReadSplit:
    """Read a split whatever is wrong with it; classes are all that its files name.

    Raises DatasetMissing where it is not there, ValueError where the file that names the classes is broken.
    """
    layout = _named_layout(root)
    listed, faults = _list_split(layout, split)
    images = [_scan(image, layout.names) for image in track(listed, "reading labels", len(listed))]
    nothing = Objects.joined([])
    parts = [nothing if image.header is None else image.labels.objects for image in images]
    sizes = [UNKNOWN_SIZE if image.header is None else image.header.size for image in images]
    stated = [box for image in images for box in image.labels.stated]
    wrong_units = centres_fault(layout.file or root, stated)
    found = _pixels_once([fault for image in images for fault in image.faults])
    found = in_place_of_boxes(wrong_units, found, "box")
    faults += _without_labels(layout.file or root, split, listed)
    object_names = [name for image in images if image.header is not None for name in image.labels.places]
    return with_any_image(
        ReadSplit(
            split,
            layout.file or root,
            numbered(layout.names, [image.place.image_id for image in images], sizes, parts),
            tuple(image.place.image for image in images),
            tuple(image.place.annotation for image in images),
            object_names.__getitem__,
            "box",
            "class",
            (*faults, *found),
        )
    )


def _without_labels(file: Path, split: str, listed: Sequence[ListedImage]) -> Iterator[Fault]:
    """Told where some images have a file of labels and others none: a custom of YOLO, or these have lost theirs."""
    missing = [image for image in listed if not image.annotation.exists()]
    if missing and len(missing) < len(listed):
        first = missing[0]
        message = (
            f"{len(missing):,} of {len(listed):,} images of {split!r} have no label file, such as {first.image} "
            f"({first.annotation}), and are taken to have no objects; an empty file says so"
        )
        yield Fault(file, message, Severity.INFO, summary=UNLABELLED)


def _pixels_once(faults: Sequence[Fault]) -> list[Fault]:
    """One error for all lines that look like pixels, in the place of the first."""
    are_of_pixels = [fault.field == "box" and PIXELS in fault.message for fault in faults]
    count = sum(are_of_pixels)
    if count < 2:
        return list(faults)
    place = are_of_pixels.index(True)
    once = replace(faults[place], message=f"{faults[place].message} ({count - 1:,} more lines are alike)")
    others = [
        fault for fault, is_of_pixels in zip(faults[place:], are_of_pixels[place:], strict=True) if not is_of_pixels
    ]
    return [*faults[:place], once, *others]


def _scan(place: ListedImage, names: Sequence[str]) -> _Scanned:
    faults = []
    header = None
    try:
        header = read_header(place.image)
    except ImageError as error:
        faults.append(image_fault(place.image, error))
    labels = parse_labels(place.annotation, (1, 1) if header is None else header.size, names)
    return _Scanned(place, header, labels, (*faults, *labels.faults))


def _named_layout(root: Path) -> YoloLayout:
    layout = find_layout(root)
    if layout.places and not layout.names:
        raise ValueError(f"{root}: no file names the classes; write a data.yaml with names, or {', '.join(NAME_FILES)}")
    return layout


def _list_split(layout: YoloLayout, split: str) -> tuple[list[ListedImage], list[Fault]]:
    """The images of a split, and what is wrong with the rest. Raises DatasetMissing."""
    if split not in layout.places:
        raise missing_split(layout, split)
    places = layout.places[split]
    images: dict[str, ListedImage] = {}
    faults: list[Fault] = []
    files = [_images_of(place, layout, faults) for place in places]
    tops = [_top(place, listed) for place, listed in zip(places, files, strict=True)]
    top = os.path.commonpath([place.absolute() for place in tops])  # lists may name some images from / on, others not
    for path in chain.from_iterable(files):
        image_id = image_id_of(path.absolute().relative_to(top))
        image = ListedImage(image_id, path, label_path(path, layout.root))
        first = images.setdefault(image.image_id, image)
        if first is image:
            continue
        if first.image.samefile(path):
            faults.append(Fault(path, f"is listed before in {split!r}", Severity.WARNING, summary=LISTED_TWICE))
        else:
            message = f"has the id of {first.image}, {image.image_id!r} (the path without suffix, / and spaces)"
            faults.append(Fault(path, f"{message}; rename one"))
    faults += _find_orphans([image.annotation for image in images.values()], places, layout.root)
    return list(images.values()), faults


def _images_of(place: Path, layout: YoloLayout, faults: list[Fault]) -> list[Path]:
    return list_images(place) if place.is_dir() else list(_read_list(place, layout, faults))


def _read_list(file: Path, layout: YoloLayout, faults: list[Fault]) -> Iterator[Path]:
    for number, text, image in listed_images(file, layout.bases):
        if image is None or not image.is_file():
            faults.append(Fault(file, f"line {number}: {text!r} is not there; add the image or drop the line"))
        else:
            yield image


def _top(place: Path, images: Sequence[Path]) -> Path:
    """The folder that ids start from: in train/, which has images/ and labels/, it is images/."""
    if not place.is_dir():
        return Path(os.path.commonpath([image.parent.absolute() for image in images])) if images else place.parent
    inner = place / "images"
    return inner if all(image.is_relative_to(inner) for image in images) else place


def _find_orphans(labels: Iterable[Path], places: Sequence[Path], root: Path) -> Iterator[Fault]:
    """Label files without image, beside those that have one and in the folders that are of labels alone.

    A list may leave out images as it likes.
    """
    if not all(place.is_dir() for place in places):
        return
    known = set(labels)
    found = {path for folder in {label.parent for label in known} for path in iterate_files(folder, TEXT, below=False)}
    for folder in {label_path(place / "image.png", root).parent for place in places}.difference(places):
        found.update(iterate_files(folder, TEXT))
    for path in sorted(found - known):
        if path.name not in NAME_FILES:
            yield Fault(path, "has no image", Severity.WARNING, summary=NO_IMAGE)
