"""Which detection finds which object by COCO's rules, and COCO's average precision: what the error analyses share.

Notation: K detections and M objects of all images, C classes, P pairs of a detection and an object of its image.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from detkit.data.ground_truth import Bools, Floats, GroundTruth, Ints
from detkit.evaluation.asked_detections import is_asked
from detkit.evaluation.rows import Rows, gather_detections, ranks
from detkit.structures import Detections

RECALLS = np.linspace(0.0, 1.0, 101)  # where COCO reads off the precision
AT_ONCE = 1 << 15  # detections whose pairs are measured together: tens of MB


@dataclass(frozen=True, eq=False)
class Pairs:
    """Detections and objects that overlap, in the order of the detections, then of the objects."""

    detection: Ints  # (P,) row of the table of detections
    object: Ints  # (P,) row of the ground truth's objects
    overlap: Floats  # (P,) IoU; with a crowd the share of the detection that lies inside it

    def __len__(self) -> int:
        return len(self.detection)

    def __getitem__(self, rows: "Ints | Bools") -> "Pairs":
        return Pairs(self.detection[rows], self.object[rows], self.overlap[rows])

    def best(self, num_detections: int) -> tuple[Ints, Floats]:
        """(K,) the object each detection overlaps most, the first of equals or -1 for none, and (K,) that overlap."""
        order = np.lexsort((-self.overlap, self.detection))
        detection, first = np.unique(self.detection[order], return_index=True)
        objects, overlaps = np.full(num_detections, -1, dtype=np.int64), np.zeros(num_detections)
        objects[detection] = self.object[order[first]]
        overlaps[detection] = self.overlap[order[first]]
        return objects, overlaps


def best_detections(detections: Mapping[str, Detections] | Rows, truth: GroundTruth) -> Rows:
    """All detections, best score first over all images, equal scores as in COCO's own matching: by the number of the
    image, and within an image and class in the order of the detections.

    Classes come before that order, so that files of each class say the same as detections in memory. Where the truth
    is federated, they are those that it is asked about alone. Raises ValueError for an unknown image id, a value that
    is not finite and a label that is no class.
    """
    found = gather_detections(detections, truth.image_ids, len(truth.classes))
    if truth.federated is not None:
        found = found[is_asked(found.image_index, found.labels, found.scores, truth)]
    numbers = np.array(truth.image_numbers, dtype=np.int64)[found.image_index]
    return found[np.lexsort((found.labels, numbers, -found.scores))]  # stable


def among_first(group: Ints, limit: int) -> Bools:
    """(K,) True for the first `limit` rows of each group."""
    order = np.argsort(group, kind="stable")
    _, counts = np.unique(group, return_counts=True)
    chosen = np.zeros(len(group), dtype=np.bool_)
    chosen[order] = ranks(counts) < limit
    return chosen


def overlapping(found: Rows, truth: GroundTruth) -> Pairs:
    """All pairs of a detection and an object of its image that have an area in common."""
    boxes, crowd, starts = truth.objects.boxes, truth.objects.crowd, truth.starts
    parts = [Pairs(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0))]
    for begin in range(0, len(found), AT_ONCE):
        images = found.image_index[begin : begin + AT_ONCE]
        counts = truth.counts[images]
        detection = np.repeat(np.arange(begin, begin + len(images)), counts)
        candidate = np.repeat(starts[images], counts) + ranks(counts)
        overlap = _overlap(found.boxes[detection], boxes[candidate], crowd[candidate])
        parts.append(Pairs(detection, candidate, overlap)[overlap > 0])
    return Pairs(
        np.concatenate([part.detection for part in parts]),
        np.concatenate([part.object for part in parts]),
        np.concatenate([part.overlap for part in parts]),
    )


def _overlap(found: Floats, objects: Floats, is_crowd: Bools) -> Floats:
    """(P, 4), (P, 4), (P,) -> (P,)"""
    common = np.minimum(found[:, 2:], objects[:, 2:]) - np.maximum(found[:, :2], objects[:, :2])
    intersection: Floats = common.clip(min=0).prod(axis=1)
    area_found = (found[:, 2:] - found[:, :2]).prod(axis=1)
    union = area_found + (objects[:, 2:] - objects[:, :2]).prod(axis=1) - intersection
    whole = np.where(is_crowd, area_found, union)
    return intersection / np.where(intersection > 0, whole, 1.0)  # a box turned inside out meets nothing


def match(pairs: Pairs, num_detections: int, last: Bools, shared: Bools) -> Ints:
    """(K,) the object that each detection takes, -1 for none: each in turn the free one it overlaps most.

    Of equal overlaps it is the last object. `last` (M,) marks objects that are taken only where no other is free,
    `shared` (M,) those that are never used up: COCO prefers objects that count, and a crowd holds any number of
    detections.
    """
    order = np.lexsort((-pairs.object, -pairs.overlap, last[pairs.object], pairs.detection))
    taken_by_detection = [-1] * num_detections
    is_free = [True] * len(last)
    is_shared = shared.tolist()
    for detection, candidate in zip(pairs.detection[order].tolist(), pairs.object[order].tolist(), strict=True):
        if taken_by_detection[detection] < 0 and is_free[candidate]:
            taken_by_detection[detection] = candidate
            is_free[candidate] = is_shared[candidate]
    return np.array(taken_by_detection, dtype=np.int64)


def coco_ap(is_tp: Bools, num_objects: int) -> float:
    """AP at 101 recalls of the judged detections of one class, best first (K,), with at least one object to find."""
    if len(is_tp) == 0:
        return 0.0
    hits = np.cumsum(is_tp)
    precision = hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]  # the best precision at this recall or a higher one
    first = np.searchsorted(hits / num_objects, RECALLS)  # the first detection that reaches the recall; K if none does
    return float(np.append(envelope, 0.0)[first].mean())
