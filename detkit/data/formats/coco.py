"""Splits in the form of COCO: an annotation file a split, and a folder with its images. coco_file.py reads the file.

The files are not trusted: all that is wrong is a Fault.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from reprlib import repr as short_repr  # at most 30 characters, control codes escaped: these texts are not trusted

import numpy as np

from detkit.data.faults import CLIPPED, DatasetMissing, Fault, Severity
from detkit.data.formats.coco_federated import federated_note
from detkit.data.formats.coco_file import CocoFile, CocoImage, is_coco_file, read_coco_file
from detkit.data.formats.read_split import UNKNOWN_SIZE, ReadSplit, with_any_image
from detkit.data.formats.split_names import role_of
from detkit.data.formats.units import Corners, units_fault
from detkit.data.ground_truth import GroundTruth
from detkit.data.io.images import ImageError, image_size
from detkit.structures import Size

ALONE = "_annotations.coco.json"  # the file of a split beside its images, as Roboflow writes it
_FILES = ("annotations/instances_{}.json", "annotations/{}.json", f"{{}}/{ALONE}", "{}.json")
_IMAGES = ("{}", "images/{}", "images", "JPEGImages", "data", ".")  # beside the folder of the annotation file
_OTHER_TASKS = ("captions_", "person_keypoints_", "stuff_", "panoptic_", "image_info_")  # COCO's files without objects
_LVIS = "lvis_v1_"  # LVIS's own files: lvis_v1_train.json, lvis_v1_image_info_test_dev.json
_MOST_FILES = 20  # JSON files in a folder that may be annotations of whole splits
_MOST_FOLDERS = 20  # that a name may have too many
_ROUNDING = 0.011  # px: COCO states left and width with two decimals, whose sum may pass the border by that

NO_AREA = "boxes have no area and are not learned from"
OUTSIDE = "boxes lie outside their image and are not learned from"
NO_SIZE = "images have no stated size; that of the image is used"
NOT_READ = "files are named as those of a split and are not read"
FOREIGN = "files have names of images with folders that are not there"


def find_coco_splits(root: Path) -> tuple[str, ...]:
    """The names of the instances files below a folder, sorted; each JSON file that may be one is looked into, once."""
    return tuple(sorted(_find_files(root)))


def _find_files(root: Path) -> dict[str, Path]:
    """The annotation file of each split. Where two would have one name, the second goes by its path."""
    files: dict[str, Path] = {}
    for path in _candidates(root):
        if _is_read(path):
            name = _name(root, path)
            files[path.relative_to(root).as_posix() if name in files else name] = path
    return files


def _is_read(path: Path) -> bool:
    """Whether it is the file of a split; it is decoded for that where its name does not say so."""
    return _is_official(path) or (not _is_of_other_task(path) and is_coco_file(path))


def _candidates(root: Path) -> Iterator[Path]:
    """JSON files that may be annotations: in annotations/, at the root, or the only few of a folder of a split."""
    yield from sorted(root.glob("annotations/*.json"))
    for folder in sorted(path for path in root.glob("*/") if path.name != "annotations"):
        inner = list(islice(folder.glob("*.json"), _MOST_FILES + 1))
        if len(inner) <= _MOST_FILES:  # more are a file an image, of another form
            yield from sorted(inner)
        elif (folder / ALONE).is_file():
            yield folder / ALONE
    outer = sorted(islice(root.glob("*.json"), _MOST_FILES + 1))
    yield from outer if len(outer) <= _MOST_FILES else []


def _is_official(path: Path) -> bool:
    """Named as COCO's own files or Roboflow's: read even where it is broken, so that this is told."""
    return path.name == ALONE or (path.parent.name == "annotations" and path.name.startswith("instances_"))


def _is_of_other_task(path: Path) -> bool:
    return path.name.removeprefix(_LVIS).startswith(_OTHER_TASKS)


def _name(root: Path, file: Path) -> str:
    if file.parent in (root, root / "annotations") or file.parent.name == "annotations":
        return file.stem.removeprefix("instances_")
    return file.parent.name


def coco_layout_faults(root: Path) -> Iterator[Fault]:
    """Warnings of files that are named as those of splits and are not read."""
    for path in _candidates(root):
        if role_of(path.stem) and not _is_of_other_task(path) and not _is_read(path):
            message = "has no lists of images, annotations with boxes and categories, so it is not read; mend it"
            yield Fault(path, message, Severity.WARNING, summary=NOT_READ)


def coco_annotation_file(root: Path, split: str) -> Path:
    """The annotation file of a split, which is a name or the path of a file. Raises DatasetMissing."""
    tried = [root / split] if split.endswith(".json") else [root / pattern.format(split) for pattern in _FILES]
    for path in tried:
        if path.is_file():
            return path
    named = (path for path in _candidates(root) if _name(root, path) == split)
    found = next((path for path in named if _is_read(path)), None)
    if found is not None:
        return found
    there = ", ".join(find_coco_splits(root))
    raise DatasetMissing(f"{tried[0]} is missing, needed for split {split!r}; splits below {root}: {there or 'none'}")


@dataclass(frozen=True)
class CocoImages:
    """Where the images of an annotation file are."""

    folder: Path  # the likeliest where none of them is there
    there: frozenset[str]  # the names that are
    tried: tuple[Path, ...]
    dropped: int = 0  # leading folders of the names that are not below `folder`
    faults: tuple[Fault, ...] = ()

    def path_of(self, name: str) -> Path:
        return self.folder / _without_folders(name, self.dropped)


def find_coco_images(root: Path, file: Path, names: Sequence[str]) -> CocoImages:
    """The folder that has the most of the images: beside the file, or below the root.

    Where no folder has any, names without their first folders are looked for: those may be of another machine. Each
    folder is listed once, which is quicker than asking for each of 100,000 files.
    """
    folders = _image_folders(root, file)
    best = CocoImages(folders[0] if folders else file.parent, frozenset(), folders)
    deepest = max((name.count("/") for name in names), default=0)
    for dropped in range(1 + min(deepest, _MOST_FOLDERS)):
        for folder in folders:
            wanted = {_without_folders(name, dropped): name for name in names}
            if len(wanted) < len(set(names)):
                break  # names that differ would be one
            subfolders = {name.rpartition("/")[0] for name in wanted}
            there = frozenset(wanted[name] for name in _names_below(folder, subfolders).intersection(wanted))
            if len(there) > len(best.there):
                best = CocoImages(folder, there, folders, dropped)
            if len(there) == len(wanted):
                break
        if best.there:
            break
    if best.dropped:
        first = next(name for name in names if name in best.there)
        message = f"{first!r} is not there, {best.path_of(first)} is taken for it"
        best = replace(best, faults=(Fault(file, message, Severity.WARNING, field="file_name", summary=FOREIGN),))
    return best


def _image_folders(root: Path, file: Path) -> tuple[Path, ...]:
    bases = dict.fromkeys([root, file.parent.parent if file.parent.name == "annotations" else file.parent])
    name = _name(root, file)
    beside = [file.parent] if file.name == ALONE else []
    places = [*beside, *(base / pattern.format(name) for base in bases for pattern in _IMAGES)]
    return tuple(dict.fromkeys(place for place in places if place.is_dir()))


def _without_folders(name: str, count: int) -> str:
    """Without the first `count` folders, or all of them."""
    parts = name.split("/")
    return "/".join(parts[min(count, len(parts) - 1) :])


def _names_below(folder: Path, subfolders: Iterable[str]) -> set[str]:
    names: set[str] = set()
    for sub in subfolders:
        with suppress(OSError):  # not there, no folder, or a name that none may have
            names.update(f"{sub}/{path.name}" if sub else path.name for path in (folder / sub).iterdir())
    return names


def read_coco_split(root: Path, split: str, need_images: bool = True) -> ReadSplit:
    """Read a split whatever is wrong with it. Raises DatasetMissing where it is not there.

    The id of an image is COCO's number as text; classes are in the order of their numbers. Scoring needs no images:
    without `need_images` they may be missing.
    """
    path = coco_annotation_file(root, split)
    file = read_coco_file(path)
    faults = list(file.faults)
    names = [image.file_name for image in file.images]
    found = find_coco_images(root, path, names)
    if need_images:
        faults += _missing_images(root, file, found)
        faults += found.faults
    sizes = [_size(image, found, path, faults) for image in file.images]
    truth = GroundTruth(
        tuple(category.name for category in file.categories),
        tuple(str(image.number) for image in file.images),
        np.array(sizes, dtype=np.int64).reshape(-1, 2),
        file.objects,
        file.counts,
        tuple(category.number for category in file.categories),
        tuple(image.number for image in file.images),
        file.federated,
    )
    if file.federated is not None:
        faults.append(federated_note(path, file.federated))
    wrong_units = units_fault(path, "bbox", _stated(truth), are_sizes=True)
    faults += _suspicious_boxes(file, truth) if wrong_units is None else [wrong_units]
    return with_any_image(
        ReadSplit(
            split,
            path,
            truth,
            tuple(found.path_of(name) for name in names),
            (path,) * len(truth),
            file.place,
            "bbox",
            "category_id",
            tuple(faults),
        )
    )


def _stated(truth: GroundTruth) -> Iterator[tuple[list[Corners], Size]]:
    boxes = truth.objects.xywh.tolist()
    for (height, width), start, count in zip(truth.sizes.tolist(), truth.starts.tolist(), truth.counts.tolist()):
        yield [(x, y, w, h) for x, y, w, h in boxes[start : start + count]], (height, width)


def _missing_images(root: Path, file: CocoFile, found: CocoImages) -> Iterator[Fault]:
    if not found.there and file.images:
        first = short_repr(file.images[0].file_name)
        tried = ", ".join(map(str, found.tried))
        yield Fault(
            file.path, f"none of its {len(file.images):,} images, such as {first}, is in {tried}; put them there"
        )
        return
    for image in file.images:
        if image.file_name not in found.there:
            message = f"{found.path_of(image.file_name)} is missing; add it or remove the image"
            yield Fault(file.path, message, Severity.ERROR, f"image id {image.number}", "file_name")


def _size(image: CocoImage, found: CocoImages, path: Path, faults: list[Fault]) -> Size:
    """As stated, else from the header of the image."""
    if image.size is not None:
        return image.size
    place, message = f"image id {image.number}", "are not two positive whole numbers"
    if image.file_name not in found.there:
        faults.append(
            Fault(path, f"{message}, and there is no image; give them", Severity.ERROR, place, "height, width")
        )
        return UNKNOWN_SIZE
    try:
        size = image_size(found.path_of(image.file_name))
    except ImageError as error:
        faults.append(Fault(path, f"{message}, and {error}", Severity.ERROR, place, "height, width"))
        return UNKNOWN_SIZE
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
