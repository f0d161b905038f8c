"""What the false and missing detections cost: the TIDE decomposition (Bolya et al. 2020, sections 2 and 3).

Each false detection is of one kind, and the AP that mending a kind alone would add is the kind's loss (dAP). A mend
adds true detections, takes false ones out or asks for fewer objects: no loss is negative.

Notation: K judged detections and M objects of all images, C classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detkit.data.ground_truth import Bools, Floats, GroundTruth, Ints
from detkit.evaluation.error_oracles import MAIN_KINDS, SPECIAL_KINDS, Case, ErrorKind, judge
from detkit.evaluation.pairs import among_first, best_detections
from detkit.evaluation.rows import Rows
from detkit.structures import Detections

__all__ = [
    "MAIN_KINDS",
    "SPECIAL_KINDS",
    "VOC_GROUPS",
    "ErrorAnalysis",
    "ErrorKind",
    "JudgedDetections",
    "MissedObjects",
    "SimilarSplit",
    "decompose",
]

MAX_DETECTIONS = 100  # of an image, all classes together, as the published code (tidecv) counts; COCO: of each class


# Hoiem et al. 2012, section 3: similar are all vehicles, all animals with person, and chair, dining table and sofa.
# (They also call aeroplane and bird similar, which groups cannot tell.)
VOC_GROUPS: Mapping[str, str] = {
    **dict.fromkeys(("aeroplane", "bicycle", "boat", "bus", "car", "motorbike", "train"), "vehicles"),
    **dict.fromkeys(("bird", "cat", "cow", "dog", "horse", "sheep", "person"), "animals"),
    **dict.fromkeys(("chair", "diningtable", "sofa"), "furniture"),
    **{name: name for name in ("bottle", "pottedplant", "tvmonitor")},
}


@dataclass(frozen=True, eq=False)
class JudgedDetections:
    """The best MAX_DETECTIONS detections of each image, best score first over all images."""

    image_index: Ints  # (K,) into truth.image_ids
    rank: Ints  # (K,) row in that image's Detections
    label: Ints  # (K,)
    score: Floats  # (K,)
    kind: npt.NDArray[np.int8]  # (K,) values of ErrorKind, HIT to BKG
    object_row: Ints  # (K,) row in that image's objects of the one that the kind speaks of; -1: none
    iou: Floats  # (K,) with that object; for IGNORED by a crowd the share inside it; for BKG the highest


@dataclass(frozen=True, eq=False)
class MissedObjects:
    """The objects that no detection hits, ignored ones left out, in the order of the images."""

    image_index: Ints  # (M',)
    object_row: Ints  # (M',) row in that image's objects
    label: Ints  # (M',)
    kind: npt.NDArray[np.int8]  # (M',) MISS, or the LOC or CLS of the best scored detection that should have hit it


@dataclass(frozen=True, eq=False)
class SimilarSplit:
    """The CLS errors by the groups of the two classes (Hoiem et al. 2012)."""

    is_similar: Bools  # (K,) a CLS error within a group
    num_similar: int
    num_other: int
    similar_loss: float  # mean dAP of mending these alone
    other_loss: float


@dataclass(frozen=True, eq=False)
class ErrorAnalysis:
    """AP at the foreground IoU and what it loses to each kind of error; classes without objects have no AP."""

    ap: float | None  # 0..1, mean over classes; None if no class has an object
    ap_of_class: dict[str, float | None]
    loss: dict[ErrorKind, float]  # mean dAP, of MAIN_KINDS and SPECIAL_KINDS
    loss_of_class: dict[str, dict[ErrorKind, float]]  # change of the class's AP; classes with an AP only
    progressive: dict[ErrorKind, float]  # mean AP with MAIN_KINDS mended up to and with this one: 1.0 in the end
    counts: dict[ErrorKind, int]  # of detections by kind, HIT to BKG, and of objects of kind MISS
    counts_of_class: dict[str, dict[ErrorKind, int]]  # by the class detected; MISS by the object's
    detections: JudgedDetections
    missed: MissedObjects
    similar: SimilarSplit | None  # None without groups


def decompose(
    detections: Mapping[str, Detections] | Rows,
    truth: GroundTruth,
    foreground_iou: float = 0.5,
    background_iou: float = 0.1,
    groups: Mapping[str, str] | None = None,
) -> ErrorAnalysis:
    """Sorts detections (by image id) into hits and kinds of errors, and says what each kind costs.

    `groups` gives each class a group of similar ones, as VOC_GROUPS does. Raises ValueError for IoUs out of order, a
    class without a group and as gather_detections does.
    """
    if not 0 < background_iou < foreground_iou <= 1:
        ious = f"background_iou {background_iou}, foreground_iou {foreground_iou}"
        raise ValueError(f"{ious}: expected 0 < background_iou < foreground_iou <= 1, as .1 and .5")
    found = best_detections(detections, truth)
    found = found[among_first(found.image_index, MAX_DETECTIONS)]
    case = judge(found, truth, foreground_iou, background_iou)
    missed = _missed(case)
    aps = case.aps(case.mended(()))
    losses = {kind: case.aps(case.mended((kind,))) - aps for kind in (*MAIN_KINDS, *SPECIAL_KINDS)}
    mended = {kind: MAIN_KINDS[:number] for number, kind in enumerate(MAIN_KINDS, start=1)}
    counts = _counts(case, missed)
    labels = dict(enumerate(truth.classes))
    return ErrorAnalysis(
        ap=None if np.isnan(aps).all() else _mean(aps),
        ap_of_class={name: None if np.isnan(aps[label]) else float(aps[label]) for label, name in labels.items()},
        loss={kind: _mean(loss) for kind, loss in losses.items()},
        loss_of_class={
            name: {kind: float(loss[label]) for kind, loss in losses.items()}
            for label, name in labels.items()
            if not np.isnan(aps[label])
        },
        progressive={kind: _mean(case.aps(case.mended(kinds))) for kind, kinds in mended.items()},
        counts={kind: int(numbers.sum()) for kind, numbers in counts.items()},
        counts_of_class={
            name: {kind: int(numbers[label]) for kind, numbers in counts.items()} for label, name in labels.items()
        },
        detections=_records(case),
        missed=missed,
        similar=None if groups is None else _split_similar(case, groups),
    )


def _records(case: Case) -> JudgedDetections:
    found = case.found
    object_row = np.where(case.object < 0, -1, case.object - case.truth.starts[found.image_index])
    return JudgedDetections(
        found.image_index, found.rank, found.labels, found.scores, case.kind, object_row, case.overlap
    )


def _missed(case: Case) -> MissedObjects:
    kinds = np.full(len(case.truth.objects), ErrorKind.MISS, dtype=np.int8)
    covering = np.flatnonzero(case.is_correctable())[::-1]  # the last write wins: backwards, the best score
    kinds[case.object[covering]] = case.kind[covering]
    rows = np.flatnonzero(case.is_unfound())
    image = case.truth.image_index[rows]
    return MissedObjects(image, rows - case.truth.starts[image], case.truth.objects.labels[rows], kinds[rows])


def _counts(case: Case, missed: MissedObjects) -> dict[ErrorKind, Ints]:
    """(C,) of each kind."""
    num_classes = len(case.truth.classes)
    labels = {kind: case.found.labels[case.kind == kind] for kind in ErrorKind if kind not in SPECIAL_KINDS}
    labels[ErrorKind.MISS] = missed.label[missed.kind == ErrorKind.MISS]
    return {kind: np.bincount(labels[kind], minlength=num_classes) for kind in labels}


def _split_similar(case: Case, groups: Mapping[str, str]) -> SimilarSplit:
    lacking = [name for name in case.truth.classes if name not in groups]
    if lacking:
        raise ValueError(f"groups: none for the classes {lacking}; give each a group, its own name if none is like it")
    names = [groups[name] for name in case.truth.classes]
    group = np.array([names.index(name) for name in names], dtype=np.int64)  # (C,)
    is_confused = case.kind == ErrorKind.CLS
    is_similar = is_confused.copy()
    objects = case.object[is_confused]
    is_similar[is_confused] = group[case.found.labels[is_confused]] == group[case.truth.objects.labels[objects]]
    is_other = is_confused & ~is_similar
    return SimilarSplit(
        is_similar, int(is_similar.sum()), int(is_other.sum()), _loss(case, is_similar), _loss(case, is_other)
    )


def _loss(case: Case, fixed: Bools) -> float:
    """Mean dAP of mending the errors `fixed` (K,)."""
    nothing_gone = np.zeros(len(case.truth.objects), dtype=np.bool_)
    return _mean(case.aps(case.curves(fixed, case.corrected(fixed), nothing_gone)) - case.aps(case.mended(())))


def _mean(values: Floats) -> float:
    """Over the classes that have a value; 0 if none has."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0
