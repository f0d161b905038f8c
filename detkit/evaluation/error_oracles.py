"""Which kind of error each detection is, and AP with errors mended: the oracles of TIDE (Bolya et al. 2020, section 2).

Notation: K judged detections, best score first, and M objects of all images, C classes.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from detkit.data.ground_truth import Bools, Floats, GroundTruth, Ints
from detkit.evaluation.asked_detections import is_excused
from detkit.evaluation.pairs import Pairs, coco_ap, match, overlapping
from detkit.evaluation.rows import Rows


class ErrorKind(IntEnum):
    """What a detection is (HIT to BKG), why an object was not found (MISS, LOC, CLS), or what is mended."""

    TP = 0
    IGNORED = 1  # found a difficult object, lies in a crowd, or found none and is excused: neither right nor wrong
    CLS = 2  # fits an object of another class
    LOC = 3  # near an object of its class
    BOTH = 4  # near an object of another class
    DUPE = 5  # fits an object of its class that a better one found
    BKG = 6  # near nothing
    MISS = 7  # an object that no detection found and none is a LOC or CLS error of
    FALSE_POSITIVE = 8  # all false detections taken out (section 2.4)
    FALSE_NEGATIVE = 9  # all objects not found taken out


E = ErrorKind
MAIN_KINDS = (E.CLS, E.LOC, E.BOTH, E.DUPE, E.BKG, E.MISS)  # in the order of the paper's tables
SPECIAL_KINDS = (E.FALSE_POSITIVE, E.FALSE_NEGATIVE)


@dataclass(frozen=True, eq=False)
class OracleCurves:
    """What APs are computed from, after a mend."""

    labels: Ints  # (K',) best score first
    is_tp: Bools  # (K',)
    num_objects: Ints  # (C,)


@dataclass(frozen=True, eq=False)
class Case:
    """The judged detections, and how to mend them."""

    truth: GroundTruth
    found: Rows  # K
    kind: npt.NDArray[np.int8]  # (K,)
    object: Ints  # (K,) row of truth.objects; -1 for BKG, and where none is found and that is excused
    overlap: Floats  # (K,)

    def mended(self, kinds: tuple[ErrorKind, ...]) -> OracleCurves:
        """With all errors of these kinds mended."""
        fixed = np.isin(self.kind, kinds)
        # Published code scores the hits 1 and the false detections 0 instead: it comes to the same.
        removed = ~np.isin(self.kind, (E.TP, E.IGNORED)) if E.FALSE_POSITIVE in kinds else fixed
        is_gone = np.zeros(len(self.truth.objects), dtype=np.bool_)
        if E.FALSE_NEGATIVE in kinds:
            is_gone = self.is_unfound()
        elif E.MISS in kinds:
            is_gone = self.is_unfound()
            is_gone[self.object[self.is_correctable()]] = False
        return self.curves(removed, self.corrected(fixed), is_gone)

    def corrected(self, fixed: Bools) -> Ints:
        """Rows of the errors `fixed` (K,) that become hits: the best scored LOC or CLS error of each object not found.

        The paper suppresses the lower scored of two detections of an object; published code keeps the hit, whatever
        its score, and so do we. That code also makes LOC and CLS errors of an object rivals where one kind alone is
        mended; we look at each kind by itself, as the paper does.
        """
        candidates = np.flatnonzero(fixed & self.is_correctable())
        _, first = np.unique(self.object[candidates], return_index=True)
        return candidates[first]

    def curves(self, removed: Bools, corrected: Ints, is_gone: Bools) -> OracleCurves:
        """Without detections `removed` (K,), unless among the rows `corrected`, and without objects `is_gone` (M,)."""
        is_tp, labels, kept = self.kind == E.TP, self.found.labels.copy(), ~removed & (self.kind != E.IGNORED)
        is_tp[corrected], kept[corrected] = True, True
        labels[corrected] = self.truth.objects.labels[self.object[corrected]]
        gone = np.bincount(self.truth.objects.labels[is_gone], minlength=len(self.truth.classes))
        return OracleCurves(labels[kept], is_tp[kept], self.num_objects() - gone)

    def is_correctable(self) -> Bools:
        """(K,) LOC and CLS errors about an object that no detection hits."""
        is_open = np.append(self.is_unfound(), False)
        correctable: Bools = np.isin(self.kind, (E.LOC, E.CLS)) & is_open[self.object]
        return correctable

    def is_unfound(self) -> Bools:
        """(M,)"""
        unfound = ~self.truth.objects.ignore
        unfound[self.object[self.kind == E.TP]] = False
        return unfound

    def num_objects(self) -> Ints:
        """(C,)"""
        objects = self.truth.objects
        return np.bincount(objects.labels[~objects.ignore], minlength=len(self.truth.classes))

    def aps(self, curves: OracleCurves) -> Floats:
        """(C,) NaN for classes without objects, which COCO leaves out; published code gives 0 where it has detections.

        A class with no object left to ask for has 1 if nothing is detected either, and 0 if something is.
        """
        aps = np.full(len(self.truth.classes), np.nan)
        ends = np.cumsum(np.bincount(curves.labels, minlength=len(aps)))
        by_class = np.split(curves.is_tp[np.argsort(curves.labels, kind="stable")], ends[:-1])
        for label in np.flatnonzero(self.num_objects()):
            left = int(curves.num_objects[label])
            aps[label] = coco_ap(by_class[label], left) if left else float(len(by_class[label]) == 0)
        return aps


def judge(found: Rows, truth: GroundTruth, foreground: float, background: float) -> Case:
    """Gives each detection its kind. Where several apply, in the order of published code: LOC, CLS, DUPE, BKG, BOTH.

    Published code counts an IoU of exactly a threshold to both sides; here it belongs to the upper one. No error is
    about an ignored object, save that a second detection of a difficult one is a DUPE.
    """
    ignore, crowd, labels = truth.objects.ignore, truth.objects.crowd, truth.objects.labels
    pairs = overlapping(found, truth)
    same_class = found.labels[pairs.detection] == labels[pairs.object]
    is_ignored = ignore[pairs.object]
    taken = match(pairs[same_class & (pairs.overlap >= foreground)], len(found), ignore, crowd)
    own, own_iou = pairs[same_class & ~is_ignored].best(len(found))
    other, other_iou = pairs[~same_class & ~is_ignored].best(len(found))
    fitted, fitted_iou = pairs[same_class & ~crowd[pairs.object]].best(len(found))

    taken_overlap = _overlap_with(pairs, taken)
    finds_ignored = np.append(ignore, False)[taken]
    conditions = [
        (taken >= 0) & ~finds_ignored,
        finds_ignored | ((taken < 0) & is_excused(found.image_index, found.labels, truth)),
        (own_iou >= background) & (own_iou < foreground),
        other_iou >= foreground,
        fitted_iou >= foreground,  # and not a hit: every object of its class that it fits was taken
        other_iou >= background,
    ]
    kinds = (E.TP, E.IGNORED, E.LOC, E.CLS, E.DUPE, E.BOTH)
    nothing = np.full(len(found), -1, dtype=np.int64)
    return Case(
        truth,
        found,
        np.select(conditions, [np.full(len(found), kind, dtype=np.int8) for kind in kinds], np.int8(E.BKG)),
        np.select(conditions, [taken, taken, own, other, fitted, other], nothing),
        np.select(
            conditions,
            [taken_overlap, taken_overlap, own_iou, other_iou, fitted_iou, other_iou],
            np.maximum(own_iou, other_iou),
        ),
    )


def _overlap_with(pairs: Pairs, chosen: Ints) -> Floats:
    """(K,) overlap of each detection with its `chosen` object; 0 without one."""
    overlaps = np.zeros(len(chosen))
    mine = pairs[pairs.object == chosen[pairs.detection]]
    overlaps[mine.detection] = mine.overlap
    return overlaps
