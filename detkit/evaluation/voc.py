"""Average precision by the rules of the PASCAL VOC devkit, for all detections of a class at once.

The devkit measures boxes with both corners inside (width xmax - xmin + 1). Our continuous boxes start one pixel
earlier, so x2 - x1 is that same width and plain areas give the devkit's overlaps.

Notation: K detections and M objects of one class over all images, P pairs of a detection and an object of its image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np
import numpy.typing as npt

from detkit.data.dataset import DetectionDataset
from detkit.data.ground_truth import Bools, Floats, Ints
from detkit.evaluation.rows import Rows, gather_detections, joined, ranks
from detkit.structures import Detections

Metric = Literal["voc07", "voc10"]  # AP at 11 recalls (VOC 2007) | area under the envelope (VOC 2010 and later)

# The recalls of VOC 2007 as the devkit's "0:0.1:1" computes them: MATLAB counts the upper half down from the end, so
# that 0.6 and 0.7 are met by 6 and 7 objects of 10, but 0.3 (3 * 0.1 > 0.3) is not met by 3 of 10.
VOC07_RECALLS = tuple(step * 0.1 if step <= 5 else 1 - (10 - step) * 0.1 for step in range(11))


class Outcome(IntEnum):
    """What became of a detection."""

    FP = 0
    TP = 1
    IGNORED = 2  # it found a difficult object: neither hit nor miss


@dataclass(frozen=True, eq=False)
class ClassResult:
    """One class: its AP, and row k of every array for its k-th best detection over all images."""

    ap: float | None  # 0..1; None without an object to find
    num_objects: int  # difficult ones left out
    precision: Floats  # (K,) among the detections up to and with this one; 0 before the first hit or miss
    recall: Floats  # (K,)
    scores: Floats  # (K,) descending
    outcome: npt.NDArray[np.int8]  # (K,) values of Outcome
    image_index: Ints  # (K,) into dataset.image_ids
    rank: Ints  # (K,) row in that image's Detections
    object_index: Ints  # (K,) row in that image's Target of the best overlapping object of the class; -1: none
    overlap: Floats  # (K,) its IoU

    @property
    def is_tp(self) -> Bools:
        return np.equal(self.outcome, Outcome.TP)

    @property
    def is_false(self) -> Bools:
        return np.equal(self.outcome, Outcome.FP)


@dataclass(frozen=True, eq=False)
class VocResult:
    """The score of a data set."""

    metric: Metric
    min_iou: float
    mean_ap: float | None  # over the classes that have an AP; None if none has
    classes: dict[str, ClassResult]  # in the order of the dataset's classes

    @property
    def ap(self) -> dict[str, float | None]:
        return {name: result.ap for name, result in self.classes.items()}


def evaluate(
    detections: Mapping[str, Detections] | Rows, dataset: DetectionDataset, metric: Metric, min_iou: float = 0.5
) -> VocResult:
    """Scores detections (by image id, or a table) against a data set. An image that is not among them has none.

    A detection is a hit if the object of its class that it overlaps best, the first of equals, has IoU > min_iou and
    no better scored detection took it. Equal scores keep the order of the mapping or the table, across all images: a
    table of result files has their order.
    Raises ValueError for an unknown metric or image id, a value that is not finite and a label that is no class, and
    for a federated data set.
    """
    found = gather_detections(detections, dataset.image_ids, len(dataset.classes))
    return evaluate_rows(found, _gather_objects(dataset), dataset.classes, metric, min_iou)


def evaluate_rows(
    found: Rows, objects: Rows, classes: Sequence[str], metric: Metric, min_iou: float = 0.5
) -> VocResult:
    """As `evaluate`, of tables; that of the objects is in the order of the images. Raises ValueError for the metric."""
    if metric not in ("voc07", "voc10"):
        raise ValueError(f"metric {metric!r}: expected 'voc07' (11 points) or 'voc10' (area under the curve)")
    found_by_class, objects_by_class = found.split(len(classes)), objects.split(len(classes))
    results = {
        name: _score_class(found_by_class[label], objects_by_class[label], metric, min_iou)
        for label, name in enumerate(classes)
    }
    aps = [result.ap for result in results.values() if result.ap is not None]
    return VocResult(metric, min_iou, float(np.mean(aps)) if aps else None, results)


def elementwise_iou(boxes_a: Floats, boxes_b: Floats) -> Floats:
    """IoU of row with row: (N, 4) and (N, 4), or shapes that broadcast to one another, to (N,)."""
    inside = np.minimum(boxes_a[..., 2:], boxes_b[..., 2:]) - np.maximum(boxes_a[..., :2], boxes_b[..., :2])
    intersection: Floats = inside.clip(min=0).prod(axis=-1)
    area_a = (boxes_a[..., 2:] - boxes_a[..., :2]).prod(axis=-1)
    area_b = (boxes_b[..., 2:] - boxes_b[..., :2]).prod(axis=-1)
    union = np.where(intersection > 0, area_a + area_b - intersection, 1.0)  # a box turned inside out meets nothing
    return intersection / union


def average_precision(precision: Floats, recall: Floats, metric: Metric) -> float:
    """AP from the precision and the (rising) recall after each detection."""
    if len(recall) == 0:
        return 0.0
    envelope = np.maximum.accumulate(precision[::-1])[::-1]  # the best precision at this recall or a higher one
    if metric == "voc07":
        first = np.searchsorted(recall, VOC07_RECALLS)  # the first detection with recall >= t; K if none reaches t
        return float(np.append(envelope, 0.0)[first].sum() / len(VOC07_RECALLS))
    return float(np.sum(np.diff(recall, prepend=0.0) * envelope))


def _gather_objects(dataset: DetectionDataset) -> Rows:
    targets = [dataset.target(index) for index in range(len(dataset))]
    if any(target.unknown is not None for target in targets):
        raise ValueError("VOC's metrics take what was not looked for in an image for absent; score by LVIS's: --coco")
    counts = np.array([len(target.labels) for target in targets], dtype=np.int64)
    return Rows(
        np.repeat(np.arange(len(targets)), counts),
        ranks(counts),
        joined([target.labels for target in targets], (0,)).astype(np.int64),
        joined([target.boxes for target in targets], (0, 4)),
        np.zeros(counts.sum()),
        joined([target.ignore for target in targets], (0,)).astype(np.bool_),
    )


def _score_class(found: Rows, objects: Rows, metric: Metric, min_iou: float) -> ClassResult:
    found = found[np.argsort(-found.scores, kind="stable")]
    best, overlap = _best_objects(found, objects)
    # The challenge's text: the overlap must exceed 50%. The devkit's code also takes exactly 50%; the papers' code not.
    outcome = _outcomes(best, overlap > min_iou, objects.ignore)
    num_objects = int((~objects.ignore).sum())
    hits = np.cumsum(outcome == Outcome.TP, dtype=np.int64)
    judged = hits + np.cumsum(outcome == Outcome.FP, dtype=np.int64)
    precision = hits / np.maximum(judged, 1)
    recall = hits / max(num_objects, 1)
    return ClassResult(
        ap=average_precision(precision, recall, metric) if num_objects else None,
        num_objects=num_objects,
        precision=precision,
        recall=recall,
        scores=found.scores,
        outcome=outcome,
        image_index=found.image_index,
        rank=found.rank,
        object_index=np.append(objects.rank, -1)[best],  # row -1, no object, reads the -1 behind the last rank
        overlap=overlap,
    )


def _best_objects(found: Rows, objects: Rows) -> tuple[Ints, Floats]:
    """For each detection the row of the object in its image that it overlaps best, -1 if none, and that IoU: (K,)."""
    # Objects are in the order of the images, so those of one image are the rows first..first+count.
    first = np.searchsorted(objects.image_index, found.image_index, side="left")
    counts = np.searchsorted(objects.image_index, found.image_index, side="right") - first
    detection = np.repeat(np.arange(len(found)), counts)  # (P,)
    candidate = np.repeat(first, counts) + ranks(counts)  # (P,)
    iou = elementwise_iou(found.boxes[detection], objects.boxes[candidate])  # (P,)

    overlap = np.zeros(len(found))
    np.maximum.at(overlap, detection, iou)
    is_best = (iou > 0) & (iou == overlap[detection])
    best = np.full(len(found), -1, dtype=np.int64)
    best[detection[is_best][::-1]] = candidate[is_best][::-1]  # the last write wins: backwards, the first of equals
    return best, overlap


def _outcomes(best: Ints, overlaps: Bools, ignore: Bools) -> npt.NDArray[np.int8]:
    """Outcome of each detection, best score first; `best` is an object's row where `overlaps`. (K,)"""
    outcome = np.full(len(best), Outcome.FP, dtype=np.int8)
    matched = np.flatnonzero(overlaps)
    difficult = ignore[best[matched]]
    outcome[matched[difficult]] = Outcome.IGNORED
    takers = matched[~difficult]
    _, first = np.unique(best[takers], return_index=True)  # the best scored detection of each object
    outcome[takers[first]] = Outcome.TP
    return outcome
