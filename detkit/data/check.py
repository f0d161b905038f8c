"""Checks a VOC data set as a whole: every fault with its place, and what each split holds."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b
from itertools import combinations
from pathlib import Path

import numpy as np

from detkit.data.faults import DatasetMissing, Fault, Severity
from detkit.data.images import ImageError, ImageHeader, read_header, read_image
from detkit.data.voc import VocImage, find_images, find_splits, list_split
from detkit.data.voc_xml import Annotation, parse_annotation

Progress = Callable[[Sequence[VocImage]], Iterable[VocImage]]

_MAX_EXAMPLES = 3


class Role(IntEnum):
    """What a split is for, by its name, in the order of use."""

    TRAIN = 0
    TRAINVAL = 1  # the union of train and val
    VAL = 2
    TEST = 3
    OTHER = 4  # nothing is known


@dataclass(frozen=True)
class CheckedImage:
    place: VocImage
    header: ImageHeader | None  # None: the image cannot be read
    digest: bytes  # of the image file
    annotation: Annotation
    faults: tuple[Fault, ...]  # those of the annotation included


@dataclass(frozen=True)
class Report:
    faults: tuple[Fault, ...]  # errors first
    splits: dict[str, tuple[CheckedImage, ...]]

    def count(self, severity: Severity) -> int:
        return sum(fault.severity is severity for fault in self.faults)

    @property
    def has_errors(self) -> bool:
        return self.count(Severity.ERROR) > 0

    def lines(self) -> Iterator[str]:
        """One line a fault, then what is in the splits, then one line for all."""
        for fault in self.faults:
            yield f"{fault.severity}: {fault}"
        yield from _describe_splits(self.splits)
        images = {image.place.image for members in self.splits.values() for image in members}
        errors, warnings = self.count(Severity.ERROR), self.count(Severity.WARNING)
        verdict = "training would stop: mend the errors" if errors else "training can start"
        yield f"{len(images):,} images, {len(self.splits)} splits: {errors:,} errors, {warnings:,} warnings; {verdict}"


def check_voc(root: Path, splits: Sequence[str], classes: Sequence[str] | None, progress: Progress) -> Report:
    """Read every file of the splits (all that are found if none is named); `progress` wraps the loop over the images.

    Raises DatasetMissing where the folder or a split is not there; all else is in the report.
    """
    if not root.is_dir():
        raise DatasetMissing(f"{root}: there is no such folder; name that of the data set")
    splits = splits or find_splits(root)
    if not splits:
        raise DatasetMissing(
            f"{root}: has no ImageSets/Main/*.txt, nor has a folder in it; name a folder in the shape of PASCAL VOC "
            "(Annotations, ImageSets, JPEGImages)"
        )
    members, faults = {}, []
    for split in splits:
        members[split], split_faults = list_split(root, split)
        faults += split_faults
        if not members[split] and not split_faults:
            faults.append(Fault(_split_file(root, split), "lists no images; add some or remove it"))
    places = {place.image: place for images in members.values() for place in images}
    checked = {place.image: check_image(place, classes) for place in progress(list(places.values()))}
    by_split = {split: tuple(checked[place.image] for place in images) for split, images in members.items()}

    faults += [fault for image in checked.values() for fault in image.faults]
    faults += _compare_splits(root, by_split)
    faults += _compare_classes(root, by_split)
    faults += _find_turned(root, checked.values())
    for folder in sorted({_folder(root, split) for split in splits}):
        faults += _find_unlisted(root, folder)
    order = list(Severity)
    return Report(tuple(sorted(dict.fromkeys(faults), key=lambda fault: order.index(fault.severity))), by_split)


def check_image(place: VocImage, classes: Sequence[str] | None) -> CheckedImage:
    """Decode the image and read its objects."""
    faults = []
    header, digest = None, b""
    try:
        header = read_header(place.image)
        read_image(place.image)
        digest = blake2b(place.image.read_bytes(), digest_size=16).digest()
    except ImageError as error:
        faults.append(Fault(place.image, str(error).removeprefix(f"{place.image}: ")))
    annotation = parse_annotation(place.annotation, header, classes)
    faults += [*annotation.faults, *_find_odd_boxes(place.annotation, annotation)]
    return CheckedImage(place, header, digest, annotation, tuple(faults))


def _find_odd_boxes(path: Path, annotation: Annotation) -> Iterator[Fault]:
    sizes = annotation.boxes[:, 2:] - annotation.boxes[:, :2]  # (M, 2) px
    for index in np.flatnonzero((sizes <= 1).any(axis=1)).tolist():
        width, height = sizes[index]
        message = f"is {width:g} x {height:g} px, is that meant?"
        yield Fault(path, message, Severity.WARNING, annotation.objects[index], "bndbox")
    first_of: dict[tuple[str, bytes], int] = {}
    for index, (name, box) in enumerate(zip(annotation.names, annotation.boxes, strict=True)):
        first = first_of.setdefault((name, box.tobytes()), index)
        if first != index:
            message = f"has the class and box of {annotation.objects[first]}; remove one"
            yield Fault(path, message, Severity.WARNING, annotation.objects[index], "bndbox")


def _compare_splits(root: Path, splits: dict[str, tuple[CheckedImage, ...]]) -> Iterator[Fault]:
    """Images that are in two splits which should have none in common, by name or by content."""
    from_train_to_test = sorted(splits.items(), key=lambda split: _role(split[0]))
    for (first, first_images), (second, second_images) in combinations(from_train_to_test, 2):
        if _may_overlap(first, second):
            continue
        paths = {image.place.image for image in first_images}
        shared = [image.place.image_id for image in second_images if image.place.image in paths]
        if shared:
            message = f"{len(shared):,} images are also in {first!r} ({_examples(shared)}); scores on them mean little"
            yield Fault(_split_file(root, second), message, Severity.WARNING)
        originals = {image.digest: image.place.image for image in first_images if image.digest}
        for image in second_images:
            original = originals.get(image.digest)
            if original is not None and image.place.image not in paths:
                message = f"in {second!r}: is byte for byte {original}, in {first!r}; remove one"
                yield Fault(image.place.image, message, Severity.WARNING)


def _may_overlap(first: str, second: str) -> bool:
    roles = {_role(first), _role(second)}
    return len(roles) == 1 or Role.OTHER in roles or (Role.TRAINVAL in roles and Role.TEST not in roles)


def _role(split: str) -> Role:
    name = split.rpartition("/")[2]
    if name.startswith("test"):
        return Role.TEST
    return Role[name.upper()] if name in ("train", "val", "trainval") else Role.OTHER


def _compare_classes(root: Path, splits: dict[str, tuple[CheckedImage, ...]]) -> Iterator[Fault]:
    counts = {split: _count_classes(images) for split, images in splits.items()}
    spellings = defaultdict(set)
    for name in {name for count in counts.values() for name in count}:
        spellings[name.casefold()].add(name)
    for names in sorted(sorted(names) for names in spellings.values() if len(names) > 1):
        yield Fault(root, f"the classes {', '.join(names)} differ only by case; are they one?", Severity.WARNING)

    tests = {split for split in splits if _role(split) is Role.TEST}
    known = {name for split, count in counts.items() if split not in tests for name in count}
    for split in sorted(tests) if known else []:
        new = sorted(set(counts[split]) - known)
        if new:
            message = f"has classes that no other split has: {', '.join(new)}; nothing can learn them"
            yield Fault(_split_file(root, split), message, Severity.WARNING)


def _find_turned(root: Path, images: Iterable[CheckedImage]) -> Iterator[Fault]:
    turned = [image.place.image_id for image in images if image.header and image.header.orientation != 1]
    if turned:
        message = f"{len(turned):,} images are turned by their EXIF orientation ({_examples(turned)}); boxes are taken "
        yield Fault(root, message + "to be drawn on the picture as viewers show it", Severity.INFO)


def _find_unlisted(root: Path, folder: Path) -> Iterator[Fault]:
    """Annotations without image, and files that are in no split at all."""
    annotations = {path.stem for path in (folder / "Annotations").glob("*.xml")}
    images = set(find_images(folder))
    siblings = [split for split in find_splits(root) if _folder(root, split) == folder]
    listed = {place.image_id for split in siblings for place in list_split(root, split)[0]}
    kinds = (
        (annotations - images, "Annotations", "have no image", Severity.WARNING),
        (images - annotations, "JPEGImages", "have no annotation", Severity.INFO),
        ((annotations & images) - listed, "JPEGImages", "are in no split", Severity.INFO),
    )
    for ids, place, what, severity in kinds:
        if ids:
            yield Fault(folder / place, f"{len(ids):,} files {what}: {_examples(sorted(ids))}", severity)


def _describe_splits(splits: dict[str, tuple[CheckedImage, ...]]) -> Iterator[str]:
    counts = {split: _count_classes(images) for split, images in splits.items()}
    for split, images in splits.items():
        empty = sum(not image.annotation.names for image in images)
        difficult = sum(int(image.annotation.difficult.sum()) for image in images)
        yield (
            f"{split}: {len(images):,} images{_describe_sizes(images)} ({empty:,} without objects), "
            f"{counts[split].total():,} objects ({difficult:,} difficult)"
        )
    names = sorted({name for count in counts.values() for name in count})
    first = max(len(name) for name in ["class", *names])
    widths = {split: max(len(split), 9) for split in splits}
    yield "  ".join([f"{'class':{first}}", *(f"{split:>{widths[split]}}" for split in splits)])
    for name in names:
        yield "  ".join([f"{name:{first}}", *(f"{counts[split][name]:{widths[split]},}" for split in splits)])


def _describe_sizes(images: Iterable[CheckedImage]) -> str:
    sizes = np.array([image.header.size for image in images if image.header])
    if not len(sizes):
        return ""
    (low_height, low_width), (high_height, high_width) = sizes.min(axis=0), sizes.max(axis=0)
    if (low_height, low_width) == (high_height, high_width):
        return f" of {low_width} x {low_height} px"
    return f" of {low_width}-{high_width} x {low_height}-{high_height} px"


def _count_classes(images: Iterable[CheckedImage]) -> Counter[str]:
    return Counter(name for image in images for name in image.annotation.names)


def _examples(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _MAX_EXAMPLES else ""
    return ", ".join(names[:_MAX_EXAMPLES]) + more


def _folder(root: Path, split: str) -> Path:
    return root / split.rpartition("/")[0]


def _split_file(root: Path, split: str) -> Path:
    return _folder(root, split) / "ImageSets" / "Main" / f"{split.rpartition('/')[2]}.txt"
