"""Several splits taken as one data set. An image is known by its file: ids are unique within a split only.

Tools count images from 0 in each file of a split, and cameras name theirs 000001.jpg in each folder.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from detkit.data.faults import LISTED_TWICE, Fault, Severity
from detkit.data.formats.joined import new_labels, stacked, with_images, with_labels
from detkit.data.formats.listing import one_word
from detkit.data.formats.read_split import ReadSplit
from detkit.data.ground_truth import Bools, GroundTruth, image_numbers
from detkit.data.io.files import real_path


def numbered_classes(splits: Sequence[ReadSplit]) -> dict[str, int]:
    """The classes of all splits in the order they come in, and their numbers.

    A class is known by its name. Where splits have two numbers for it the first counts; one that is taken by another
    class gets the next that is free.
    """
    known: dict[str, int] = {}
    waiting = []
    for split in splits:
        for name, number in zip(split.truth.classes, split.truth.category_numbers, strict=True):
            if name not in known and number not in known.values():
                known[name] = number
            elif name not in known:
                waiting.append(name)
    for name in dict.fromkeys(waiting):
        known.setdefault(name, max(known.values()) + 1)
    return known


def under_classes(split: ReadSplit, classes: Sequence[str], numbers: Sequence[int]) -> ReadSplit:
    """The same objects with labels in `classes`, which has all names of the objects."""
    labels = new_labels(split.truth.classes, classes)
    return replace(split, truth=with_labels(split.truth, classes, numbers, labels))


def merged(
    splits: Sequence[ReadSplit], kept: Sequence[Bools], states_numbers: bool
) -> tuple[GroundTruth, list[Path], list[Fault]]:
    """The images of splits with equal classes for which `kept` (N,) of each says so, each file once; what is wrong.

    Where images of two splits have one id, all that have it get the name of their split before it: train_0. Where
    numbers are in several splits, or none are stated, all images are numbered anew.
    """
    faults: list[Fault] = []
    keeps = _first_of_each(splits, kept, faults)
    truth = stacked([with_images(split.truth, keep) for split, keep in zip(splits, keeps, strict=True)])
    of_split = [one_word(split.name) for split, keep in zip(splits, keeps, strict=True) for _ in range(keep.sum())]
    ids = _unique(truth.image_ids, of_split)
    numbers = truth.image_numbers
    if not states_numbers or len(set(numbers)) < len(numbers):
        numbers = tuple(range(1, len(ids) + 1)) if states_numbers else image_numbers(ids)
    paths = [
        path
        for split, keep in zip(splits, keeps, strict=True)
        for path, is_kept in zip(split.paths, keep.tolist(), strict=True)
        if is_kept
    ]
    return replace(truth, image_ids=ids, image_numbers=numbers), paths, faults


def _first_of_each(splits: Sequence[ReadSplit], kept: Sequence[Bools], faults: list[Fault]) -> list[Bools]:
    """`kept` without images that an earlier split has; one that has other objects there is an error."""
    first_of: dict[str, tuple[ReadSplit, bytes]] = {}  # by file
    keeps = []
    for split, keep in zip(splits, kept, strict=True):
        keep = keep.copy()
        for index, content in enumerate(_contents(split.truth)):
            if not keep[index]:
                continue
            first, first_content = first_of.setdefault(real_path(split.paths[index]), (split, content))
            if first is split:
                continue
            keep[index] = False
            place = f"image {split.paths[index]}"
            if content != first_content:
                looked_for = "" if split.truth.federated is None else ", or other classes that were looked for,"
                message = f"has other objects{looked_for} than in {first.name!r} ({first.file}); keep one of the two"
                faults.append(Fault(split.file, message, object=place))
            else:
                message = f"is also in {first.name!r} ({first.file})"
                faults.append(Fault(split.file, message, Severity.WARNING, place, summary=LISTED_TWICE))
        keeps.append(keep)
    return keeps


def _contents(truth: GroundTruth) -> Iterator[bytes]:
    """All that is stated of the objects of each image, and of the classes that were looked for."""
    objects = truth.objects
    marks = (objects.ignore, objects.crowd, objects.truncated)
    table = np.column_stack([objects.labels, objects.xywh, objects.area, *marks])  # (M, 9) float64
    federated = truth.federated
    for image, (end, count) in enumerate(zip(np.cumsum(truth.counts).tolist(), truth.counts.tolist(), strict=True)):
        known = b"" if federated is None else federated.checked[image].tobytes() + federated.partial[image].tobytes()
        yield known + table[end - count : end].tobytes()


def _unique(ids: Sequence[str], of_split: Sequence[str]) -> tuple[str, ...]:
    """The ids, those that images of several splits have with the split's name before them."""
    splits_of = defaultdict(set)
    for image_id, split in zip(ids, of_split, strict=True):
        splits_of[image_id].add(split)
    named = [
        f"{split}_{image_id}" if len(splits_of[image_id]) > 1 else image_id
        for image_id, split in zip(ids, of_split, strict=True)
    ]
    taken: set[str] = set()
    for index, name in enumerate(named):
        number = 1
        while named[index] in taken:
            number += 1
            named[index] = f"{name}_{number}"
        taken.add(named[index])
    return tuple(named)
