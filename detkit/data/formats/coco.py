"""Data sets of COCO: an annotation file a split, and a folder with its images. coco_file.py reads the file.

The files are not trusted. A split is read in full when the data set is made, so that a fault shows in the first
seconds. Every fault is a value: the data set raises the first that is an error, the checker (check.py) lists them all.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short_repr  # at most 30 characters, control codes escaped: these texts are not trusted

import numpy as np

from detkit.data.faults import (
    CLIPPED,
    LISTED_TWICE,
    DatasetMissing,
    Fault,
    OnWarning,
    Severity,
    log_warning,
    raise_first_error,
    tell_warnings,
)
from detkit.data.formats.class_names import checked_classes, unknown_name
from detkit.data.formats.coco_file import CocoFile, CocoImage, is_coco_file, read_coco_file
from detkit.data.formats.joined import category_numbers, new_labels, stacked, with_images, with_labels
from detkit.data.formats.listed import ListedDataset
from detkit.data.ground_truth import GroundTruth
from detkit.data.io.images import ImageError, image_size
from detkit.structures import Size

_FILES = ("annotations/instances_{}.json", "annotations/{}.json", "{}/_annotations.coco.json", "{}.json")
_IMAGES = ("{}", "images/{}", "images", "JPEGImages", "data", ".")  # beside the folder of the annotation file
_OTHER_TASKS = ("captions_", "person_keypoints_", "stuff_", "panoptic_", "image_info_")  # COCO's files without objects
_ROUNDING = 0.011  # px: COCO states left and width with two decimals, whose sum may pass the border by that

NO_AREA = "boxes have no area and are not learned from"
OUTSIDE = "boxes lie outside their image and are not learned from"
NO_SIZE = "images have no stated size; that of the image is used"


@dataclass(frozen=True, eq=False)
class CocoSplit:
    """What a split holds without error, under the categories of its own file, and all its faults."""

    file: Path
    ground_truth: GroundTruth  # the size of an image is (0, 0) where nothing tells it, which is among the faults
    paths: tuple[Path, ...]  # of each image, there or not
    faults: tuple[Fault, ...]


class CocoDataset(ListedDataset):
    """A DetectionDataset of one or more splits, such as ["train2017"] or ["annotations/mine.json"].

    Without `classes` they are all categories, by ascending id. The id of an image is COCO's number as text.
    Raises DatasetMissing, and ValueError for the first fault that is an error; each kind of warning is told once, with
    its number and the first example. Scoring needs no images: without `need_images` they may be missing.
    """

    def __init__(
        self,
        root: Path,
        splits: Sequence[str],
        classes: Sequence[str] | None,
        on_warning: OnWarning = log_warning,
        need_images: bool = True,
    ) -> None:
        faults: list[Fault] = []
        found = []
        for split in splits:
            found.append(scan_coco(root, split, classes, need_images))
            raise_first_error(found[-1].faults, root)
            faults += found[-1].faults
        raise_first_error(_differing_categories(found), root)
        known = {name: number for split in found for name, number in _categories(split)}
        names = tuple(sorted(known, key=lambda name: known[name])) if classes is None else checked_classes(classes)
        if not any(len(split.ground_truth) for split in found):
            raise ValueError(f"{root}: the splits {list(splits)} list no images; name a split that does")
        if not names:
            raise ValueError(f"{root}: the splits {list(splits)} have no categories, so no classes; name the classes")
        truth, paths, merge_faults = _merged(found, names, category_numbers(names, known))
        raise_first_error(merge_faults, root)
        tell_warnings(faults + merge_faults, root, on_warning)
        super().__init__(truth, paths)


def find_coco_splits(root: Path) -> tuple[str, ...]:
    """The names of the instances files below a folder, sorted; each other JSON file there is looked into, once."""
    names = set()
    for path in sorted(
        [*root.glob("annotations/*.json"), *root.glob("*/_annotations.coco.json"), *root.glob("*.json")]
    ):
        is_official = path.parent.name == "annotations" and path.name.startswith("instances_")
        if is_official or (not path.name.startswith(_OTHER_TASKS) and is_coco_file(path)):
            names.add(_name(path))
    return tuple(sorted(names))


def _name(file: Path) -> str:
    return file.parent.name if file.name == "_annotations.coco.json" else file.stem.removeprefix("instances_")


def coco_annotation_file(root: Path, split: str) -> Path:
    """The annotation file of a split, which is a name or the path of a file. Raises DatasetMissing."""
    tried = [root / split] if split.endswith(".json") else [root / pattern.format(split) for pattern in _FILES]
    for path in tried:
        if path.is_file():
            return path
    there = ", ".join(find_coco_splits(root)) if root.is_dir() else ""
    raise DatasetMissing(f"{tried[0]} is missing, needed for split {split!r}; splits below {root}: {there or 'none'}")


def coco_image_folders(root: Path, file: Path) -> tuple[Path, ...]:
    """Where the images of an annotation file may lie, the likeliest first: beside the file, or below the root."""
    bases = dict.fromkeys([root, file.parent.parent if file.parent.name == "annotations" else file.parent])
    beside = [file.parent] if file.name == "_annotations.coco.json" else []
    places = [*beside, *(base / pattern.format(_name(file)) for base in bases for pattern in _IMAGES)]
    return tuple(dict.fromkeys(place for place in places if place.is_dir()))


def coco_image_folder(root: Path, file: Path, names: Sequence[str]) -> tuple[Path | None, set[str]]:
    """The folder that has the most of the images, None if none has any; and which of the names are there.

    Each folder is listed once, which is quicker than asking for each of 100,000 files.
    """
    best: Path | None = None
    most: set[str] = set()
    for folder in coco_image_folders(root, file):
        there = _names_below(folder, {name.rpartition("/")[0] for name in names}).intersection(names)
        if len(there) > len(most):
            best, most = folder, there
        if len(most) == len(set(names)):
            break
    return best, most


def _names_below(folder: Path, subfolders: Iterable[str]) -> set[str]:
    names: set[str] = set()
    for sub in subfolders:
        if (folder / sub).is_dir():
            names.update(f"{sub}/{path.name}" if sub else path.name for path in (folder / sub).iterdir())
    return names


def scan_coco(root: Path, split: str, classes: Sequence[str] | None = None, need_images: bool = True) -> CocoSplit:
    """Read a split whatever is wrong with it. Raises DatasetMissing where the split is not there.

    With `classes`, objects of other categories are among the faults.
    """
    path = coco_annotation_file(root, split)
    file = read_coco_file(path)
    faults = list(file.faults)
    if classes is not None:
        faults += _unknown_categories(file, classes)
    folder, there = coco_image_folder(root, path, [image.file_name for image in file.images])
    if need_images:
        faults += _missing_images(root, file, folder, there)
    folder = folder or path.parent
    sizes = [_size(image, folder, image.file_name in there, path, faults) for image in file.images]
    truth = GroundTruth(
        tuple(category.name for category in file.categories),
        tuple(str(image.number) for image in file.images),
        np.array(sizes, dtype=np.int64).reshape(-1, 2),
        file.objects,
        file.counts,
        tuple(category.number for category in file.categories),
        tuple(image.number for image in file.images),
    )
    faults += _suspicious_boxes(file, truth)
    return CocoSplit(path, truth, tuple(folder / image.file_name for image in file.images), tuple(faults))


def _unknown_categories(file: CocoFile, classes: Sequence[str]) -> Iterator[Fault]:
    """One fault a category, at its first object."""
    labels, rows = np.unique(file.objects.labels, return_index=True)
    for label, row in zip(labels.tolist(), rows.tolist()):
        name = file.categories[label].name
        if name not in classes:
            yield Fault(file.path, unknown_name(name, classes), Severity.ERROR, file.place(row), "category_id")


def _missing_images(root: Path, file: CocoFile, folder: Path | None, there: set[str]) -> Iterator[Fault]:
    if folder is None and file.images:
        first = short_repr(file.images[0].file_name)
        tried = ", ".join(map(str, coco_image_folders(root, file.path)))
        yield Fault(
            file.path, f"none of its {len(file.images):,} images, such as {first}, is in {tried}; put them there"
        )
        return
    for image in file.images:
        if image.file_name not in there:
            message = f"{folder}/{image.file_name} is missing; add it or remove the image"
            yield Fault(file.path, message, Severity.ERROR, f"image id {image.number}", "file_name")


def _size(image: CocoImage, folder: Path, is_there: bool, path: Path, faults: list[Fault]) -> Size:
    """As stated, else from the header of the image."""
    if image.size is not None:
        return image.size
    place, message = f"image id {image.number}", "are not two positive whole numbers"
    if not is_there:
        faults.append(
            Fault(path, f"{message}, and there is no image; give them", Severity.ERROR, place, "height, width")
        )
        return 0, 0
    try:
        size = image_size(folder / image.file_name)
    except ImageError as error:
        faults.append(Fault(path, f"{message}, and {error}", Severity.ERROR, place, "height, width"))
        return 0, 0
    faults.append(Fault(path, message, Severity.WARNING, place, "height, width", NO_SIZE))
    return size


def _suspicious_boxes(file: CocoFile, truth: GroundTruth) -> Iterator[Fault]:
    """Warnings of boxes that a detector does not learn as they are stated (listed.py); they are scored as stated."""
    limits = truth.sizes[truth.image_index][:, [1, 0, 1, 0]]  # (M, 4)
    boxes = truth.objects.boxes
    inside = np.clip(boxes, 0, limits)
    is_learned = np.all(inside[:, :2].astype(np.float32) < inside[:, 2:].astype(np.float32), axis=1)  # (M,)
    is_beyond = np.any(np.abs(boxes - inside) > _ROUNDING, axis=1)
    is_odd = (~is_learned | is_beyond) & np.all(limits > 0, axis=1)
    for row in np.flatnonzero(is_odd).tolist():
        x, y, width, height = truth.objects.xywh[row].tolist()
        image = f"image id {truth.image_numbers[int(truth.image_index[row])]} of {limits[row, 0]} x {limits[row, 1]}"
        if width <= 0 or height <= 0:
            what, summary = "has no area", NO_AREA
        elif not is_learned[row]:
            what, summary = f"lies outside {image}", OUTSIDE
        else:
            what, summary = f"reaches beyond {image}", CLIPPED
        message = f"[{x:g}, {y:g}, {width:g}, {height:g}] {what}"
        yield Fault(file.path, message, Severity.WARNING, file.place(row), "bbox", summary)


def _categories(split: CocoSplit) -> Iterator[tuple[str, int]]:
    return zip(split.ground_truth.classes, split.ground_truth.category_numbers, strict=True)


def _differing_categories(splits: Sequence[CocoSplit]) -> Iterator[Fault]:
    """Splits whose files disagree on the id of a name, or on the name of an id."""
    number_of: dict[str, int] = {}
    name_of: dict[int, str] = {}
    for split in splits:
        for name, number in _categories(split):
            if number_of.setdefault(name, number) != number or name_of.setdefault(number, name) != name:
                message = (
                    f"{name!r} has id {number}, in an earlier split it or that id is another; use equal categories"
                )
                yield Fault(split.file, message, field="categories")


def _merged(
    splits: Sequence[CocoSplit], classes: Sequence[str], numbers: Sequence[int]
) -> tuple[GroundTruth, list[Path], list[Fault]]:
    """The images of all splits; one that several have, with the same objects, is there once."""
    truths: list[GroundTruth] = []
    paths: list[Path] = []
    faults: list[Fault] = []
    first_of: dict[int, tuple[CocoSplit, Path, bytes]] = {}  # by number, with the objects
    for split in splits:
        truth = with_labels(split.ground_truth, classes, numbers, new_labels(split.ground_truth.classes, classes))
        keep = np.ones(len(truth), dtype=np.bool_)
        rows = zip(truth.image_numbers, split.paths, _contents(truth), strict=True)
        for index, (number, path, content) in enumerate(rows):
            first, first_path, first_content = first_of.setdefault(number, (split, path, content))
            if first is split:
                continue
            keep[index] = False
            place = f"image id {number}"
            if not _is_same(first_path, path):
                message = f"is {path}, in {first.file} it is {first_path}; ids must differ between splits, change one"
                faults.append(Fault(split.file, message, object=place))
            elif content != first_content:
                message = f"has other objects than in {first.file}; keep one of the two"
                faults.append(Fault(split.file, message, object=place))
            else:
                message = f"is also in {first.file}"
                faults.append(Fault(split.file, message, Severity.WARNING, place, summary=LISTED_TWICE))
        truths.append(with_images(truth, keep))
        paths += [path for path, kept in zip(split.paths, keep.tolist(), strict=True) if kept]
    return stacked(truths), paths, faults


def _contents(truth: GroundTruth) -> Iterator[bytes]:
    """All that is stated of the objects of each image."""
    objects = truth.objects
    table = np.column_stack([objects.labels, objects.xywh, objects.area, objects.ignore])  # (M, 7) float64
    for end, count in zip(np.cumsum(truth.counts).tolist(), truth.counts.tolist(), strict=True):
        yield table[end - count : end].tobytes()


def _is_same(first: Path, second: Path) -> bool:
    return first == second or (first.exists() and second.exists() and first.samefile(second))
