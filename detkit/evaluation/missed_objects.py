"""At which step of the pipeline a missed object was lost: the last one to which anything came that is fit for it.

diagnosis.py names the steps. Notation: M objects, K proposals, C classes; scored box k * C + c is region k taken for
class c.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from detkit.evaluation.diagnosis import (
    Box,
    Candidate,
    Candidates,
    Diagnosis,
    Explanation,
    FalseDetection,
    FalseDetectionKind,
    NearestBox,
    Outcome,
    Regions,
    ScoredBox,
    Step,
)
from detkit.heads.roi_head import DetectionRule
from detkit.ops import boxes as box_ops
from detkit.structures import Target

LOW_OVERLAP = 0.1  # Hoiem et al. 2012, section 3: less than this is background


def explain(
    objects: Target, regions: Regions, rule: DetectionRule, min_iou: float = 0.5, min_score: float = 0.05
) -> Explanation:
    """Follows every object through the steps. All tensors are on the CPU.

    Detections of at least `min_score` count, and are matched as VOC does: each belongs to the object of its class that
    it overlaps best, and hits it where IoU > min_iou and no better scored detection did.
    """
    flow = _Flow(objects, regions, rule, min_iou, min_score)
    rows = (~objects.ignore).nonzero().flatten().tolist()
    return Explanation(tuple(_judge(flow, row) for row in rows), flow.false_detections())


class _Flow:
    """What happens to the scored_rows of an image; scored_rows are known by their flat row k * C + c."""

    def __init__(
        self, objects: Target, regions: Regions, rule: DetectionRule, min_iou: float, min_score: float
    ) -> None:
        self.objects, self.regions, self.rule = objects, regions, rule
        self.min_iou, self.min_score = min_iou, min_score
        self.num_classes = regions.scores.shape[1]
        self.scores = regions.scores.flatten()
        self.refined, self.compared = regions.refined.reshape(-1, 4), regions.compared.reshape(-1, 4)
        self.labels = torch.arange(self.num_classes).repeat(len(regions.scores))
        likely = (self.scores > rule.min_score) & box_ops.long_enough(self.compared, 0)
        rows = likely.nonzero().flatten()
        kept = box_ops.nms_by_class(self.compared[rows], self.scores[rows], self.labels[rows], rule.nms_iou)
        self.survivors = rows[kept]  # best first
        self.place = torch.full_like(self.labels, -1)  # of each scored box among the survivors
        self.place[self.survivors] = torch.arange(len(self.survivors))
        self._match()

    def _match(self) -> None:
        detections = self.survivors[: self.rule.max_detections]
        counts = (self.scores[detections] >= self.min_score) & box_ops.long_enough(self.refined[detections], 0)
        self.counted = detections[counts]
        ious = overlap(self.refined[self.counted], self.objects.boxes)
        own = torch.where(self.labels[self.counted, None] == self.objects.labels, ious, 0.0)
        best_iou, best = F.pad(own, (0, 1)).max(dim=1)  # the column of 0 stands for no object
        self.own_iou, self.own = best_iou.tolist(), best.tolist()
        others = torch.where(self.labels[self.counted, None] == self.objects.labels, 0.0, ious)
        other_iou, other = F.pad(others, (0, 1)).max(dim=1)
        self.other_iou, self.other = other_iou.tolist(), other.tolist()
        self.hits: dict[int, int] = {}  # object: scored
        for scored, row, iou in zip(self.counted.tolist(), self.own, self.own_iou, strict=True):
            if iou > self.min_iou and not self.objects.ignore[row]:
                self.hits.setdefault(row, scored)
        self.hit_by = {scored: row for row, scored in self.hits.items()}

    def false_detections(self) -> tuple[FalseDetection, ...]:
        found = []
        for place, scored in enumerate(self.counted.tolist()):
            own, own_iou, other_iou = self.own[place], self.own_iou[place], self.other_iou[place]
            fits = own_iou > self.min_iou
            if scored in self.hit_by or (fits and self.objects.ignore[own]):
                continue
            if self.objects.unknown is not None and self.objects.unknown[self.labels[scored]]:
                continue  # nobody looked for all of its class in this image
            about: tuple[FalseDetectionKind, int | None, float] = (
                FalseDetectionKind.BACKGROUND,
                None,
                max(own_iou, other_iou),
            )
            if fits:
                about = (FalseDetectionKind.DUPLICATE, own, own_iou)
            elif other_iou >= LOW_OVERLAP and other_iou > own_iou:
                about = (FalseDetectionKind.CONFUSION, self.other[place], other_iou)
            elif own_iou >= LOW_OVERLAP:
                about = (FalseDetectionKind.LOCALISATION, own, own_iou)
            label, score = int(self.labels[scored]), float(self.scores[scored])
            found.append(FalseDetection(label, score, as_box(self.refined[scored]), *about))
        return tuple(found)

    def scored(self, row: int, box: Tensor) -> ScoredBox:
        """ScoredBox `row` beside an object's box (1, 4)."""
        region = row // self.num_classes
        scores, background = self.regions.scores[region], self.regions.background
        winner, winner_score = int(scores.argmax()), float(scores.max())
        nothing = None if background is None else float(background[region])
        is_nothing = winner_score < 0.5 if nothing is None else nothing > winner_score  # 0.5: an SVM is undecided
        proposal = self.regions.proposals[region]
        return ScoredBox(
            int(self.labels[row]),
            float(self.scores[row]),
            as_box(self.refined[row]),
            float(overlap(self.refined[row : row + 1], box)),
            NearestBox(as_box(proposal), float(overlap(proposal[None], box))),
            None if is_nothing else winner,
            nothing if is_nothing and nothing is not None else winner_score,
            int(self.place[row]) + 1 if self.place[row] >= 0 else None,
        )

    def suppressor(self, row: int) -> tuple[int, float]:
        """The survivor that took scored `row` out, and their overlap as NMS saw it."""
        better = self.survivors[
            (self.labels[self.survivors] == self.labels[row]) & (self.scores[self.survivors] >= self.scores[row])
        ]
        ious = overlap(self.compared[better], self.compared[row : row + 1])[:, 0]
        over = (ious > self.rule.nms_iou).nonzero().flatten()
        first = int(over[0]) if len(over) else int(ious.argmax())  # NMS computes in float32: it may see a little more
        return int(better[first]), float(ious[first])


def _judge(flow: _Flow, row: int) -> Diagnosis:
    label, box = int(flow.objects.labels[row]), flow.objects.boxes[row : row + 1]
    regions = flow.regions
    candidates = regions.candidates
    anchor = None if candidates is None else _nearest(candidates.anchors, box)
    diagnosis = Diagnosis(row, label, as_box(box[0]), Step.FOUND, anchor, _nearest(regions.proposals, box))
    if row in flow.hits:
        return replace(diagnosis, scored=flow.scored(flow.hits[row], box))
    step, scored = _furthest(flow, label, box)
    diagnosis = replace(diagnosis, step=step)
    if scored is None:
        candidate = None if candidates is None else _candidate(candidates, box, flow.min_iou)
        return replace(diagnosis, candidate=candidate)
    made = flow.scored(scored, box)
    if step is Step.SUPPRESSED:
        rival, iou = flow.suppressor(scored)
        return replace(
            diagnosis,
            scored=made,
            rival=flow.scored(rival, box),
            rival_overlap=iou,
            other=flow.hit_by.get(rival),
        )
    if step is Step.BADLY_REFINED:
        return replace(diagnosis, scored=made, other=_other_that_fits(flow, scored, label))
    if step is Step.NOT_COUNTED and scored in (counted := flow.counted.tolist()):
        other = flow.own[counted.index(scored)]
        rival_row = flow.hits.get(other)  # None: the other is an ignored object
        hit = None if rival_row is None else flow.scored(rival_row, box)
        return replace(diagnosis, scored=made, rival=hit, other=other)
    return replace(diagnosis, scored=made)


def _furthest(flow: _Flow, label: int, box: Tensor) -> tuple[Step, int | None]:
    """The last step that a scored box for the object came to, and the scored box."""
    rows = torch.arange(len(flow.regions.proposals)) * flow.num_classes + label
    scores, place = flow.scores[rows], flow.place[rows]
    fits, near = overlap(flow.refined[rows], box)[:, 0], overlap(flow.regions.proposals, box)[:, 0]
    good, reached = fits > flow.min_iou, (near >= flow.min_iou) | (fits > flow.min_iou)
    likely = (scores > flow.rule.min_score) & (scores >= flow.min_score)
    detected = (place >= 0) & (place < flow.rule.max_detections)
    for step, at_step, order in (
        (Step.NOT_COUNTED, good & likely & detected, scores),
        (Step.CUT, good & likely & (place >= 0), scores),
        (Step.SUPPRESSED, good & likely, scores),
        (Step.BADLY_REFINED, reached & likely, fits),  # the nearest that a recognised region came
        (Step.NOT_COUNTED, good & detected, scores),
        (Step.NOT_RECOGNISED, reached, scores),
    ):
        if bool(at_step.any()):
            return step, int(rows[torch.where(at_step, order, -1.0).argmax()])
    return Step.NO_PROPOSAL, None


def _other_that_fits(flow: _Flow, scored: int, label: int) -> int | None:
    """The other object of the class that the scored box's box fits."""
    ious = overlap(flow.refined[scored : scored + 1], flow.objects.boxes)[0]
    ious = torch.where(flow.objects.labels == label, ious, 0.0)
    return int(ious.argmax()) if float(ious.max()) > flow.min_iou else None


def _candidate(candidates: Candidates, box: Tensor, min_iou: float) -> Candidate:
    """Of the candidates that fit the one that came furthest, the better ranked of equals; else the nearest."""
    ious = overlap(candidates.boxes, box)[:, 0]
    fits = ious >= min_iou
    if bool(fits.any()):
        furthest = fits & (candidates.outcomes == candidates.outcomes[fits].max())
        row = int(torch.where(furthest, candidates.logits, -torch.inf).argmax())
    else:
        row = int(ious.argmax())
    logit = candidates.logits[row]
    return Candidate(
        as_box(candidates.boxes[row]),
        float(ious[row]),
        float(logit.sigmoid()),
        int((candidates.logits > logit).sum()) + 1,
        Outcome(int(candidates.outcomes[row])),
        len(ious),
    )


def _nearest(boxes: Tensor, box: Tensor) -> NearestBox | None:
    if len(boxes) == 0:
        return None
    ious = overlap(boxes, box)[:, 0]
    return NearestBox(as_box(boxes[int(ious.argmax())]), float(ious.max()))


def overlap(boxes: Tensor, others: Tensor) -> Tensor:
    """IoU (N, M) in float64, in which VOC's rule computes it."""
    return box_ops.iou(boxes.double(), others.double())


def as_box(box: Tensor) -> Box:
    x1, y1, x2, y2 = (float(side) for side in box)
    return x1, y1, x2, y2
