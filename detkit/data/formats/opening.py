"""A data set of any form opened: its splits read, its faults told, its images taken as one list."""

from collections.abc import Iterator, Sequence

import numpy as np

from detkit.data.faults import Fault, OnWarning, Severity, log_warning, raise_first_error, tell_warnings
from detkit.data.formats.class_names import checked_classes, unknown_name
from detkit.data.formats.coco import read_coco_split
from detkit.data.formats.forms import Form, SplitPart, parse_split
from detkit.data.formats.joined import category_numbers
from detkit.data.formats.listed import ListedDataset
from detkit.data.formats.merging import merged, numbered_classes, under_classes
from detkit.data.formats.read_split import ReadSplit
from detkit.data.formats.voc import read_voc_splits
from detkit.data.formats.yolo import read_yolo_split
from detkit.data.ground_truth import Bools


def read_splits(form: Form, splits: Sequence[str], need_images: bool = True) -> tuple[ReadSplit, ...]:
    """Read splits, each once, under the same classes, whatever is wrong with them.

    Without `need_images` those of COCO's form may be missing: scoring needs none. Raises DatasetMissing where a split
    is not there, ValueError where a file that names the classes is broken.
    """
    match form.kind:
        case "voc":
            found = read_voc_splits(form.root, splits)
        case "coco":
            found = [read_coco_split(form.root, split, need_images) for split in splits]
        case "yolo":
            found = [read_yolo_split(form.root, split) for split in splits]
    known = numbered_classes(found)
    match form.kind:  # whether the files state numbers or an order
        case "coco":
            names = sorted(known, key=lambda name: known[name])
        case "yolo":
            names, known = list(known), {}
        case _:
            names, known = sorted(known), {}
    numbers = category_numbers(names, known)
    return tuple(under_classes(split, names, numbers) for split in found)


def open_form(
    form: Form,
    splits: Sequence[str],
    classes: Sequence[str] | None,
    on_warning: OnWarning = log_warning,
    need_images: bool = True,
) -> ListedDataset:
    """The images of splits, of which some may be parts. Without `classes`, they are those of the whole splits.

    Raises FaultError for the first fault that is an error, DatasetMissing and ValueError as read_splits does, and
    ValueError for splits or parts without images and for splits without classes. Each kind of warning is told once,
    with its number and the first example.
    """
    named = [parse_split(split) for split in dict.fromkeys(splits)]
    read = read_splits(form, list(dict.fromkeys(name for name, _ in named)), need_images)
    faults = [fault for split in read for fault in split.faults]
    raise_first_error(faults, form.root)
    if not any(len(split.truth) for split in read):
        raise ValueError(f"{form.root}: the splits {list(splits)} list no images; name a split that does")
    if classes is not None:
        names = checked_classes(classes)
        raise_first_error(unknown_classes(read, names), form.root)
        numbers = category_numbers(names, dict(zip(read[0].truth.classes, read[0].truth.category_numbers)))
        read = tuple(under_classes(split, names, numbers) for split in read)
    elif not read[0].truth.classes:
        raise ValueError(f"{form.root}: the splits {list(splits)} have no objects, so no classes; name the classes")
    kept = [_kept(split, [part for name, part in named if name == split.name]) for split in read]
    if not any(keep.any() for keep in kept):
        total = sum(len(split.truth) for split in read)
        raise ValueError(f"{form.root}: {list(splits)} has none of {total} images; name another part")
    truth, paths, merge_faults = merged(read, kept, states_numbers=form.kind == "coco")
    raise_first_error(merge_faults, form.root)
    warnings = [fault for fault in (*faults, *merge_faults) if fault.severity is Severity.WARNING]
    tell_warnings(dict.fromkeys(warnings), form.root, on_warning)
    return ListedDataset(truth, paths)


def unknown_classes(splits: Sequence[ReadSplit], classes: Sequence[str]) -> Iterator[Fault]:
    """An error for each class of objects that is not among `classes`, at its first object."""
    told: set[str] = set()
    for split in splits:
        labels, rows = np.unique(split.truth.objects.labels, return_index=True)
        for label, row in zip(labels.tolist(), rows.tolist(), strict=True):
            name = split.truth.classes[label]
            if name not in classes and name not in told:
                told.add(name)
                place = split.annotation_of(row)
                yield Fault(place, unknown_name(name, classes), object=split.name_object(row), field=split.class_field)


def _kept(split: ReadSplit, parts: Sequence[SplitPart]) -> Bools:
    """(N,) which images are in any of the parts."""
    return np.array([any(image_id in part for part in parts) for image_id in split.truth.image_ids], dtype=np.bool_)
