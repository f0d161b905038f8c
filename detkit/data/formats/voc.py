"""Data sets in the PASCAL VOC folder shape: Annotations/ID.xml, JPEGImages/ID.jpg, ImageSets/Main/SPLIT.txt.

The same annotations without ImageSets are opened too; voc_layout.py tells in which folders.

The files are not trusted. All annotations are read when the data set is made, so that a fault shows in the first
seconds. Every fault is a value: the data set raises the first that is an error, the checker (check.py) lists them all.
"""

import shlex
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from reprlib import repr as short_repr  # at most 30 characters, control codes escaped: these texts are not trusted

import numpy as np

from detkit.data.faults import (
    LISTED_TWICE,
    DatasetMissing,
    Fault,
    OnWarning,
    Severity,
    log_warning,
    raise_first_error,
    tell_warnings,
)
from detkit.data.formats.class_names import checked_classes, discovered_classes
from detkit.data.formats.listed import ListedDataset
from detkit.data.formats.listing import ListedImage, merge_splits
from detkit.data.formats.voc_layout import find_plain_splits, list_plain_split
from detkit.data.formats.voc_xml import Annotation, parse_annotation
from detkit.data.ground_truth import Objects, numbered
from detkit.data.io.files import read_bytes
from detkit.data.io.images import SUFFIXES, read_header

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


class VocDataset(ListedDataset):
    """A DetectionDataset of one or more splits, such as ["trainval"] or ["VOC2007/trainval", "VOC2012/trainval"].

    What stands before the last "/" of a split is a folder below `root`. Without `classes` they are the sorted names
    found in the splits. Raises DatasetMissing, and ValueError for the first fault that is an error; each kind of
    warning is told once, with its number and the first example.
    """

    def __init__(
        self,
        root: Path,
        splits: Sequence[str],
        classes: Sequence[str] | None,
        on_warning: OnWarning = log_warning,
    ) -> None:
        images, faults = merge_splits(root, splits, partial(list_split, root))
        raise_first_error(faults, root)
        sizes, annotations = [], []
        for image in images:
            header = read_header(image.image)
            annotation = parse_annotation(image.annotation, header, classes)
            raise_first_error(annotation.faults, root)
            sizes.append(header.size)
            annotations.append(annotation)
            faults += annotation.faults
        tell_warnings(faults, root, on_warning)
        if classes is not None:
            names = checked_classes(classes)
        else:
            names = discovered_classes((name for a in annotations for name in a.names), root, splits)
        label_of = {name: label for label, name in enumerate(names)}
        objects = [_objects(annotation, label_of) for annotation in annotations]
        ids = [image.image_id for image in images]
        super().__init__(numbered(names, ids, sizes, objects), [image.image for image in images])


def _objects(annotation: Annotation, label_of: dict[str, int]) -> Objects:
    labels = np.array([label_of[name] for name in annotation.names], dtype=np.int64)
    return Objects.of_boxes(labels, annotation.boxes.astype(np.float64), annotation.difficult, annotation.truncated)


def find_splits(root: Path) -> tuple[str, ...]:
    """The splits below a VOC folder or a folder of such, without the per-class files like aeroplane_train.txt.

    Of a folder without ImageSets they are what voc_layout.py finds in it.
    """
    found = []
    for main in sorted([root / "ImageSets" / "Main", *root.glob("*/ImageSets/Main")]):
        folder = main.parent.parent.relative_to(root)
        files = sorted(path for path in main.glob("*.txt") if path.is_file())
        stems = [path.stem for path in files]
        found += [(folder / path.stem).as_posix() for path in files if not _is_of_one_class(path, stems)]
    return tuple(found or find_plain_splits(root))


def _is_of_one_class(path: Path, stems: Iterable[str]) -> bool:
    if not any(path.stem.endswith(f"_{stem}") for stem in stems):
        return False
    with path.open("rb") as file:  # "my_train" may be a split of its own: it has one column
        return len(file.readline(1000).split()) > 1


def list_split(root: Path, split: str) -> tuple[list[ListedImage], list[Fault]]:
    """The images of a split that have both files, and what is wrong with the rest. Raises DatasetMissing."""
    folder, _, name = split.rpartition("/")
    path = root / folder / "ImageSets" / "Main" / f"{name}.txt"
    if not path.is_file():
        folders = find_plain_splits(root).get(split) if split in find_splits(root) else None
        if folders is None:
            raise _missing(root, split, path)
        return list_plain_split(*folders)
    ids, faults = _read_ids(path)
    files = find_images(root / folder)
    images = []
    for image_id in ids:
        found = files.get(image_id, [])
        annotation = root / folder / "Annotations" / f"{image_id}.xml"
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            faults.append(Fault(path, f"id {short_repr(image_id)} has {len(found)} images: {names}; keep one"))
        elif not found:
            faults.append(Fault(path, f"id {short_repr(image_id)} has no image in JPEGImages; add it or drop the id"))
        if not annotation.is_file():
            message = f"{annotation} is missing; add it or drop the id (detkit detect takes images without objects)"
            faults.append(Fault(path, f"id {short_repr(image_id)}: {message}"))
        elif len(found) == 1:
            images.append(ListedImage(image_id, found[0], annotation))
    return images, faults


def find_images(folder: Path) -> dict[str, list[Path]]:
    """The images in JPEGImages by their id, which is the file name without suffix; <filename> in the XML may lie."""
    files = defaultdict(list)
    if (folder / "JPEGImages").is_dir():
        for path in sorted((folder / "JPEGImages").iterdir()):
            if path.suffix.lower() in SUFFIXES:
                files[path.stem].append(path)
    return dict(files)


def _read_ids(path: Path) -> tuple[list[str], list[Fault]]:
    """One id a line; per-class files have a second column -1, 0 or 1, which is not used."""
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except ValueError as error:
        return [], [Fault(path, f"cannot be read as UTF-8 ({error}); write it anew")]
    ids: dict[str, None] = {}
    faults = []
    for number, line in enumerate(text.split("\n"), start=1):
        columns = line.split()
        if not columns:
            continue
        image_id = columns[0]
        if len(columns) > 2 or columns[1:] not in ([], ["-1"], ["0"], ["1"]):
            message = f"line {number} is {short_repr(line)}, expected an id without spaces, or an id and -1, 0 or 1"
            faults.append(Fault(path, message))
        elif set(image_id) & set("/\\\0") or image_id in (".", ".."):
            faults.append(Fault(path, f"line {number}: id {short_repr(image_id)} leads to another folder; remove it"))
        elif image_id in ids:
            message = f"line {number}: id {image_id!r} is listed before"
            faults.append(Fault(path, message, Severity.WARNING, summary=LISTED_TWICE))
        else:
            ids[image_id] = None
    return list(ids), faults


def _missing(root: Path, split: str, path: Path) -> DatasetMissing:
    there = ", ".join(find_splits(root)) if root.is_dir() else ""
    folder = split.rpartition("/")[0]
    first_missing = next((place for place in (root, root / folder, path.parent) if not place.exists()), path)
    message = f"{first_missing} is missing, needed for split {split!r}; splits below {root}: {there or 'none'}"
    official = {"VOC2007": "voc07", "VOC2012": "voc12"}.get(folder)
    if official is not None:
        message += f"; fetch it with: detkit download {official} --root {shlex.quote(str(root))}"
    return DatasetMissing(message)
