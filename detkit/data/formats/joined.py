"""Data sets brought under the same class names, and several taken as one."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, count

import numpy as np

from detkit.data.federated import stacked_federated
from detkit.data.formats.class_names import checked_classes, unknown_name
from detkit.data.formats.listed import ListedDataset
from detkit.data.ground_truth import Bools, GroundTruth, Ints, Objects


def relabelled(
    dataset: ListedDataset, classes: Sequence[str], rename: Mapping[str, str], drop_others: bool
) -> ListedDataset:
    """The data set with labels in `classes`: its names are first changed by `rename`, then looked up.

    Names in `rename` that the data set lacks do nothing. Objects of other classes are left out if `drop_others`; their
    images stay. Raises ValueError for a new name that is not in `classes`, and for an object of another class if
    not `drop_others`.
    """
    truth, classes = dataset.ground_truth(), checked_classes(classes)
    for old, new in rename.items():
        if new not in classes:
            raise ValueError(f"rename: {old!r} becomes {new!r}; {unknown_name(new, classes)}")
    names = [rename.get(name, name) for name in truth.classes]
    if not drop_others:
        for label in np.unique(truth.objects.labels).tolist():
            if names[label] not in classes:
                message = f"{unknown_name(names[label], classes)}, rename it, or leave out objects of other classes"
                raise ValueError(f"objects of {truth.classes[label]!r}: {message}")
    numbers = category_numbers(classes, dict(zip(reversed(names), reversed(truth.category_numbers), strict=True)))
    return ListedDataset(with_labels(truth, classes, numbers, new_labels(names, classes)), dataset.paths)


def join(parts: Mapping[str, ListedDataset]) -> ListedDataset:
    """All images of data sets with equal classes, which stay in the order of the parts.

    An id that several parts have gets the name of its part before it ("coco_12"); where a number is in several parts,
    all images are numbered from 1 on. Raises ValueError where classes differ or ids remain equal.
    """
    if not parts:
        raise ValueError("there are no data sets to join; name at least one")
    truths = {name: dataset.ground_truth() for name, dataset in parts.items()}
    first_name, first = next(iter(truths.items()))
    for name, truth in truths.items():
        if truth.classes != first.classes:
            known, other = list(first.classes), list(truth.classes)
            raise ValueError(
                f"classes differ: {first_name} has {known}, {name} has {other}; give both the same classes"
            )
    uses = Counter(chain.from_iterable(truth.image_ids for truth in truths.values()))
    ids = [
        f"{name}_{image_id}" if uses[image_id] > 1 else image_id
        for name, truth in truths.items()
        for image_id in truth.image_ids
    ]
    image_id, times = Counter(ids).most_common(1)[0] if ids else ("", 1)
    if times > 1:
        raise ValueError(f"image id {image_id!r} is there {times} times in {list(parts)}; give the parts other names")
    joined = stacked(list(truths.values()))
    numbers = joined.image_numbers
    if len(set(numbers)) < len(numbers):
        numbers = tuple(range(1, len(numbers) + 1))
    paths = [path for dataset in parts.values() for path in dataset.paths]
    return ListedDataset(replace(joined, image_ids=tuple(ids), image_numbers=numbers), paths)


def new_labels(names: Sequence[str], classes: Sequence[str]) -> Ints:
    """(L,) the label in `classes` of each name, -1 where it is not there."""
    label_of = {name: label for label, name in enumerate(classes)}
    return np.array([label_of.get(name, -1) for name in names], dtype=np.int64)


def category_numbers(classes: Sequence[str], known: Mapping[str, int]) -> tuple[int, ...]:
    """The number of each class: the one that is known, else the next free one above them."""
    used = {known[name] for name in classes if name in known}
    free = count(max(used | {0}) + 1)
    return tuple(known[name] if name in known else next(free) for name in classes)


def with_labels(truth: GroundTruth, classes: Sequence[str], numbers: Sequence[int], labels: Ints) -> GroundTruth:
    """Under other classes: label i becomes labels[i], and objects for which that is -1 are left out."""
    found = labels[truth.objects.labels]
    kept = found >= 0
    rest = truth.objects.rows(kept)
    objects = Objects(found[kept], rest.xywh, rest.area, rest.ignore, rest.truncated, rest.crowd)
    images = truth.image_index[kept]
    return GroundTruth(
        tuple(classes),
        truth.image_ids,
        truth.sizes,
        objects,
        np.bincount(images, minlength=len(truth)).astype(np.int64),
        tuple(numbers),
        truth.image_numbers,
        truth.federated and truth.federated.under(labels, len(classes), images, objects.labels),
    )


def with_images(truth: GroundTruth, keep: Bools) -> GroundTruth:
    """The images for which `keep` (N,) says so, with their objects."""
    rows = np.flatnonzero(keep).tolist()
    return GroundTruth(
        truth.classes,
        tuple(truth.image_ids[row] for row in rows),
        truth.sizes[keep],
        truth.objects.rows(keep[truth.image_index]),
        truth.counts[keep],
        truth.category_numbers,
        tuple(truth.image_numbers[row] for row in rows),
        truth.federated and truth.federated.rows(keep),
    )


def stacked(parts: Sequence[GroundTruth]) -> GroundTruth:
    """One after the other, under the classes of the first; ids and numbers of images must differ."""
    return GroundTruth(
        parts[0].classes,
        tuple(image_id for part in parts for image_id in part.image_ids),
        np.concatenate([part.sizes for part in parts]),
        Objects.joined([part.objects for part in parts]),
        np.concatenate([part.counts for part in parts]),
        parts[0].category_numbers,
        tuple(number for part in parts for number in part.image_numbers),
        stacked_federated([part.federated for part in parts], [len(part) for part in parts], len(parts[0].classes)),
    )
