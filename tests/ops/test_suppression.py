"""Soft-NMS and box voting: tables by hand, empty and single, ties, and the plain NMS they come from."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from detkit.ops import boxes as box_ops
from detkit.ops.suppression import Decay, gaussian_decay, linear_decay, soft_nms, soft_nms_by_class, vote

Box = tuple[float, float, float, float]
A: Box = (0, 0, 10, 10)
HALF: Box = (0, 0, 10, 5)  # IoU 1/2 with A
FIFTH: Box = (0, 0, 10, 2)  # IoU 1/5 with A, 2/5 with HALF
FAR: Box = (50, 50, 60, 60)
LINEAR: Decay = partial(linear_decay, min_iou=0.3)
HALVED, FIFTHED, TWO_FIFTHS = math.exp(-0.5), math.exp(-0.04 / 0.5), math.exp(-0.16 / 0.5)  # exp(-IoU^2 / 0.5)

corner, side = st.integers(0, 60), st.integers(4, 40)
scored = st.tuples(corner, corner, side, side, st.floats(0.03125, 1, width=32), st.integers(0, 2))
many = st.lists(scored, max_size=12, unique_by=lambda row: row[4])


def tensor(rows: list[Box]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def columns(rows: list[tuple[int, int, int, int, float, int]]) -> tuple[Tensor, Tensor, Tensor]:
    boxes = tensor([(x, y, x + width, y + height) for x, y, width, height, _, _ in rows])
    return boxes, torch.tensor([row[4] for row in rows]).float(), torch.tensor([row[5] for row in rows]).long()


@pytest.mark.parametrize(
    ("decay", "min_score", "expected"),
    [
        # A is the best. HALF is above 0.3 of it and loses half; FIFTH is below. Then FIFTH (0.6) is before HALF (0.4),
        # which overlaps it by 2/5 and keeps 3/5 of that.
        (LINEAR, 0.0, [(0, 0.9), (3, 0.7), (2, 0.6), (1, 0.4 * 0.6)]),
        (LINEAR, 0.25, [(0, 0.9), (3, 0.7), (2, 0.6)]),
        (LINEAR, 0.6, [(0, 0.9), (3, 0.7)]),  # a score has to be above the least
        (LINEAR, 0.9, []),
        (gaussian_decay, 0.0, [(0, 0.9), (3, 0.7), (2, 0.6 * FIFTHED), (1, 0.8 * HALVED * TWO_FIFTHS)]),
    ],
)
def test_soft_nms_by_hand(decay: Decay, min_score: float, expected: list[tuple[int, float]]) -> None:
    kept, lowered = soft_nms(tensor([A, HALF, FIFTH, FAR]), torch.tensor([0.9, 0.8, 0.6, 0.7]), decay, min_score)
    assert kept.tolist() == [index for index, _ in expected]
    assert lowered.tolist() == pytest.approx([score for _, score in expected])


@pytest.mark.parametrize("decay", [LINEAR, gaussian_decay])
def test_soft_nms_of_nothing_and_of_one(decay: Decay) -> None:
    kept, lowered = soft_nms(tensor([]), torch.zeros(0), decay, 0.0)
    assert kept.shape == lowered.shape == (0,) and kept.dtype == torch.int64
    kept, lowered = soft_nms_by_class(tensor([]), torch.zeros(0), torch.zeros(0, dtype=torch.int64), decay, 0.0)
    assert kept.shape == lowered.shape == (0,) and kept.dtype == torch.int64
    kept, lowered = soft_nms(tensor([A]), torch.tensor([0.3]), decay, 0.0)
    assert kept.tolist() == [0] and lowered.tolist() == pytest.approx([0.3])


def test_of_equals_the_first_goes_first_and_takes_all_of_the_second() -> None:
    kept, lowered = soft_nms(tensor([A, A, FAR]), torch.tensor([0.5, 0.5, 0.5]), LINEAR, 0.0)
    assert kept.tolist() == [0, 2] and lowered.tolist() == [0.5, 0.5]  # 1 - IoU is 0
    kept, lowered = soft_nms(tensor([A, A]), torch.tensor([0.5, 0.5]), gaussian_decay, 0.0)
    assert kept.tolist() == [0, 1] and lowered.tolist() == pytest.approx([0.5, 0.5 * math.exp(-2)])


def test_scores_handed_in_stay_as_they_are() -> None:
    scores = torch.tensor([0.9, 0.8])
    soft_nms(tensor([A, HALF]), scores, gaussian_decay, 0.0)
    assert scores.tolist() == pytest.approx([0.9, 0.8])


def test_classes_do_not_lower_each_other() -> None:
    boxes, scores = tensor([A, A, HALF]), torch.tensor([0.4, 0.9, 0.8])
    kept, lowered = soft_nms_by_class(boxes, scores, torch.tensor([1, 0, 1]), LINEAR, 0.0)
    assert kept.tolist() == [1, 2, 0] and lowered.tolist() == pytest.approx([0.9, 0.8, 0.2])


@given(many)
def test_without_a_width_gaussian_soft_nms_is_nms(rows: list[tuple[int, int, int, int, float, int]]) -> None:
    """A decay that leaves nothing of what overlaps at all."""
    boxes, scores, labels = columns(rows)
    kept, lowered = soft_nms_by_class(boxes, scores, labels, partial(gaussian_decay, sigma=1e-12), 0.0)
    assert kept.tolist() == box_ops.nms_by_class(boxes, scores, labels, 0.0).tolist()
    assert torch.equal(lowered, scores[kept])


@given(many)
def test_soft_nms_lowers_scores_only_of_boxes_with_better_neighbours(
    rows: list[tuple[int, int, int, int, float, int]],
) -> None:
    boxes, scores, labels = columns(rows)
    kept, lowered = soft_nms_by_class(boxes, scores, labels, gaussian_decay, 0.0)
    assert sorted(kept.tolist()) == list(range(len(rows)))  # nothing is dropped
    assert bool((lowered.diff() <= 0).all()) and bool((lowered <= scores[kept]).all())
    touching = (box_ops.iou(boxes, boxes) > 0) & (labels[:, None] == labels) & (scores > scores[:, None])
    alone = ~touching.any(dim=1)
    assert torch.equal(lowered[alone[kept]], scores[kept][alone[kept]])


def voted(kept: list[int], min_iou: float = 0.5, labels: tuple[int, ...] = (0, 0, 0, 0)) -> list[list[float]]:
    boxes, scores, classes = tensor([A, HALF, FIFTH, FAR]), torch.tensor([0.9, 0.6, 0.5, 0.7]), torch.tensor(labels)
    return vote((boxes[kept], classes[kept]), boxes, scores, classes, min_iou).tolist()


def test_voting_by_hand() -> None:
    # A takes in HALF, at 0.5 exactly, by 0.9 to 0.6: its lower edge is (0.9 * 10 + 0.6 * 5) / 1.5. FAR is alone.
    assert voted([0, 3]) == [pytest.approx([0, 0, 10, 8]), pytest.approx(FAR)]
    assert voted([0], min_iou=0.2)[0] == pytest.approx([0, 0, 10, (9 + 3 + 1) / 2])  # FIFTH votes, too
    assert voted([0], min_iou=0.51)[0] == pytest.approx(A)
    assert voted([0], labels=(0, 1, 0, 0))[0] == pytest.approx(A)  # HALF is of another class
    assert voted([]) == []


def test_a_box_that_nobody_votes_for_stays() -> None:
    boxes = tensor([A])
    of_none = vote((boxes, torch.tensor([0])), tensor([]), torch.zeros(0), torch.zeros(0, dtype=torch.int64), 0.5)
    assert torch.equal(of_none, boxes)
    of_no_score = vote((boxes, torch.tensor([0])), boxes, torch.tensor([0.0]), torch.tensor([0]), 0.5)
    assert torch.equal(of_no_score, boxes)


@given(many)
def test_voted_boxes_lie_within_their_voters(rows: list[tuple[int, int, int, int, float, int]]) -> None:
    boxes, scores, labels = columns(rows)
    result = vote((boxes, labels), boxes, scores, labels, 0.5)
    for i in range(len(rows)):
        near = (box_ops.iou(boxes[i : i + 1], boxes)[0] >= 0.5) & (labels == labels[i])
        assert bool((result[i] >= boxes[near].amin(dim=0) - 1e-4).all())
        assert bool((result[i] <= boxes[near].amax(dim=0) + 1e-4).all())
        if near.sum() == 1:
            torch.testing.assert_close(result[i], boxes[i])
