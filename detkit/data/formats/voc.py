"""Splits in the form of PASCAL VOC: an XML file an image, and a text file that lists the ids of a split.

voc_layout.py tells in which folders they are, voc_xml.py reads one annotation. The files are not trusted: all that is
wrong is a Fault.
"""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from reprlib import repr as short_repr  # at most 30 characters, control codes escaped: these texts are not trusted

import numpy as np

from detkit.data.faults import LISTED_TWICE, NOT_ANNOTATED, DatasetMissing, Fault, Severity, image_fault
from detkit.data.formats.listing import ListedImage, one_word
from detkit.data.formats.read_split import UNKNOWN_SIZE, ReadSplit, with_any_image
from detkit.data.formats.units import in_place_of_boxes, units_fault
from detkit.data.formats.voc_base import counts_from_0
from detkit.data.formats.voc_layout import XML, VocPlace, files_by_id, find_place, find_places
from detkit.data.formats.voc_xml import WRONG_SIZE, Annotation, parse_annotation
from detkit.data.ground_truth import Objects, numbered
from detkit.data.io.files import read_bytes
from detkit.data.io.images import SUFFIXES, ImageError, ImageHeader, read_header
from detkit.runtime.console import track

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

FROM_0 = "splits look like a 0-based export (VOC counts from 1)"
BACKGROUND = "images have no annotation, as Datumaro and CVAT (labelmap.txt) write where there are no objects"
NO_IMAGE = "annotations have no image and are left out"

_ENOUGH = 5  # files: of fewer, the same wrong <size> may be chance
_OTHER, _SAME = 0.05, 0.02  # from 1, and from each other: images are resized to whole px


def find_splits(root: Path) -> tuple[str, ...]:
    """The splits below a VOC folder or a folder of such, by name."""
    return tuple(find_places(root))


def read_voc_splits(root: Path, splits: Sequence[str]) -> list[ReadSplit]:
    """Read splits, each annotation once, whatever is wrong with them. Raises DatasetMissing where one is not there.

    The classes of each are the sorted names that its objects have.
    """
    places = {split: _place(root, split) for split in splits}
    listed = {split: _list(place) for split, place in places.items()}
    wanted = {image.annotation: image for images, _ in listed.values() for image in images}
    from_0 = counts_from_0(place.annotations for place in find_places(root).values())
    files = {
        path: _read_file(image, from_0) for path, image in track(wanted.items(), "reading annotations", len(wanted))
    }
    return [
        _read_split(
            split, places[split].listing or root, found, [files[image.annotation] for image in found], faults, from_0
        )
        for split, (found, faults) in listed.items()
    ]


@dataclass(frozen=True, eq=False)
class _VocFile:
    header: ImageHeader | None  # None: the image cannot be read
    annotation: Annotation
    faults: tuple[Fault, ...]  # of the image


def _read_file(image: ListedImage, from_0: bool) -> _VocFile:
    header, faults = None, []
    try:
        header = read_header(image.image)
    except ImageError as error:
        faults.append(image_fault(image.image, error))
    if not image.annotation.exists():  # told of where the split was listed
        return _VocFile(header, Annotation.of_nothing(), tuple(faults))
    return _VocFile(header, parse_annotation(image.annotation, header, from_0), tuple(faults))


def _read_split(
    split: str,
    file: Path,
    images: Sequence[ListedImage],
    files: Sequence[_VocFile],
    faults: Sequence[Fault],
    from_0: bool,
) -> ReadSplit:
    names = tuple(sorted({name for file in files for name in file.annotation.names}))
    label_of = {name: label for label, name in enumerate(names)}
    sizes = [UNKNOWN_SIZE if file.header is None else file.header.size for file in files]
    object_names = [name for file in files for name in file.annotation.objects]
    found = [fault for file in files for fault in file.annotation.faults]
    stated = [(file.annotation.stated, size) for file, size in zip(files, sizes, strict=True)]
    wrong_units = units_fault(file, "bndbox", stated)
    resized = _resized(file, files)
    if resized is not None:
        found = [resized, *(fault for fault in found if fault.summary != WRONG_SIZE)]
    found = in_place_of_boxes(wrong_units, found, "bndbox")
    if wrong_units is None and from_0 and object_names:
        message = f"{len(object_names):,} boxes are read as counted from 0, with xmax and ymax just outside"
        found = [Fault(file, message, Severity.WARNING, field="bndbox", summary=FROM_0), *found]
    return with_any_image(
        ReadSplit(
            split,
            file,
            numbered(
                names,
                [image.image_id for image in images],
                sizes,
                [_objects(file.annotation, label_of) for file in files],
            ),
            tuple(image.image for image in images),
            tuple(image.annotation for image in images),
            object_names.__getitem__,
            "bndbox",
            "name",
            (*faults, *(fault for file in files for fault in file.faults), *found),
        )
    )


def _resized(file: Path, files: Sequence[_VocFile]) -> Fault | None:
    """The error where all images are of one multiple of their <size>: then the boxes are those of the old images."""
    pairs = [
        (one.header.size, one.annotation.stated_size)
        for one in files
        if one.header is not None and one.annotation.stated_size is not None and one.annotation.stated
    ]
    if len(pairs) < _ENOUGH:
        return None
    factors = np.array([[has / said for has, said in zip(*pair, strict=True)] for pair in pairs])  # (N, 2)
    factor = float(np.median(factors))
    if abs(factor - 1) < _OTHER or (np.abs(factors / factor - 1) > _SAME).any():
        return None
    message = (
        f"all {len(pairs):,} images are {factor:.3g} times as large as their <size> says, so the boxes are of other "
        "images; take the images that were annotated, or scale the boxes and <size>"
    )
    return Fault(file, message, field="size")


def _objects(annotation: Annotation, label_of: dict[str, int]) -> Objects:
    labels = np.array([label_of[name] for name in annotation.names], dtype=np.int64)
    ignored = annotation.difficult | annotation.crowd
    objects = Objects.of_boxes(labels, annotation.boxes.astype(np.float64), ignored, annotation.truncated)
    return replace(objects, crowd=annotation.crowd)


def list_split(root: Path, split: str) -> tuple[list[ListedImage], list[Fault]]:
    """The images of a split that have both files, and what is wrong with the rest. Raises DatasetMissing."""
    return _list(_place(root, split))


def _place(root: Path, split: str) -> VocPlace:
    """Raises DatasetMissing."""
    place = find_place(root, split)
    if place is None:
        raise _missing(root, split)
    return place


def _list(place: VocPlace) -> tuple[list[ListedImage], list[Fault]]:
    images, annotations = files_by_id(place.images, SUFFIXES), files_by_id(place.annotations, XML)
    faults: list[Fault] = []
    if place.listing is None:
        ids = sorted(images.keys() & annotations.keys())
        faults += _left_out(images, annotations, NOT_ANNOTATED, "no XML file")
        faults += _left_out(annotations, images, NO_IMAGE, "no image")
    else:
        ids = list(_listed_ids(place, place.listing, images.keys() | annotations.keys(), faults))
    listed: dict[str, ListedImage] = {}
    for one in ids:
        image = _listed_image(place, one, images.get(one, []), annotations.get(one, []), faults)
        if image is not None and listed.setdefault(image.image_id, image) is not image:
            first = listed[image.image_id].image
            message = f"differs from {first} by white space and slashes only, which no id may have; rename one"
            faults.append(Fault(image.image, message))
    return list(listed.values()), faults


def _listed_image(
    place: VocPlace, one: str, images: Sequence[Path], annotations: Sequence[Path], faults: list[Fault]
) -> ListedImage | None:
    file, shown = place.listing or place.images, short_repr(one)
    if len(images) > 1:
        names = ", ".join(path.name for path in images)
        faults.append(Fault(file, f"id {shown} has {len(images)} images: {names}; keep one"))
    elif not images:
        faults.append(Fault(file, f"id {shown} has no image in {place.images.name}; add it or drop the id"))
    if not annotations and len(images) == 1 and not place.writes_empty:
        message = f"id {shown} has no annotation; it is taken to have no objects"
        faults.append(Fault(file, message, Severity.WARNING, summary=BACKGROUND))
        return ListedImage(one_word(one), images[0], place.annotations / f"{one}.xml")
    if not annotations:
        message = f"{place.annotations / one}.xml is missing; add it or drop the id"
        faults.append(Fault(file, f"id {shown}: {message} (detkit detect takes images without objects)"))
    elif len(images) == 1:
        return ListedImage(one_word(one), images[0], annotations[0])
    return None


def _left_out(files: dict[str, list[Path]], others: dict[str, list[Path]], summary: str, has: str) -> Iterator[Fault]:
    for one in sorted(files.keys() - others.keys()):
        yield Fault(files[one][0], f"has {has} of its name", Severity.WARNING, summary=summary)


def _listed_ids(place: VocPlace, path: Path, known: set[str], faults: list[Fault]) -> Iterator[str]:
    """One id a line, a path below the folders; per-class files have a second column -1, 0 or 1, which is not used."""
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except ValueError as error:
        faults.append(Fault(path, f"cannot be read as UTF-8 ({error}); write it anew"))
        return
    seen: set[str] = set()
    tops = (place.images.name, place.annotations.name)
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        one = _id_in(line.strip(), known, tops)
        inner = PurePosixPath(one)
        if inner.is_absolute() or ".." in inner.parts or "\0" in one or one in ("", "."):
            faults.append(Fault(path, f"line {number}: id {short_repr(one)} leads to another folder; remove it"))
        elif one in seen:
            message = f"line {number}: id {one!r} is listed before"
            faults.append(Fault(path, message, Severity.WARNING, summary=LISTED_TWICE))
        else:
            seen.add(one)
            yield one


def _id_in(line: str, known: set[str], tops: Sequence[str]) -> str:
    """The id that a line means: all of it, without the mark of a class, or without quotes, suffix and folder.

    Tools write "cam a/f000" with quotes or without, f000.jpg, and JPEGImages/f000.jpg.
    """
    columns = line.rsplit(maxsplit=1)
    has_mark = len(columns) == 2 and columns[1] in ("-1", "0", "1")
    first = (columns[0] if has_mark else line).replace("\\", "/").strip('"').removeprefix("./")
    whole = line.replace("\\", "/").strip('"').removeprefix("./")
    for text in (whole, first):
        parts = PurePosixPath(text).parts
        for start in (0, *(place + 1 for place, part in enumerate(parts[:-1]) if part in tops)):
            end = PurePosixPath(*parts[start:])
            for one in (end.as_posix(), end.with_suffix("").as_posix() if end.suffix.lower() in SUFFIXES else ""):
                if one in known:
                    return one
    return first


def _missing(root: Path, split: str) -> DatasetMissing:
    there = ", ".join(find_splits(root)) if root.is_dir() else ""
    folder, _, name = split.rpartition("/")
    path = root / folder / "ImageSets" / "Main" / f"{name}.txt"
    first_missing = next((place for place in (root, root / folder, path.parent) if not place.exists()), path)
    message = f"{first_missing} is missing, needed for split {split!r}; splits below {root}: {there or 'none'}"
    official = {"VOC2007": "voc07", "VOC2012": "voc12"}.get(folder)
    if official is not None:
        message += f"; fetch it with: detkit download {official} --root {shlex.quote(str(root))}"
    return DatasetMissing(message)
