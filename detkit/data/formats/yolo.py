"""Data sets in YOLO form: a label file of fractions for each image, and a YAML file that names splits and classes.

The files are not trusted, as those of VOC are not: every fault is a value, the data set raises the first that is an
error. yolo_layout.py tells where files are looked for, yolo_labels.py reads one.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from detkit.data.faults import LISTED_TWICE, Fault, OnWarning, Severity, log_warning, raise_first_error, tell_warnings
from detkit.data.formats.class_names import checked_classes
from detkit.data.formats.listed import ListedDataset
from detkit.data.formats.listing import ListedImage, image_id_of, list_images, merge_splits
from detkit.data.formats.yolo_labels import YoloLabels, parse_labels
from detkit.data.formats.yolo_layout import (
    NAME_FILES,
    YoloLayout,
    find_layout,
    label_path,
    listed_images,
    missing_split,
)
from detkit.data.ground_truth import numbered
from detkit.data.io.images import ImageError, ImageHeader, read_header


@dataclass(frozen=True)
class ScannedImage:
    place: ListedImage
    header: ImageHeader | None  # None: the image cannot be read
    labels: YoloLabels  # boxes in px, in fractions where there is no header
    faults: tuple[Fault, ...]  # those of the labels included


@dataclass(frozen=True)
class YoloScan:
    """Everything in the files of one split."""

    classes: tuple[str, ...]  # labels are indices of it
    images: tuple[ScannedImage, ...]
    faults: tuple[Fault, ...]  # of the lists; those of an image are with it


class YoloDataset(ListedDataset):
    """A DetectionDataset of one or more splits, such as ["train"]; the classes are all that its files name.

    With `classes`, labels are matched by name. Raises DatasetMissing, and ValueError for the first fault that is an
    error; each kind of warning is told once, with its number and the first example. Objects without area are left out.
    """

    def __init__(
        self,
        root: Path,
        splits: Sequence[str],
        classes: Sequence[str] | None,
        on_warning: OnWarning = log_warning,
    ) -> None:
        layout = _named_layout(root)
        images, faults = merge_splits(root, splits, partial(_list_split, layout))
        raise_first_error(faults, root)
        names = layout.names if classes is None else checked_classes(classes)
        label_of = np.array([names.index(name) if name in names else -1 for name in layout.names], dtype=np.int64)
        sizes, objects = [], []
        for image in images:
            header = read_header(image.image)
            labels = parse_labels(image.annotation, header.size, layout.names, classes)
            raise_first_error(labels.faults, root)
            sizes.append(header.size)
            objects.append(replace(labels.objects, labels=label_of[labels.objects.labels]))
            faults += labels.faults
        tell_warnings((fault for fault in faults if fault.severity is Severity.WARNING), root, on_warning)
        ids = [image.image_id for image in images]
        super().__init__(numbered(names, ids, sizes, objects), [image.image for image in images])


def scan_yolo(root: Path, split: str) -> YoloScan:
    """Read all files of a split but the pixels; faults are in the result.

    Raises DatasetMissing where the split is not there, ValueError where the file that names it is broken.
    """
    layout = _named_layout(root)
    images, faults = _list_split(layout, split)
    return YoloScan(layout.names, tuple(_scan_image(image, layout.names) for image in images), tuple(faults))


def _scan_image(place: ListedImage, names: Sequence[str]) -> ScannedImage:
    faults = []
    header = None
    try:
        header = read_header(place.image)
    except ImageError as error:
        faults.append(Fault(place.image, str(error).removeprefix(f"{place.image}: ")))
    labels = parse_labels(place.annotation, (1, 1) if header is None else header.size, names)
    return ScannedImage(place, header, labels, (*faults, *labels.faults))


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
    top = Path(os.path.commonpath(tops))
    for path in chain.from_iterable(files):
        image = ListedImage(image_id_of(path.relative_to(top)), path, label_path(path, layout.root))
        first = images.setdefault(image.image_id, image)
        if first is image:
            continue
        if first.image.samefile(path):
            faults.append(Fault(path, f"is listed before in {split!r}", Severity.WARNING, summary=LISTED_TWICE))
        else:
            message = f"has the id of {first.image}, {image.image_id!r} (the path without suffix, / and spaces)"
            faults.append(Fault(path, f"{message}; rename one"))
    faults += _find_orphans([image.annotation for image in images.values()], places)
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
        return Path(os.path.commonpath([image.parent for image in images])) if images else place.parent
    inner = place / "images"
    return inner if all(image.is_relative_to(inner) for image in images) else place


def _find_orphans(labels: Iterable[Path], places: Sequence[Path]) -> Iterator[Fault]:
    """Label files without image, in the folders of those that have one; a list may leave out images as it likes."""
    if not all(place.is_dir() for place in places):
        return
    known = set(labels)
    for folder in sorted({label.parent for label in known}):
        for path in sorted(folder.glob("*.txt")):
            if path not in known and path.name not in NAME_FILES:
                yield Fault(path, "has no image", Severity.INFO)
