"""Which classes are taken for one another: a matrix of objects' against detected classes."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from detkit.data.ground_truth import GroundTruth, Ints
from detkit.evaluation.asked_detections import is_excused
from detkit.evaluation.pairs import best_detections, match, overlapping
from detkit.evaluation.rows import Rows
from detkit.structures import Detections


@dataclass(frozen=True, eq=False)
class Confusion:
    """How often an object of class i was detected as class j, C classes."""

    classes: tuple[str, ...]
    counts: Ints  # (C + 1, C + 1) [object, detected]; the last row is background, the last column missed


def confusion(
    detections: Mapping[str, Detections] | Rows, truth: GroundTruth, min_score: float = 0.5, min_iou: float = 0.5
) -> Confusion:
    """Counts what the detections of at least `min_score` found.

    In the order of their scores, each takes the free object of any class that it overlaps most, by an IoU of at least
    `min_iou`. Ignored objects are not counted, nor are detections that can take none but one of their own class: each
    of those one detection, a crowd all that lie in it by that share. Detections of a class of which not all objects
    are marked in their image (asked_detections.py) count where they take one of their own class, and there alone.
    Raises ValueError for limits out of range and as gather_detections does.
    """
    if not 0 <= min_score <= 1 or not 0 < min_iou <= 1:
        raise ValueError(f"min_score {min_score}, min_iou {min_iou}: expected a score of 0..1 and an IoU in (0, 1]")
    found = best_detections(detections, truth)
    found = found[found.scores >= min_score]
    objects, background = truth.objects, len(truth.classes)
    pairs = overlapping(found, truth)
    same_class = found.labels[pairs.detection] == objects.labels[pairs.object]
    excused = is_excused(found.image_index, found.labels, truth)
    is_any = ~objects.ignore[pairs.object] & ~excused[pairs.detection]
    pairs = pairs[(pairs.overlap >= min_iou) & (same_class | is_any)]
    taken = match(pairs, len(found), objects.ignore, objects.crowd)

    is_counted = ~np.append(objects.ignore, False)[taken]  # row -1, no object, reads the False behind the last
    is_counted &= ~(excused & (taken < 0))
    is_missed = ~objects.ignore
    is_missed[taken[taken >= 0]] = False
    true_labels = np.append(objects.labels, background)[taken][is_counted]
    cells = [true_labels * (background + 1) + found.labels[is_counted]]
    cells.append(objects.labels[is_missed] * (background + 1) + background)
    counts = np.bincount(np.concatenate(cells), minlength=(background + 1) ** 2)
    return Confusion(truth.classes, counts.reshape(background + 1, background + 1))
