"""Checks a data set as a whole: every fault with its place, and what each split holds."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from detkit.data.faults import Fault, Severity
from detkit.data.formats.class_names import checked_classes
from detkit.data.formats.forms import Form, parse_split
from detkit.data.formats.opening import SplitReader
from detkit.data.formats.read_split import ReadSplit
from detkit.data.formats.units import OTHER_UNITS
from detkit.data.formats.voc import list_split
from detkit.data.formats.voc_layout import XML, files_by_id, find_places
from detkit.data.io.images import SUFFIXES
from detkit.data.validation.asked_classes import compare_with_asked
from detkit.data.validation.check_report import CheckReport, in_order
from detkit.data.validation.checked_images import CheckedImage, CheckedImages, check_images, keys_of
from detkit.data.validation.compare_splits import (
    compare_classes,
    examples,
    find_near,
    find_shared,
    group_images,
    near_fault,
)
from detkit.data.validation.suspicious_boxes import find_suspicious_boxes


def check_data(reader: SplitReader, splits: Sequence[str], classes: Sequence[str] | None) -> CheckReport:
    """Read every file of the splits, all that are found if none is named; `classes` are those asked for, None for all.

    Objects of classes that are not asked for are counted in one line, and are in the report's splits all the same. Of a
    part, such as "all[:80%]", the whole split is checked. Raises DatasetMissing where a split is not there, and
    ValueError for a class named twice and a broken file of YOLO's class names; all else is in the report.
    """
    form = reader.form
    names = tuple(dict.fromkeys(parse_split(split)[0] for split in splits)) or form.splits
    held = reader.read(names)
    images = check_images(held)
    groups = group_images(form, held, images)
    near = find_near(groups)

    unreadable = tuple(image.fault for image in images.values() if image.fault is not None)
    faults = [*form.faults, *(fault for split in held for fault in split.faults), *unreadable]
    for split in held:
        if not any(fault.summary == OTHER_UNITS for fault in split.faults):  # all boxes would be
            faults += find_suspicious_boxes(split)
    faults += find_shared(groups)
    faults += map(near_fault, near)
    faults += compare_classes(form.root, held)
    if classes is not None:
        faults += compare_with_asked(form.root, held, checked_classes(classes))
    faults += _find_turned(form, held, images)
    if form.kind == "voc":
        faults += _find_unlisted(form.root, names)
    can_train = not any(fault.severity is Severity.ERROR for fault in faults)
    return CheckReport(
        form, in_order(faults), {split.name: split for split in held}, tuple(near), unreadable, can_train
    )


def _find_turned(form: Form, splits: Sequence[ReadSplit], images: CheckedImages) -> Iterator[Fault]:
    turned: dict[bool, dict[str, None]] = {True: {}, False: {}}  # ids, by whether the turn is undone
    for split in splits:
        for key, image_id in zip(keys_of(split), split.truth.image_ids, strict=True):
            image = images.get(key)
            if image is not None and image.is_turned:
                turned[_is_read_upright(image, key[1])][image_id] = None
    said = {
        True: "are turned by their EXIF orientation ({}); boxes are taken to be drawn on images as viewers show them",
        False: "have an EXIF orientation ({}) that is not followed, as they are annotated in the size of the file",
    }
    for is_upright, ids in turned.items():
        if ids:
            message = f"{len(ids):,} images {said[is_upright].format(examples(list(ids)))}"
            yield Fault(form.root, message, Severity.INFO)


def _is_read_upright(image: CheckedImage, size: tuple[int, int]) -> bool:
    return image.header is not None and size == image.header.size


def _find_unlisted(root: Path, splits: Sequence[str]) -> Iterator[Fault]:
    """Annotations without image, and files that are in no split at all. Of a set without lists all are in one."""
    places = find_places(root)
    for images_in, annotations_in in sorted({(places[name].images, places[name].annotations) for name in splits}):
        siblings = [name for name, place in places.items() if place.images == images_in]
        if any(places[name].listing is None for name in siblings):
            continue
        annotations, files = files_by_id(annotations_in, XML).keys(), files_by_id(images_in, SUFFIXES)
        images = files.keys()
        listed = {image.image for name in siblings for image in list_split(root, name)[0]}
        unlisted = {one for one, paths in files.items() if paths[0] not in listed}
        kinds = (
            (annotations - images, annotations_in, "have no image", Severity.WARNING),
            (images - annotations, images_in, "have no annotation", Severity.INFO),
            ((annotations & images) & unlisted, images_in, "are in no split", Severity.INFO),
        )
        for ids, place, what, severity in kinds:
            if ids:
                yield Fault(place, f"{len(ids):,} files {what}: {examples(sorted(ids))}", severity)
