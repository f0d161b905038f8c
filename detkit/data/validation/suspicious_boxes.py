"""Boxes that are no error and yet seldom meant: a pixel wide, or there twice."""

from collections.abc import Iterator

import numpy as np

from detkit.data.faults import Fault
from detkit.data.formats.read_split import ReadSplit
from detkit.data.ground_truth import GroundTruth, Ints

SMALLEST = 1.0  # px

TINY = "boxes are 1 px or less wide or high"
REPEATED = "objects have the class and box of another in their image"


def find_suspicious_boxes(split: ReadSplit) -> Iterator[Fault]:
    """Warnings. Boxes without area are told of where they are read."""
    sides = split.truth.objects.xywh[:, 2:]  # (M, 2) px
    for row in np.flatnonzero((sides <= SMALLEST).any(axis=1) & (sides > 0).all(axis=1)).tolist():
        width, height = sides[row].tolist()
        yield split.object_fault(row, f"is {width:g} x {height:g} px, is that meant?", TINY)
    for row, first in repeated_objects(split.truth).tolist():
        message = f"has the class and box of {split.name_object(first)}; remove one"
        yield split.object_fault(row, message, REPEATED)


def repeated_objects(truth: GroundTruth) -> Ints:
    """(K, 2) rows of objects that an earlier one of their image equals in class and box, and the first such row."""
    objects = truth.objects
    table = np.column_stack([truth.image_index, objects.labels, objects.xywh])  # (M, 6)
    order = np.lexsort(table.T[::-1])  # stable: the first of equals leads
    is_new = np.ones(len(order), dtype=np.bool_)
    is_new[1:] = (table[order[1:]] != table[order[:-1]]).any(axis=1)
    leader = np.maximum.accumulate(np.where(is_new, np.arange(len(order)), 0)) if len(order) else order
    pairs = np.column_stack([order, order[leader]])[~is_new]
    return pairs[np.argsort(pairs[:, 0])]
