"""What a split of a data set holds, whatever its form: images, objects with the place of each, and its faults."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from detkit.data.faults import Fault, Severity
from detkit.data.formats.coco import CocoSplit, scan_coco
from detkit.data.formats.forms import Form
from detkit.data.formats.joined import category_numbers, new_labels, with_labels
from detkit.data.formats.listing import ListedImage
from detkit.data.formats.voc import list_split
from detkit.data.formats.voc_xml import Annotation, parse_annotation
from detkit.data.formats.yolo import ScannedImage, YoloScan, scan_yolo
from detkit.data.ground_truth import GroundTruth, Ints, Objects, numbered
from detkit.data.io.images import ImageError, ImageHeader, read_header
from detkit.runtime.console import track
from detkit.structures import Size

UNKNOWN_SIZE: Size = (0, 0)
BOX_FIELDS = {"voc": "bndbox", "coco": "bbox", "yolo": "box"}


@dataclass(frozen=True, eq=False)
class CheckedSplit:
    """All splits of a data set have the same classes, in the same order."""

    name: str
    file: Path  # what is wrong with the split as a whole is said of this file or folder
    truth: GroundTruth  # objects without error; UNKNOWN_SIZE where neither a file nor the image tells the size
    paths: tuple[Path, ...]  # of each image, there or not
    annotations: tuple[Path, ...]  # of each image, the file that states its objects
    name_object: Callable[[int], str]  # how faults name object `row` of truth
    box_field: str  # how the form calls a box
    faults: tuple[Fault, ...]

    @cached_property
    def ends(self) -> Ints:
        """(N,) the row behind the last object of each image."""
        return np.cumsum(self.truth.counts)

    def object_fault(self, row: int, message: str, summary: str) -> Fault:
        """A warning about the box of object `row`."""
        image = int(np.searchsorted(self.ends, row, side="right"))
        name = self.name_object(row)
        return Fault(self.annotations[image], message, Severity.WARNING, name, self.box_field, summary)


def read_splits(form: Form, splits: Sequence[str]) -> tuple[CheckedSplit, ...]:
    """Read the annotations of splits, each once, whatever is wrong with them.

    Raises DatasetMissing where a split is not there, ValueError where the file that names YOLO's classes is broken.
    """
    match form.kind:
        case "voc":
            found = _read_voc(form.root, splits)
        case "coco":
            found = _read_coco(form.root, splits)
        case "yolo":
            found = [_of_yolo(form.root, split, scan_yolo(form.root, split)) for split in splits]
    return tuple(found)


def voc_folder(root: Path, split: str) -> Path:
    """The folder that has ImageSets, Annotations and JPEGImages."""
    return root / split.rpartition("/")[0]


@dataclass(frozen=True, eq=False)
class _VocFile:
    header: ImageHeader | None  # None: the image cannot be read
    annotation: Annotation


def _read_voc(root: Path, splits: Sequence[str]) -> list[CheckedSplit]:
    listed = {split: list_split(root, split) for split in splits}
    places = {image.annotation: image for images, _ in listed.values() for image in images}
    files = {path: _read_voc_file(image) for path, image in track(places.items(), "reading annotations", len(places))}
    names = tuple(sorted({name for file in files.values() for name in file.annotation.names}))
    return [
        _of_voc(root, split, names, images, [files[image.annotation] for image in images], faults)
        for split, (images, faults) in listed.items()
    ]


def _read_voc_file(image: ListedImage) -> _VocFile:
    try:
        header = read_header(image.image)
    except ImageError:  # told of where the image is decoded
        header = None
    return _VocFile(header, parse_annotation(image.annotation, header))


def _of_voc(
    root: Path,
    split: str,
    names: tuple[str, ...],
    images: Sequence[ListedImage],
    files: Sequence[_VocFile],
    faults: Sequence[Fault],
) -> CheckedSplit:
    label_of = {name: label for label, name in enumerate(names)}
    parts = [
        Objects.of_boxes(
            np.array([label_of[name] for name in annotation.names], dtype=np.int64),
            annotation.boxes.astype(np.float64),
            annotation.difficult,
            annotation.truncated,
        )
        for annotation in (file.annotation for file in files)
    ]
    sizes = [UNKNOWN_SIZE if file.header is None else file.header.size for file in files]
    object_names = [name for file in files for name in file.annotation.objects]
    listing = voc_folder(root, split) / "ImageSets" / "Main" / f"{split.rpartition('/')[2]}.txt"
    return _with_any_image(
        CheckedSplit(
            split,
            listing if listing.is_file() else root,
            numbered(names, [image.image_id for image in images], sizes, parts),
            tuple(image.image for image in images),
            tuple(image.annotation for image in images),
            object_names.__getitem__,
            BOX_FIELDS["voc"],
            (*faults, *(fault for file in files for fault in file.annotation.faults)),
        )
    )


def _read_coco(root: Path, splits: Sequence[str]) -> list[CheckedSplit]:
    scans = {split: scan_coco(root, split) for split in splits}
    known = {
        name: number
        for scan in scans.values()
        for name, number in zip(scan.ground_truth.classes, scan.ground_truth.category_numbers, strict=True)
    }
    names = tuple(sorted(known, key=lambda name: known[name]))
    numbers = category_numbers(names, known)
    return [_of_coco(split, scan, names, numbers) for split, scan in scans.items()]


def _of_coco(split: str, scan: CocoSplit, names: Sequence[str], numbers: Sequence[int]) -> CheckedSplit:
    truth = with_labels(scan.ground_truth, names, numbers, new_labels(scan.ground_truth.classes, names))
    annotations = (scan.file,) * len(truth)
    name_object = partial(_name_coco_object, truth, np.cumsum(truth.counts))
    return _with_any_image(
        CheckedSplit(split, scan.file, truth, scan.paths, annotations, name_object, BOX_FIELDS["coco"], scan.faults)
    )


def _name_coco_object(truth: GroundTruth, ends: Ints, row: int) -> str:
    """By the image's number: the files' own numbers of objects are not kept, as nothing else is known by them."""
    image = int(np.searchsorted(ends, row, side="right"))
    place = row - int(ends[image] - truth.counts[image])
    name = truth.classes[int(truth.objects.labels[row])]
    return f"image id {truth.image_numbers[image]}, object {place} ({name})"


def _of_yolo(root: Path, split: str, scan: YoloScan) -> CheckedSplit:
    nothing = Objects.joined([])
    parts = [nothing if image.header is None else image.labels.objects for image in scan.images]
    sizes = [UNKNOWN_SIZE if image.header is None else image.header.size for image in scan.images]
    object_names = [name for image in scan.images for name in _object_names(image)]
    return _with_any_image(
        CheckedSplit(
            split,
            root,
            numbered(scan.classes, [image.place.image_id for image in scan.images], sizes, parts),
            tuple(image.place.image for image in scan.images),
            tuple(image.place.annotation for image in scan.images),
            object_names.__getitem__,
            BOX_FIELDS["yolo"],
            (*scan.faults, *(fault for image in scan.images for fault in image.faults)),
        )
    )


def _object_names(image: ScannedImage) -> tuple[str, ...]:
    return () if image.header is None else image.labels.places


def _with_any_image(split: CheckedSplit) -> CheckedSplit:
    """With a fault where the split lists nothing and nothing else says why."""
    if len(split.truth) or split.faults:
        return split
    return replace(split, faults=(Fault(split.file, f"{split.name!r} lists no images; add some or remove it"),))
