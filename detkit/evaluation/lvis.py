"""LVIS's average precision and recall of boxes, by the rules of its published code (lvis 0.5.3).

The matching is COCO's (coco_matching.py), of the detections that the truth is asked about (asked_detections.py).
Notation: T IoU thresholds, R recalls, C classes.
"""

import numpy as np

from detkit.data.ground_truth import Floats, GroundTruth
from detkit.evaluation.asked_detections import MAX_DETECTIONS
from detkit.evaluation.coco_files import ResultRows
from detkit.evaluation.coco_matching import (
    ALL_AREAS,
    LARGE,
    MEDIUM,
    SMALL,
    TP,
    Matches,
    match_coco,
    precision_at_recalls,
)

_AREAS = {"": ALL_AREAS, "s": SMALL, "m": MEDIUM, "l": LARGE}
_FREQUENCIES = ("r", "c", "f")  # of a class in the training images: rare, common, frequent


def score_lvis(rows: ResultRows, truth: GroundTruth) -> tuple[Floats, dict[str, float | None]]:
    """Precision (T, R, C) at all sizes, NaN for a class without an object to find, and the thirteen numbers that the
    published code prints, None where it has -1.

    The truth must be federated: what it states of the classes' frequencies is used.
    """
    assert truth.federated is not None
    precision, recall = {}, {}
    for size, area in _AREAS.items():
        matches = match_coco(rows, truth, area)
        precision[size], recall[size] = precision_at_recalls(matches), _recall(matches)
    whole, frequencies = precision[""], np.array(truth.federated.frequencies)
    values = {"AP": whole, "AP50": whole[0], "AP75": whole[5]}
    values |= {f"AP{size}": precision[size] for size in "sml"}
    values |= {f"AP{frequency}": whole[..., frequencies == frequency] for frequency in _FREQUENCIES}
    values |= {f"AR{size}@{MAX_DETECTIONS}": recall[size] for size in recall}
    return whole, {name: _mean(value) for name, value in values.items()}


def _recall(matches: Matches) -> Floats:
    """(T, C) NaN for a class without an object to find."""
    totals = matches.num_objects.sum(axis=1)
    hits = np.array([np.bincount(matches.labels[row == TP], minlength=len(totals)) for row in matches.outcome])
    recall: Floats = np.where(totals > 0, hits / np.maximum(totals, 1), np.nan)
    return recall


def _mean(values: Floats) -> float | None:
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else None
