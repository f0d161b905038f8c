"""The words for each step: they name the evidence, and what a reader can change."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from detkit.evaluation.diagnosis import (
    Candidate,
    Diagnosis,
    Explanation,
    FalseDetection,
    FalseDetectionKind,
    NearestBox,
    Outcome,
    ScoredBox,
    Step,
)
from detkit.heads.rpn import Selection
from detkit.reports.missed_objects import FOUND, MISSED, PROPOSAL, Account, _legend, draw, line, opening, paragraph
from detkit.structures import Target

BOX, OTHER = (10.0, 10.0, 50.0, 60.0), (20.0, 10.0, 60.0, 60.0)
SCORED = ScoredBox(0, 0.8, OTHER, 0.6, NearestBox(OTHER, 0.55), 0, 0.8, 7)
RIVAL = replace(SCORED, score=0.9, iou=0.4)
VERDICT = Diagnosis(0, 0, BOX, Step.FOUND, None, NearestBox(OTHER, 0.3))
LOST = replace(VERDICT, step=Step.NO_PROPOSAL)
DRAWN = Candidate(OTHER, 0.7, 0.02, 7313, Outcome.UNRANKED, 21000)


def account(*diagnoses: Diagnosis) -> Account:
    objects = Target(torch.tensor([BOX, OTHER]), torch.tensor([0, 1]), torch.zeros(2, dtype=torch.bool))
    selection = Selection(before_nms=6000, after_nms=300, nms_iou=0.7, min_side=16)
    return Account(Explanation(diagnoses, ()), objects, ("cat", "dog"), 300, selection, 0.3, 100, 0.05, 0.5, 0.05)


@pytest.mark.parametrize(
    ("diagnosis", "phrases"),
    [
        (replace(VERDICT, scored=SCORED), ["(10, 10, 50, 60): found", "0.80", "0.60", "(20, 10, 60, 60)"]),
        (replace(LOST, proposal=None), ["step 2", "not one proposal"]),
        (LOST, ["step 2", "nearest of 300 proposals", "0.30", "0.5 is needed"]),
        (replace(LOST, candidate=DRAWN), ["ranked it 7313 of 21000", "best 6000", "test_before_nms"]),
        (replace(LOST, candidate=replace(DRAWN, outcome=Outcome.TOO_SMALL)), ["below 16 px", "min_side"]),
        (
            replace(LOST, candidate=replace(DRAWN, outcome=Outcome.SUPPRESSED)),
            ["more than 0.7", "model.rpn.nms_iou"],
        ),
        (replace(LOST, candidate=replace(DRAWN, outcome=Outcome.CUT)), ["best 300", "test_after_nms"]),
        (replace(LOST, candidate=replace(DRAWN, iou=0.2)), ["drew no box for it", "all its 21000", "0.20"]),
        (replace(LOST, anchor=NearestBox(OTHER, 0.4)), ["anchors; model.rpn.sizes", "0.40"]),
        (replace(LOST, step=Step.NOT_RECOGNISED, scored=replace(SCORED, winner=1)), ["step 3", "rather as a dog"]),
        (replace(LOST, step=Step.NOT_RECOGNISED, scored=replace(SCORED, winner=None)), ["step 3", "background"]),
        (replace(LOST, step=Step.NOT_RECOGNISED, scored=SCORED), ["step 3", "no other class scores more"]),
        (replace(LOST, step=Step.BADLY_REFINED, scored=SCORED, other=1), ["step 4", "object 2 (dog): crowded"]),
        (
            replace(LOST, step=Step.SUPPRESSED, scored=SCORED, rival=RIVAL, rival_overlap=0.45),
            ["step 5", "score 0.90", "overlap by 0.45", "above 0.3 (nms_iou)", "hits nothing", "by 0.40"],
        ),
        (
            replace(LOST, step=Step.SUPPRESSED, scored=SCORED, rival=RIVAL, rival_overlap=0.45, other=1),
            ["step 5", "That one finds object 2 (dog): crowded"],
        ),
        (
            replace(LOST, step=Step.CUT, scored=SCORED),
            ["step 6", "number 7 of the boxes", "only 100", "max_detections"],
        ),
        (replace(LOST, step=Step.NOT_COUNTED, scored=SCORED), ["step 7", "under --min-score 0.05"]),
        (
            replace(LOST, step=Step.NOT_COUNTED, scored=SCORED, rival=RIVAL, other=1),
            ["step 7", "object 2 (dog) better", "which a better scored detection finds"],
        ),
    ],
)
def test_a_paragraph_names_step_and_evidence(diagnosis: Diagnosis, phrases: list[str]) -> None:
    text = paragraph(diagnosis, account(diagnosis))
    assert text.startswith("object 1 (cat) at (10, 10, 50, 60): ")
    assert [phrase for phrase in phrases if phrase not in text] == []


@pytest.mark.parametrize(
    ("fault", "about", "phrase"),
    [
        (FalseDetectionKind.DUPLICATE, 0, "duplicate, object 1 (cat) was found by a better scored one"),
        (FalseDetectionKind.CONFUSION, 1, "confusion, it is on object 2 (dog)"),
        (FalseDetectionKind.LOCALISATION, 0, "localisation, it overlaps object 1 (cat) by 0.30 only"),
        (FalseDetectionKind.BACKGROUND, None, "background, no object is there"),
    ],
)
def test_a_line_of_a_false_detection(fault: FalseDetectionKind, about: int | None, phrase: str) -> None:
    text = line(FalseDetection(0, 0.8, OTHER, fault, about, 0.3), account())
    assert text.startswith("cat 0.80 at (20, 10, 60, 60): ") and phrase in text


def test_the_opening_counts() -> None:
    assert opening(account(replace(VERDICT, scored=SCORED), LOST)).startswith("1 of 2 objects found. ")
    assert opening(account()).startswith("0 of 0 objects found. ")


def test_found_is_green_and_missed_yellow() -> None:
    image = np.zeros((80, 80, 3), dtype=np.uint8)
    missed = replace(LOST, object=1, label=1, box=(5.0, 30.0, 75.0, 75.0))
    drawn = draw(image, account(replace(VERDICT, scored=SCORED), missed))
    assert not image.any()
    for color in (FOUND, MISSED):
        assert (drawn == color).all(axis=2).sum() > 20
    assert not (draw(image, account(VERDICT)) == MISSED).all(axis=2).any()


def test_legend_has_what_the_image_has() -> None:
    """On a small image and a large one; the image itself stays as it is drawn."""
    for height, width in ((80, 100), (1500, 2000)):
        image = np.zeros((height, width, 3), dtype=np.uint8)
        found = draw(image, account(replace(VERDICT, scored=SCORED)))
        both = draw(image, account(replace(VERDICT, scored=SCORED), replace(LOST, object=1, box=OTHER)))
        for drawn, colors in ((found, [FOUND]), (both, [FOUND, MISSED, PROPOSAL])):
            legend = drawn[height:]
            assert len(legend) and drawn.shape[1] == max(width, 360)
            present = [color for color in (FOUND, MISSED, PROPOSAL) if (legend == color).all(axis=2).sum() > 20]
            assert [color for color in present if color != PROPOSAL] == colors[:2]  # letters are white, too
    assert [entry.text for entry in _legend(())] == ["no objects in this image"]
