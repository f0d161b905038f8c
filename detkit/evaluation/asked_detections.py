"""Which detections are judged where the truth is federated: by the rules of LVIS (Gupta et al. 2019, section 2.1).

Of each image the best 300 count, over all classes, and of those the ones of classes that were looked for in it. Of a
class of which some objects may not be marked, detections that find nothing are neither right nor wrong.
Code followed: lvis 0.5.3.
"""

import numpy as np

from detkit.data.ground_truth import Bools, Floats, GroundTruth, Ints
from detkit.evaluation.rows import ranks_by_score

MAX_DETECTIONS = 300  # of an image


def is_asked(image_index: Ints, labels: Ints, scores: Floats, truth: GroundTruth) -> Bools:
    """(K,) which detections are judged; all of them where the truth is not federated."""
    if truth.federated is None:
        return np.ones(len(labels), dtype=np.bool_)
    is_best = ranks_by_score(image_index, scores) < MAX_DETECTIONS
    return is_best & truth.federated.is_checked(image_index, labels)


def is_excused(image_index: Ints, labels: Ints, truth: GroundTruth) -> Bools:
    """(K,) which detections are not held against the detector if they find nothing."""
    if truth.federated is None:
        return np.zeros(len(labels), dtype=np.bool_)
    return truth.federated.is_partial(image_index, labels)
