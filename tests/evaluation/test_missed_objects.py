"""Each step at which an object can be lost, in an image drawn up by hand for it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from detkit.evaluation.diagnosis import (
    Candidates,
    Diagnosis,
    Explanation,
    FalseDetectionKind,
    Outcome,
    Regions,
    ScoredBox,
    Step,
)
from detkit.evaluation.missed_objects import explain
from detkit.heads.roi_head import DetectionRule
from detkit.heads.rpn import Selection
from detkit.structures import Target

Box = tuple[float, float, float, float]
Scores = tuple[float, float]  # of cat and dog
Row = tuple[Box, Scores, Box]  # proposal, scores, refined box

A: Box = (0, 0, 100, 100)
FAR: Box = (300, 300, 400, 400)
BESIDE: Box = (60, 0, 160, 100)  # IoU 40 / 160 with A
RULE = DetectionRule(min_score=0.05, nms_iou=0.3, max_detections=100)
NOTHING = Regions(torch.zeros(0, 4), torch.zeros(0, 2), torch.zeros(0), torch.zeros(0, 2, 4), torch.zeros(0, 2, 4))


def target(*rows: tuple[Box, int], ignored: tuple[int, ...] = ()) -> Target:
    ignore = torch.tensor([row in ignored for row in range(len(rows))], dtype=torch.bool)
    return Target(
        torch.tensor([box for box, _ in rows]).reshape(-1, 4), torch.tensor([label for _, label in rows]).long(), ignore
    )


def regions(*rows: Row, candidates: Candidates | None = None, svm: bool = False) -> Regions:
    proposals, scores, refined = (torch.tensor(column).float() for column in zip(*rows, strict=True))
    boxes = refined[:, None].repeat(1, 2, 1)
    return Regions(proposals, scores, None if svm else 1 - scores.sum(dim=1), boxes, boxes, candidates)


def only(explanation: Explanation) -> Diagnosis:
    (diagnosis,) = explanation.diagnoses
    return diagnosis


def scored_of(diagnosis: Diagnosis) -> ScoredBox:
    assert diagnosis.scored is not None
    return diagnosis.scored


def test_a_found_object_names_its_detection() -> None:
    diagnosis = only(explain(target((A, 0)), regions((BESIDE, (0.9, 0), A)), RULE))
    scored = scored_of(diagnosis)
    assert (diagnosis.step, diagnosis.object, diagnosis.label, diagnosis.box) == (Step.FOUND, 0, 0, A)
    assert (scored.box, scored.iou, scored.rank, scored.winner) == (A, 1.0, 1, 0)
    assert scored.score == pytest.approx(0.9)
    assert scored.proposal.iou == pytest.approx(0.25)


def test_no_proposal_near_it() -> None:
    diagnosis = only(explain(target((A, 0)), regions((FAR, (0.9, 0), FAR), (BESIDE, (0.9, 0), BESIDE)), RULE))
    assert diagnosis.step is Step.NO_PROPOSAL
    assert diagnosis.proposal is not None and diagnosis.proposal.box == BESIDE
    assert diagnosis.proposal.iou == pytest.approx(0.25)
    assert diagnosis.scored is diagnosis.candidate is diagnosis.anchor is None


@pytest.mark.parametrize(
    ("scores", "svm", "winner", "winner_score"),
    [
        ((0.01, 0.9), False, 1, 0.9),
        ((0.01, 0.02), False, None, 0.97),
        ((0.01, 0.9), True, 1, 0.9),
        ((0.04, 0.02), True, None, 0.04),  # no SVM is sure
    ],
)
def test_a_proposal_that_is_not_recognised(scores: Scores, svm: bool, winner: int | None, winner_score: float) -> None:
    diagnosis = only(explain(target((A, 0)), regions((FAR, (0.8, 0), FAR), (A, scores, A), svm=svm), RULE))
    scored = scored_of(diagnosis)
    assert diagnosis.step is Step.NOT_RECOGNISED
    assert (scored.label, scored.winner, scored.proposal.box) == (0, winner, A)
    assert (scored.score, scored.winner_score) == (pytest.approx(scores[0]), pytest.approx(winner_score))


def test_recognised_but_badly_refined_tells_the_nearest() -> None:
    worse: Box = (90, 0, 190, 100)
    diagnosis = only(explain(target((A, 0)), regions((A, (0.9, 0), worse), (A, (0.6, 0), BESIDE)), RULE))
    scored = scored_of(diagnosis)
    assert (diagnosis.step, scored.box, scored.proposal.iou, diagnosis.other) == (
        Step.BADLY_REFINED,
        BESIDE,
        1.0,
        None,
    )
    assert scored.iou == pytest.approx(0.25)


def test_refined_onto_the_neighbour() -> None:
    found, lost = explain(target((BESIDE, 0), (A, 0)), regions((A, (0.9, 0), BESIDE)), RULE).diagnoses
    assert (found.step, lost.step, lost.other) == (Step.FOUND, Step.BADLY_REFINED, 0)


RIVAL: Box = (45, 0, 145, 100)  # IoU 55 / 145 with A
SHORT: Box = (0, 0, 100, 90)  # IoU 0.9 with A, 4950 / 14050 with RIVAL


def test_suppressed_by_a_box_that_hits_nothing() -> None:
    diagnosis = only(explain(target((A, 0)), regions((A, (0.9, 0), RIVAL), (A, (0.8, 0), SHORT)), RULE))
    assert (diagnosis.step, scored_of(diagnosis).box, diagnosis.other) == (Step.SUPPRESSED, SHORT, None)
    assert diagnosis.rival is not None and diagnosis.rival.box == RIVAL
    assert diagnosis.rival.iou == pytest.approx(55 / 145)
    assert diagnosis.rival_overlap == pytest.approx(4950 / 14050)


def test_suppressed_by_the_hit_of_another_object() -> None:
    scene = regions((A, (0.9, 0), RIVAL), (A, (0.8, 0), SHORT), (FAR, (0.95, 0), FAR))
    lost, found = explain(target((A, 0), (RIVAL, 0)), scene, RULE).diagnoses
    assert (found.step, lost.step, lost.other) == (Step.FOUND, Step.SUPPRESSED, 1)
    assert lost.rival is not None and lost.rival.box == scored_of(found).box


def test_nms_compares_the_boxes_it_is_said_to() -> None:
    """R-CNN suppresses before it refines: apart as refined, but one upon the other as proposals."""
    scene = regions((A, (0.9, 0), FAR), (A, (0.8, 0), A))
    before = Regions(scene.proposals, scene.scores, None, scene.refined, scene.proposals[:, None].repeat(1, 2, 1))
    assert only(explain(target((A, 0)), scene, RULE)).step is Step.FOUND
    diagnosis = only(explain(target((A, 0)), before, RULE))
    assert (diagnosis.step, diagnosis.rival_overlap) == (Step.SUPPRESSED, 1.0)


def test_another_class_suppresses_nothing() -> None:
    assert only(explain(target((A, 0)), regions((A, (0.1, 0.9), A)), RULE)).step is Step.FOUND


def test_cut_by_the_number_of_detections() -> None:
    rule = DetectionRule(0.05, 0.3, max_detections=1)
    diagnosis = only(explain(target((A, 0)), regions((A, (0.8, 0), A), (FAR, (0, 0.9), FAR)), rule))
    assert (diagnosis.step, scored_of(diagnosis).rank) == (Step.CUT, 2)


def test_a_detection_under_the_least_score() -> None:
    diagnosis = only(explain(target((A, 0)), regions((A, (0.2, 0), A)), RULE, min_score=0.5))
    assert (diagnosis.step, diagnosis.other) == (Step.NOT_COUNTED, None)
    assert scored_of(diagnosis).score == pytest.approx(0.2)


def test_a_detection_that_counts_for_another_object() -> None:
    low: Box = (0, 0, 100, 80)
    found, lost = explain(target((A, 0), (low, 0)), regions((A, (0.9, 0), A)), RULE).diagnoses
    assert (found.step, lost.step, lost.other) == (Step.FOUND, Step.NOT_COUNTED, 0)
    assert lost.rival == lost.scored
    assert scored_of(lost).iou == pytest.approx(0.8)
    diagnosis = only(explain(target((A, 0), (low, 0), ignored=(0,)), regions((A, (0.9, 0), A)), RULE))
    assert (diagnosis.object, diagnosis.step, diagnosis.other, diagnosis.rival) == (1, Step.NOT_COUNTED, 0, None)


def test_an_overlap_of_exactly_the_limit_is_no_hit() -> None:
    half: Box = (0, 0, 100, 50)
    diagnosis = only(explain(target((A, 0)), regions((A, (0.9, 0), half)), RULE))
    assert (diagnosis.step, scored_of(diagnosis).iou) == (Step.BADLY_REFINED, 0.5)
    assert only(explain(target((A, 0)), regions((A, (0.9, 0), half)), RULE, min_iou=0.49)).step is Step.FOUND


SELECTION = Selection(before_nms=20, after_nms=10, nms_iou=0.7, min_side=16)


def candidates(*rows: tuple[Box, float, Outcome]) -> Candidates:
    boxes, logits, outcomes = zip(*rows, strict=True)
    near = torch.tensor(boxes).float()
    return Candidates(near + 5, near, torch.tensor(logits), torch.tensor(outcomes), SELECTION)


@pytest.mark.parametrize(
    "outcome",
    [Outcome.UNRANKED, Outcome.TOO_SMALL, Outcome.SUPPRESSED, Outcome.CUT],
)
def test_what_the_rpn_did_with_a_box_for_it(outcome: Outcome) -> None:
    drawn = candidates((FAR, 2.0, Outcome.PASSED), (SHORT, 0.0, outcome), (A, -1.0, Outcome.UNRANKED))
    diagnosis = only(explain(target((A, 0)), regions((FAR, (0.9, 0), FAR), candidates=drawn), RULE))
    assert diagnosis.step is Step.NO_PROPOSAL and diagnosis.candidate is not None
    assert (diagnosis.candidate.box, diagnosis.candidate.outcome) == (SHORT, outcome)  # the furthest, not the nearest
    assert (diagnosis.candidate.rank, diagnosis.candidate.num_candidates) == (2, 3)
    assert (diagnosis.candidate.objectness, diagnosis.candidate.iou) == (0.5, pytest.approx(0.9))
    assert diagnosis.anchor is not None and diagnosis.anchor.iou == pytest.approx(95 * 95 / (20000 - 95 * 95))


def test_the_rpn_drew_nothing_for_it() -> None:
    drawn = candidates((FAR, 2.0, Outcome.PASSED), (BESIDE, 0.0, Outcome.CUT))
    candidate = only(explain(target((A, 0)), regions((FAR, (0.9, 0), FAR), candidates=drawn), RULE)).candidate
    assert candidate is not None and candidate.box == BESIDE
    assert candidate.iou == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("box", "scores", "fault", "about"),
    [
        (SHORT, (0.5, 0.0), FalseDetectionKind.DUPLICATE, 0),
        (A, (0.0, 0.5), FalseDetectionKind.CONFUSION, 0),
        (BESIDE, (0.5, 0.0), FalseDetectionKind.LOCALISATION, 0),
        (FAR, (0.5, 0.0), FalseDetectionKind.BACKGROUND, None),
    ],
)
def test_faults_of_false_detections(box: Box, scores: Scores, fault: FalseDetectionKind, about: int | None) -> None:
    rule = DetectionRule(0.05, nms_iou=1.0, max_detections=100)
    explanation = explain(target((A, 0)), regions((A, (0.9, 0), A), (box, scores, box)), rule)
    assert only(explanation).step is Step.FOUND
    (false,) = explanation.false_detections
    assert (false.fault, false.object, false.box) == (fault, about, box)


def test_ignored_objects_are_neither_asked_for_nor_held_against() -> None:
    explanation = explain(target((A, 0), ignored=(0,)), regions((A, (0.9, 0), A)), RULE)
    assert explanation == Explanation((), ())


def test_nothing_there() -> None:
    assert explain(Target.empty(), NOTHING, RULE) == Explanation((), ())
    diagnosis = only(explain(target((A, 0)), NOTHING, RULE))
    assert (diagnosis.step, diagnosis.proposal) == (Step.NO_PROPOSAL, None)
    (false,) = explain(Target.empty(), regions((A, (0.9, 0), A)), RULE).false_detections
    assert false.fault is FalseDetectionKind.BACKGROUND


def test_every_object_is_judged_once_and_as_a_plain_count_has_it() -> None:
    """Found objects and false detections together are the counted detections of images drawn at random."""
    generator = torch.Generator().manual_seed(0)
    steps = set()
    for _ in range(60):
        corner = torch.rand(8, 2, generator=generator) * 40
        boxes = torch.cat([corner, corner + 20 + torch.rand(8, 2, generator=generator) * 20], dim=1)
        objects = Target(boxes[:4], torch.tensor([0, 0, 1, 1]), torch.zeros(4, dtype=torch.bool))
        scene = _random_regions(boxes, generator)
        explanation = explain(objects, scene, DetectionRule(0.2, 0.3, max_detections=5), 0.5, 0.3)
        assert [diagnosis.object for diagnosis in explanation.diagnoses] == [0, 1, 2, 3]
        found = sum(diagnosis.step is Step.FOUND for diagnosis in explanation.diagnoses)
        assert found + len(explanation.false_detections) <= 5
        steps |= {diagnosis.step for diagnosis in explanation.diagnoses}
    assert steps == set(Step)  # each of them was seen


def _random_regions(boxes: Tensor, generator: torch.Generator) -> Regions:
    proposals = boxes[torch.randint(0, 8, (10,), generator=generator)] + torch.randn(10, 4, generator=generator) * 3
    refined = proposals[:, None] + torch.randn(10, 2, 4, generator=generator) * 3
    return Regions(proposals, torch.rand(10, 2, generator=generator), None, refined, refined)


def test_a_false_detection_of_a_class_that_is_unknown_in_the_image_is_none() -> None:
    there = replace(target((A, 0)), unknown=torch.tensor([False, True]))
    rows = [(A, (0.9, 0.0), A), (FAR, (0.0, 0.8), FAR), (FAR, (0.7, 0.0), FAR)]
    explanation = explain(there, regions(*rows), RULE)
    assert only(explanation).step is Step.FOUND
    assert [false.label for false in explanation.false_detections] == [0]
