"""What became of the objects of an image, in words and drawn, for who knows nothing of how a detector works."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from detkit.evaluation.diagnosis import (
    Box,
    Candidate,
    Diagnosis,
    Explanation,
    FalseDetection,
    FalseDetectionKind,
    Outcome,
    ScoredBox,
    Step,
)
from detkit.heads.rpn import Selection
from detkit.reports.drawing import LegendEntry, Pixels, draw_boxes, with_legend
from detkit.structures import Target

FOUND, MISSED, PROPOSAL = (64, 200, 90), (255, 214, 60), (255, 255, 255)  # RGB
ANCHOR_REACHES = 0.5  # IoU; Faster R-CNN learns a box from 0.7 up, or from the nearest anchor of an object

STEPS = {
    Step.FOUND: "found",
    Step.NO_PROPOSAL: "no proposal",
    Step.NOT_RECOGNISED: "not recognised",
    Step.BADLY_REFINED: "badly refined",
    Step.SUPPRESSED: "suppressed",
    Step.CUT: "cut",
    Step.NOT_COUNTED: "not counted",
}


@dataclass(frozen=True)
class Account:
    """An explanation, and what its words refer to."""

    explanation: Explanation
    target: Target
    classes: tuple[str, ...]
    num_proposals: int
    selection: Selection | None  # of the RPN; None: proposals from a file
    nms_iou: float
    max_detections: int
    least_score: float  # what a scored box must exceed to become a detection
    min_iou: float
    min_score: float  # what a detection must reach to count


def opening(account: Account) -> str:
    diagnoses = account.explanation.diagnoses
    found = sum(diagnosis.step is Step.FOUND for diagnosis in diagnoses)
    return (
        f"{found} of {len(diagnoses)} objects found. Boxes are left, top, right, bottom in px. The overlap of two "
        "boxes is their common area over their joint area: 1 for the same box, 0 for boxes apart. An object is found "
        f"by a detection of its class with an overlap above {account.min_iou:g} and a score of at least "
        f"{account.min_score:g}. Steps: 2 a proposal, a box where anything might be, is made; 3 it is recognised; 4 "
        "its box is refined; 5 of boxes on top of each other the best scored is kept (non-maximum suppression, NMS); 6 "
        "the best scored become detections; 7 each detection counts for the object that it overlaps best."
    )


def paragraph(diagnosis: Diagnosis, account: Account) -> str:
    """One object: found, or lost at which step, and by what evidence."""
    head = f"{_object(diagnosis.object, account)} at {_box(diagnosis.box)}: "
    scored = diagnosis.scored
    if diagnosis.step is Step.FOUND and scored is not None:
        return f"{head}found. Score {scored.score:.2f}, overlap {scored.iou:.2f}, detected at {_box(scored.box)}."
    evidence = _without_proposal(diagnosis, account) if scored is None else _lost(diagnosis, scored, account)
    return f"{head}missed at step {diagnosis.step:d}, {STEPS[diagnosis.step]}. {evidence}{_anchor(diagnosis)}"


def line(false: FalseDetection, account: Account) -> str:
    """One false detection."""
    head = f"{account.classes[false.label]} {false.score:.2f} at {_box(false.box)}: {false.fault}, "
    if false.object is None:
        return f"{head}no object is there"
    about = _object(false.object, account)
    match false.fault:
        case FalseDetectionKind.DUPLICATE:
            return f"{head}{about} was found by a better scored one (overlap {false.iou:.2f})"
        case FalseDetectionKind.CONFUSION:
            return f"{head}it is on {about} (overlap {false.iou:.2f})"
        case _:
            return f"{head}it overlaps {about} by {false.iou:.2f} only"


def draw(image: Pixels, account: Account) -> Pixels:
    """Objects found in green; missed ones dashed in yellow with their step, the nearest proposal as a thin line.

    A legend stands below.
    """
    canvas = np.ascontiguousarray(image).copy()
    diagnoses = account.explanation.diagnoses
    missed = [diagnosis for diagnosis in diagnoses if diagnosis.step is not Step.FOUND]
    for diagnosis in missed:
        if diagnosis.proposal is not None:
            x1, y1, x2, y2 = (round(side) for side in diagnosis.proposal.box)
            cv2.rectangle(canvas, (x1, y1), (x2 - 1, y2 - 1), PROPOSAL, 1)
    found = [diagnosis.step is Step.FOUND for diagnosis in diagnoses]
    names = [account.classes[diagnosis.label] for diagnosis in diagnoses]
    texts = [
        name if hit else f"{diagnosis.step:d} {name}"
        for diagnosis, name, hit in zip(diagnoses, names, found, strict=True)
    ]
    colors = [FOUND if hit else MISSED for hit in found]
    drawn = draw_boxes(canvas, [diagnosis.box for diagnosis in diagnoses], texts, colors, [not hit for hit in found])
    return with_legend(drawn, _legend(diagnoses))


def _legend(diagnoses: Sequence[Diagnosis]) -> list[LegendEntry]:
    """What the image has of: found, missed, proposals, and the numbers of the steps."""
    missed = [diagnosis for diagnosis in diagnoses if diagnosis.step is not Step.FOUND]
    entries = []
    if len(missed) < len(diagnoses):
        entries.append(LegendEntry(f"found ({len(diagnoses) - len(missed)})", FOUND))
    if missed:
        entries.append(LegendEntry(f"missed ({len(missed)})", MISSED, dashed=True))
    if any(diagnosis.proposal is not None for diagnosis in missed):
        entries.append(LegendEntry("nearest proposal of a missed one", PROPOSAL, thin=True))
    steps = sorted({diagnosis.step for diagnosis in missed})
    entries += [LegendEntry(f"{step:d}: {STEPS[step]}") for step in steps]
    return entries or [LegendEntry("no objects in this image")]


def _without_proposal(diagnosis: Diagnosis, account: Account) -> str:
    if diagnosis.proposal is None:
        return "There is not one proposal in this image."
    nearest = diagnosis.proposal
    text = (
        f"The nearest of {account.num_proposals} proposals, {_box(nearest.box)}, overlaps it by {nearest.iou:.2f}; "
        f"{account.min_iou:g} is needed."
    )
    if diagnosis.candidate is None or account.selection is None:
        return text
    return f"{text} {_candidate(diagnosis.candidate, account.selection, account.min_iou)}"


def _candidate(candidate: Candidate, selection: Selection, min_iou: float) -> str:
    """What the network that makes the proposals did before it dropped most of them."""
    if candidate.iou < min_iou or candidate.outcome is Outcome.PASSED:
        return (
            f"The region proposal network (RPN) drew no box for it: the nearest of all its {candidate.num_candidates}, "
            f"before any was dropped, overlaps it by {candidate.iou:.2f}."
        )
    reasons = {
        Outcome.UNRANKED: f"only the best {selection.before_nms} are looked at (model.rpn.test_before_nms)",
        Outcome.TOO_SMALL: f"it drops boxes with a side below {selection.min_side:g} px of the resized image "
        "(model.rpn.min_side)",
        Outcome.SUPPRESSED: f"its own NMS dropped it for a better scored box that overlaps it by more than "
        f"{selection.nms_iou:g} (model.rpn.nms_iou)",
        Outcome.CUT: f"only the best {selection.after_nms} after its own NMS go on (model.rpn.test_after_nms)",
    }
    return (
        f"The region proposal network (RPN) drew {_box(candidate.box)} with overlap {candidate.iou:.2f}, and ranked "
        f"it {candidate.rank} of {candidate.num_candidates} (score {candidate.objectness:.3f} for holding anything), "
        f"but {reasons[candidate.outcome]}."
    )


def _lost(diagnosis: Diagnosis, scored: ScoredBox, account: Account) -> str:
    name = account.classes[diagnosis.label]
    fits = (
        f"{_box(scored.box)} was taken for a {name} with score {scored.score:.2f} and overlaps it by {scored.iou:.2f}"
    )
    match diagnosis.step:
        case Step.NOT_RECOGNISED:
            return _not_recognised(scored, name, account)
        case Step.BADLY_REFINED:
            text = (
                f"The proposal {_box(scored.proposal.box)} overlaps it by {scored.proposal.iou:.2f} and was taken for "
                f"a {name} with score {scored.score:.2f}, but the box was refined to {_box(scored.box)}, which "
                f"overlaps it by {scored.iou:.2f}; above {account.min_iou:g} is needed."
            )
            return (
                text
                if diagnosis.other is None
                else f"{text} That box fits {_object(diagnosis.other, account)}: crowded."
            )
        case Step.SUPPRESSED:
            return f"{fits}, but {_suppressed(diagnosis, account)}"
        case Step.CUT:
            return (
                f"{fits}, but is number {scored.rank} of the boxes left, best first: only {account.max_detections} "
                "become detections (max_detections)."
            )
        case _ if diagnosis.other is None:
            return f"{fits}, but its score is under --min-score {account.min_score:g}."
        case _:
            other = _object(diagnosis.other, account)
            taken = ", which a better scored detection finds" if diagnosis.rival not in (None, scored) else ""
            return f"{fits}, but it overlaps {other} better and counts for that one{taken}: crowded."


def _not_recognised(scored: ScoredBox, name: str, account: Account) -> str:
    needed = max(account.least_score, account.min_score)
    if scored.winner is None:
        instead = f"rather as background, no object (best score {scored.winner_score:.3f})"
    elif scored.winner == scored.label:
        instead = "though no other class scores more"
    else:
        instead = f"rather as a {account.classes[scored.winner]} ({scored.winner_score:.3f})"
    return (
        f"The proposal {_box(scored.proposal.box)} overlaps it by {scored.proposal.iou:.2f}, but is seen as a {name} "
        f"with score {scored.score:.3f} only, {instead}; {needed:g} is needed, and no other near enough scores more."
    )


def _suppressed(diagnosis: Diagnosis, account: Account) -> str:
    rival = diagnosis.rival
    assert rival is not None and diagnosis.rival_overlap is not None
    text = (
        f"{_box(rival.box)}, of the same class and with score {rival.score:.2f}, stayed instead: the two overlap by "
        f"{diagnosis.rival_overlap:.2f}, and above {account.nms_iou:g} (nms_iou) only the better scored is kept."
    )
    if diagnosis.other is not None:
        return f"{text} That one finds {_object(diagnosis.other, account)}: crowded."
    return f"{text} That one hits nothing; it overlaps this object by {rival.iou:.2f}."


def _anchor(diagnosis: Diagnosis) -> str:
    if diagnosis.anchor is None or diagnosis.anchor.iou >= ANCHOR_REACHES:
        return ""
    return (
        f" Besides, none of the boxes that the proposals start from (anchors; model.rpn.sizes and ratios) is near it: "
        f"the best, {_box(diagnosis.anchor.box)}, overlaps it by {diagnosis.anchor.iou:.2f}."
    )


def _object(row: int, account: Account) -> str:
    return f"object {row + 1} ({account.classes[int(account.target.labels[row])]})"


def _box(box: Box) -> str:
    return f"({', '.join(f'{side:.0f}' for side in box)})"
