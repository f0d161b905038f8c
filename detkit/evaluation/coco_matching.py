"""COCO's matching of detections with objects, for every IoU threshold at once, and average precision from it.

The same rules as the official code (COCOeval.evaluateImg and accumulate), in a table that curves, resampling and
breakdowns of errors are computed from without matching again.

Notation: T IoU thresholds, K detections that count, C classes, N images, R recalls.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detkit.data.ground_truth import Bools, Floats, GroundTruth, Ints
from detkit.evaluation.asked_detections import MAX_DETECTIONS as LVIS_DETECTIONS
from detkit.evaluation.asked_detections import is_asked, is_excused
from detkit.evaluation.coco_files import ResultRows
from detkit.evaluation.rows import Rows
from detkit.evaluation.voc import Outcome
from detkit.ops.compiled import compiled
from detkit.structures import Detections

IOUS = tuple(np.linspace(0.5, 0.95, 10).tolist())  # the official code's own floats
RECALLS = np.linspace(0, 1, 101)
ALL_AREAS = (0.0, 1e5**2)  # px: larger objects are left out
SMALL, MEDIUM, LARGE = (0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e5**2)
MAX_DETECTIONS = 100  # of an image and class
BELOW_ONE = 1 - 1e-10  # an IoU of this much is one of 1
FP, TP = int(Outcome.FP), int(Outcome.TP)  # for compiled code
EPSILON = float(np.spacing(1))  # in the official code's denominator of precision


@dataclass(frozen=True, eq=False)
class Matches:
    """The detections that count, class after class, best first in each; equal scores by the images' numbers."""

    labels: Ints  # (K,) ascending
    image_index: Ints  # (K,) into truth.image_ids
    rank: Ints  # (K,) row in that image's detections
    scores: Floats  # (K,)
    object_index: Ints  # (T, K) row of truth.objects that is found; -1: none
    ignored: Bools  # (T, K) neither hit nor miss: found an ignored object; or none, and is excused or of another size
    num_objects: Ints  # (C, N) to be found, of each class in each image

    @property
    def outcome(self) -> npt.NDArray[np.int8]:
        """(T, K) values of Outcome."""
        found = np.where(self.object_index >= 0, np.int8(Outcome.TP), np.int8(Outcome.FP))
        return np.where(self.ignored, np.int8(Outcome.IGNORED), found)

    @property
    def class_ends(self) -> Ints:
        """(C + 1,) 0 and the row behind the last of each class."""
        return np.append(0, np.cumsum(np.bincount(self.labels, minlength=len(self.num_objects))))


def match_coco(
    detections: Mapping[str, Detections] | Rows | ResultRows,
    truth: GroundTruth,
    areas: tuple[float, float] = ALL_AREAS,
    max_detections: int = MAX_DETECTIONS,
) -> Matches:
    """Matches detections with objects of their class by the rules of COCO.

    In each image the best detection chooses first: the object not yet taken that it overlaps most, the last of
    equals, with IoU >= threshold, and one that is ignored only if no other will do. Ignored are those marked as such
    and those with an area outside `areas` (px, of the outline), with the detections of such boxes that find nothing.
    Any number of detections may choose a crowd, and the overlap is measured against the detection's area alone; any
    other ignored object, such as VOC's difficult, is chosen once, by IoU. Where the truth is federated,
    asked_detections.py says which detections count, in place of `max_detections`. Raises ValueError as ResultRows.of
    does.
    """
    rows, objects = ResultRows.of(detections, truth), truth.objects
    if truth.federated is not None:
        rows, max_detections = rows[is_asked(rows.image_index, rows.labels, rows.scores, truth)], LVIS_DETECTIONS
    # Groups are in the order of the images' numbers: the official code goes through them in that order.
    position = np.argsort(np.argsort(np.array(truth.image_numbers, dtype=np.int64)))
    row_group = position[rows.image_index] * len(truth.classes) + rows.labels
    object_group = position[truth.image_index] * len(truth.classes) + objects.labels
    ignored = objects.ignore | (objects.area < areas[0]) | (objects.area > areas[1])

    best = _best_of_groups(row_group, rows.scores, max_detections)
    by_group = np.lexsort((ignored, object_group))  # stable
    found = np.full((len(IOUS), len(best)), -1, dtype=np.int64)
    _match_groups(
        _group_limits(row_group[best], object_group[by_group]),
        rows.xywh[best],
        objects.xywh[by_group],
        objects.crowd[by_group],
        ignored[by_group],
        np.minimum(IOUS, BELOW_ONE),
        found,
    )
    order = np.lexsort((-rows.scores[best], rows.labels[best]))  # stable: equal scores stay by image
    chosen = best[order]
    object_index = np.append(by_group, -1)[found[:, order]]  # row -1, no object, reads the -1 behind the last
    area = rows.xywh[chosen, 2:].prod(axis=1)
    is_excused_here = is_excused(rows.image_index[chosen], rows.labels[chosen], truth)
    lost = (object_index < 0) & ((area < areas[0]) | (area > areas[1]) | is_excused_here)
    return Matches(
        rows.labels[chosen],
        rows.image_index[chosen],
        rows.rank[chosen],
        rows.scores[chosen],
        object_index,
        lost | np.append(ignored, False)[object_index],
        _count_objects(truth, ~ignored),
    )


def average_precision_coco(matches: Matches) -> Floats:
    """AP of each threshold and class: (T, C); NaN for a class without objects."""
    ap: Floats = precision_at_recalls(matches).mean(axis=1)
    return ap


def precision_at_recalls(matches: Matches) -> Floats:
    """The best precision at each recall of RECALLS or a higher one: (T, R, C); NaN for a class without objects."""
    once = np.ones(len(matches.labels), dtype=np.int64)
    return weighted_precision(matches.outcome, once, matches.class_ends, matches.num_objects.sum(axis=1))


def weighted_precision(outcome: npt.NDArray[np.int8], weights: Ints, class_ends: Ints, num_objects: Ints) -> Floats:
    """precision_at_recalls (T, R, C) where detection k counts weights[k] times, among num_objects (C,) to be found."""
    precision = np.full((len(outcome), len(RECALLS), len(num_objects)), np.nan)
    _weighted_precision(outcome, weights, class_ends, num_objects, RECALLS, precision)
    return precision


def _best_of_groups(group: Ints, scores: Floats, max_detections: int) -> Ints:
    """Rows of the best detections of each group, group after group, best first; equal scores in their order."""
    order = np.lexsort((-scores, group))
    _, starts, counts = np.unique(group[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(starts, counts)
    return order[rank < max_detections]


def _group_limits(row_group: Ints, object_group: Ints) -> Ints:
    """(G, 4) first row and end of the detections, first and end of the objects, of each group with detections."""
    groups, starts, counts = np.unique(row_group, return_index=True, return_counts=True)
    firsts, ends = (np.searchsorted(object_group, groups, side=side) for side in ("left", "right"))
    return np.column_stack([starts, starts + counts, firsts, ends]).astype(np.int64)


def _count_objects(truth: GroundTruth, counted: Bools) -> Ints:
    """(C, N) of the objects `counted` (M,)."""
    numbers = np.zeros((len(truth.classes), len(truth)), dtype=np.int64)
    np.add.at(numbers, (truth.objects.labels[counted], truth.image_index[counted]), 1)
    return numbers


@compiled
def _match_groups(
    limits: Ints, boxes: Floats, objects: Floats, crowd: Bools, ignored: Bools, min_ious: Floats, found: Ints
) -> None:
    """Writes the object row that each detection finds at each threshold into `found` (T, K), which holds -1."""
    for group in range(len(limits)):
        first, end, first_object, end_object = limits[group]
        overlaps = np.empty((end - first, end_object - first_object))
        for row in range(first, end):
            for other in range(first_object, end_object):
                overlaps[row - first, other - first_object] = _overlap(boxes[row], objects[other], crowd[other])
        for threshold in range(len(min_ious)):
            taken = np.zeros(end_object - first_object, dtype=np.bool_)
            for row in range(first, end):
                best, best_overlap = -1, min_ious[threshold]
                for other in range(first_object, end_object):
                    if ignored[other] and best >= 0 and not ignored[best]:
                        break  # the ignored ones stand last
                    overlap = overlaps[row - first, other - first_object]
                    if overlap >= best_overlap and (crowd[other] or not taken[other - first_object]):
                        best, best_overlap = other, overlap
                if best >= 0:
                    taken[best - first_object] = True
                    found[threshold, row] = best


@compiled
def _overlap(box: Floats, other: Floats, crowd: bool) -> float:
    """IoU of two boxes (4,) xywh, or the part of the first inside the second, a crowd: in the official code's steps."""
    width = min(box[0] + box[2], other[0] + other[2]) - max(box[0], other[0])
    height = min(box[1] + box[3], other[1] + other[3]) - max(box[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    common, area = width * height, box[2] * box[3]
    return float(common / area if crowd else common / (area + other[2] * other[3] - common))


@compiled
def _weighted_precision(
    outcome: npt.NDArray[np.int8], weights: Ints, ends: Ints, num_objects: Ints, recalls: Floats, precision: Floats
) -> None:
    hit_recall, hit_precision = np.empty(len(weights)), np.empty(len(weights))
    for label in range(len(num_objects)):
        if num_objects[label] == 0:
            continue
        for threshold in range(len(outcome)):
            hits, false, count = 0, 0, 0
            for row in range(ends[label], ends[label + 1]):
                if outcome[threshold, row] == FP:
                    false += weights[row]
                elif outcome[threshold, row] == TP and weights[row] > 0:
                    hits += weights[row]
                    hit_recall[count] = hits / num_objects[label]
                    hit_precision[count] = hits / (false + hits + EPSILON)
                    count += 1
            for hit in range(count - 2, -1, -1):
                hit_precision[hit] = max(hit_precision[hit], hit_precision[hit + 1])
            hit = 0
            for place in range(len(recalls)):
                while hit < count and hit_recall[hit] < recalls[place]:
                    hit += 1
                precision[threshold, place, label] = hit_precision[hit] if hit < count else 0.0
