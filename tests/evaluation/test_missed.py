"""Each step at which an object can be lost, in a picture drawn up by hand for it."""

import pytest
import torch
from torch import Tensor

from detkit.evaluation.missed import explain
from detkit.evaluation.verdicts import Candidates, Claim, Explanation, Fate, Fault, Regions, Step, Verdict
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


def only(explanation: Explanation) -> Verdict:
    (verdict,) = explanation.verdicts
    return verdict


def claim_of(verdict: Verdict) -> Claim:
    assert verdict.claim is not None
    return verdict.claim


def test_a_found_object_names_its_detection() -> None:
    verdict = only(explain(target((A, 0)), regions((BESIDE, (0.9, 0), A)), RULE))
    claim = claim_of(verdict)
    assert (verdict.step, verdict.object, verdict.label, verdict.box) == (Step.FOUND, 0, 0, A)
    assert (claim.box, claim.iou, claim.rank, claim.winner) == (A, 1.0, 1, 0)
    assert claim.score == pytest.approx(0.9)
    assert claim.proposal.iou == pytest.approx(0.25)


def test_no_proposal_near_it() -> None:
    verdict = only(explain(target((A, 0)), regions((FAR, (0.9, 0), FAR), (BESIDE, (0.9, 0), BESIDE)), RULE))
    assert verdict.step is Step.NO_PROPOSAL
    assert verdict.proposal is not None and verdict.proposal.box == BESIDE
    assert verdict.proposal.iou == pytest.approx(0.25)
    assert verdict.claim is verdict.candidate is verdict.anchor is None


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
    verdict = only(explain(target((A, 0)), regions((FAR, (0.8, 0), FAR), (A, scores, A), svm=svm), RULE))
    claim = claim_of(verdict)
    assert verdict.step is Step.NOT_RECOGNISED
    assert (claim.label, claim.winner, claim.proposal.box) == (0, winner, A)
    assert (claim.score, claim.winner_score) == (pytest.approx(scores[0]), pytest.approx(winner_score))


def test_recognised_but_badly_refined_tells_the_nearest() -> None:
    worse: Box = (90, 0, 190, 100)
    verdict = only(explain(target((A, 0)), regions((A, (0.9, 0), worse), (A, (0.6, 0), BESIDE)), RULE))
    claim = claim_of(verdict)
    assert (verdict.step, claim.box, claim.proposal.iou, verdict.other) == (Step.BADLY_REFINED, BESIDE, 1.0, None)
    assert claim.iou == pytest.approx(0.25)


def test_refined_onto_the_neighbour() -> None:
    found, lost = explain(target((BESIDE, 0), (A, 0)), regions((A, (0.9, 0), BESIDE)), RULE).verdicts
    assert (found.step, lost.step, lost.other) == (Step.FOUND, Step.BADLY_REFINED, 0)


RIVAL: Box = (45, 0, 145, 100)  # IoU 55 / 145 with A
SHORT: Box = (0, 0, 100, 90)  # IoU 0.9 with A, 4950 / 14050 with RIVAL


def test_suppressed_by_a_box_that_hits_nothing() -> None:
    verdict = only(explain(target((A, 0)), regions((A, (0.9, 0), RIVAL), (A, (0.8, 0), SHORT)), RULE))
    assert (verdict.step, claim_of(verdict).box, verdict.other) == (Step.SUPPRESSED, SHORT, None)
    assert verdict.rival is not None and verdict.rival.box == RIVAL
    assert verdict.rival.iou == pytest.approx(55 / 145)
    assert verdict.rival_overlap == pytest.approx(4950 / 14050)


def test_suppressed_by_the_hit_of_another_object() -> None:
    scene = regions((A, (0.9, 0), RIVAL), (A, (0.8, 0), SHORT), (FAR, (0.95, 0), FAR))
    lost, found = explain(target((A, 0), (RIVAL, 0)), scene, RULE).verdicts
    assert (found.step, lost.step, lost.other) == (Step.FOUND, Step.SUPPRESSED, 1)
    assert lost.rival is not None and lost.rival.box == claim_of(found).box


def test_nms_compares_the_boxes_it_is_said_to() -> None:
    """R-CNN suppresses before it refines: apart as refined, but one upon the other as proposals."""
    scene = regions((A, (0.9, 0), FAR), (A, (0.8, 0), A))
    before = Regions(scene.proposals, scene.scores, None, scene.refined, scene.proposals[:, None].repeat(1, 2, 1))
    assert only(explain(target((A, 0)), scene, RULE)).step is Step.FOUND
    verdict = only(explain(target((A, 0)), before, RULE))
    assert (verdict.step, verdict.rival_overlap) == (Step.SUPPRESSED, 1.0)


def test_another_class_suppresses_nothing() -> None:
    assert only(explain(target((A, 0)), regions((A, (0.1, 0.9), A)), RULE)).step is Step.FOUND


def test_cut_by_the_number_of_detections() -> None:
    rule = DetectionRule(0.05, 0.3, max_detections=1)
    verdict = only(explain(target((A, 0)), regions((A, (0.8, 0), A), (FAR, (0, 0.9), FAR)), rule))
    assert (verdict.step, claim_of(verdict).rank) == (Step.CUT, 2)


def test_a_detection_under_the_least_score() -> None:
    verdict = only(explain(target((A, 0)), regions((A, (0.2, 0), A)), RULE, min_score=0.5))
    assert (verdict.step, verdict.other) == (Step.NOT_COUNTED, None)
    assert claim_of(verdict).score == pytest.approx(0.2)


def test_a_detection_that_counts_for_another_object() -> None:
    low: Box = (0, 0, 100, 80)
    found, lost = explain(target((A, 0), (low, 0)), regions((A, (0.9, 0), A)), RULE).verdicts
    assert (found.step, lost.step, lost.other) == (Step.FOUND, Step.NOT_COUNTED, 0)
    assert lost.rival == lost.claim
    assert claim_of(lost).iou == pytest.approx(0.8)
    verdict = only(explain(target((A, 0), (low, 0), ignored=(0,)), regions((A, (0.9, 0), A)), RULE))
    assert (verdict.object, verdict.step, verdict.other, verdict.rival) == (1, Step.NOT_COUNTED, 0, None)


def test_an_overlap_of_exactly_the_limit_is_no_hit() -> None:
    half: Box = (0, 0, 100, 50)
    verdict = only(explain(target((A, 0)), regions((A, (0.9, 0), half)), RULE))
    assert (verdict.step, claim_of(verdict).iou) == (Step.BADLY_REFINED, 0.5)
    assert only(explain(target((A, 0)), regions((A, (0.9, 0), half)), RULE, min_iou=0.49)).step is Step.FOUND


SELECTION = Selection(before_nms=20, after_nms=10, nms_iou=0.7, min_side=16)


def candidates(*rows: tuple[Box, float, Fate]) -> Candidates:
    boxes, logits, fates = zip(*rows, strict=True)
    near = torch.tensor(boxes).float()
    return Candidates(near + 5, near, torch.tensor(logits), torch.tensor(fates), SELECTION)


@pytest.mark.parametrize("fate", [Fate.UNRANKED, Fate.TOO_SMALL, Fate.SUPPRESSED, Fate.CUT])
def test_what_the_rpn_did_with_a_box_for_it(fate: Fate) -> None:
    drawn = candidates((FAR, 2.0, Fate.PASSED), (SHORT, 0.0, fate), (A, -1.0, Fate.UNRANKED))
    verdict = only(explain(target((A, 0)), regions((FAR, (0.9, 0), FAR), candidates=drawn), RULE))
    assert verdict.step is Step.NO_PROPOSAL and verdict.candidate is not None
    assert (verdict.candidate.box, verdict.candidate.fate) == (SHORT, fate)  # the furthest, not the nearest
    assert (verdict.candidate.rank, verdict.candidate.num_candidates) == (2, 3)
    assert (verdict.candidate.objectness, verdict.candidate.iou) == (0.5, pytest.approx(0.9))
    assert verdict.anchor is not None and verdict.anchor.iou == pytest.approx(95 * 95 / (20000 - 95 * 95))


def test_the_rpn_drew_nothing_for_it() -> None:
    drawn = candidates((FAR, 2.0, Fate.PASSED), (BESIDE, 0.0, Fate.CUT))
    candidate = only(explain(target((A, 0)), regions((FAR, (0.9, 0), FAR), candidates=drawn), RULE)).candidate
    assert candidate is not None and candidate.box == BESIDE
    assert candidate.iou == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("box", "scores", "fault", "about"),
    [
        (SHORT, (0.5, 0.0), Fault.DUPLICATE, 0),
        (A, (0.0, 0.5), Fault.CONFUSION, 0),
        (BESIDE, (0.5, 0.0), Fault.LOCALISATION, 0),
        (FAR, (0.5, 0.0), Fault.BACKGROUND, None),
    ],
)
def test_faults_of_false_detections(box: Box, scores: Scores, fault: Fault, about: int | None) -> None:
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
    verdict = only(explain(target((A, 0)), NOTHING, RULE))
    assert (verdict.step, verdict.proposal) == (Step.NO_PROPOSAL, None)
    (false,) = explain(Target.empty(), regions((A, (0.9, 0), A)), RULE).false_detections
    assert false.fault is Fault.BACKGROUND


def test_every_object_is_judged_once_and_as_a_plain_count_has_it() -> None:
    """Found objects and false detections together are the counted detections of pictures drawn at random."""
    generator = torch.Generator().manual_seed(0)
    steps = set()
    for _ in range(60):
        corner = torch.rand(8, 2, generator=generator) * 40
        boxes = torch.cat([corner, corner + 20 + torch.rand(8, 2, generator=generator) * 20], dim=1)
        objects = Target(boxes[:4], torch.tensor([0, 0, 1, 1]), torch.zeros(4, dtype=torch.bool))
        scene = _random_regions(boxes, generator)
        explanation = explain(objects, scene, DetectionRule(0.2, 0.3, max_detections=5), 0.5, 0.3)
        assert [verdict.object for verdict in explanation.verdicts] == [0, 1, 2, 3]
        found = sum(verdict.step is Step.FOUND for verdict in explanation.verdicts)
        assert found + len(explanation.false_detections) <= 5
        steps |= {verdict.step for verdict in explanation.verdicts}
    assert steps == set(Step)  # each of them was seen


def _random_regions(boxes: Tensor, generator: torch.Generator) -> Regions:
    proposals = boxes[torch.randint(0, 8, (10,), generator=generator)] + torch.randn(10, 4, generator=generator) * 3
    refined = proposals[:, None] + torch.randn(10, 2, 4, generator=generator) * 3
    return Regions(proposals, torch.rand(10, 2, generator=generator), None, refined, refined)
