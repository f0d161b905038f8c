"""Boxes: cases by hand, plain loops straight from the definitions, torchvision beside them, and properties."""

import math

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder

from detkit.ops import boxes as box_ops

Box = tuple[float, float, float, float]
A: Box = (0, 0, 10, 10)
EMPTY = torch.zeros(0, 4)

side = st.integers(4, 100)  # px; sides differ by less than the factor 62.5 that decode allows
corner = st.integers(-60, 60)


def box(x: int, y: int, width: int, height: int) -> Box:
    return (x, y, x + width, y + height)


boxes = st.builds(box, corner, corner, side, side)
many_boxes = st.lists(boxes, max_size=12)


def tensor(rows: list[Box]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def plain_iou(one: Box, other: Box) -> float:
    width = max(0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (one, other)]
    return width * height / (sum(areas) - width * height)


def plain_nms(rows: list[Box], scores: list[float], max_iou: float) -> list[int]:
    kept: list[int] = []
    for i in sorted(range(len(rows)), key=lambda i: -scores[i]):
        if all(plain_iou(rows[i], rows[k]) <= max_iou for k in kept):
            kept.append(i)
    return kept


def test_area() -> None:
    rows = tensor([(1, 2, 4, 6), (5, 5, 5, 9), (4, 6, 1, 2), (4, 2, 1, 6)])  # 3 x 4; no width; inverted; half inverted
    assert box_ops.area(rows).tolist() == [12, 0, 0, 0]
    assert box_ops.area(rows.reshape(2, 2, 4)).tolist() == [[12, 0], [0, 0]]
    assert box_ops.area(EMPTY).shape == (0,)


@pytest.mark.parametrize(
    ("other", "common", "union"),
    [
        (A, 100, 100),
        ((5, 0, 15, 10), 5 * 10, 100 + 100 - 50),
        ((2, 3, 4, 6), 2 * 3, 100),  # inside A
        ((5, 5, 25, 15), 5 * 5, 100 + 200 - 25),
        ((10, 0, 20, 10), 0, 200),  # they touch
        ((20, 30, 30, 40), 0, 200),  # apart on both axes: -10 * -20 is no overlap
        ((3, 3, 3, 8), 0, 100),  # empty
    ],
)
def test_iou_by_hand(other: Box, common: float, union: float) -> None:
    assert box_ops.intersection(tensor([A]), tensor([other])).tolist() == [[common]]
    assert box_ops.iou(tensor([A]), tensor([other])).item() == pytest.approx(common / union)


def test_iou_of_nothing() -> None:
    point = tensor([(3, 3, 3, 3)])
    assert box_ops.iou(point, point).tolist() == [[0.0]]
    assert box_ops.iou(EMPTY, tensor([A])).shape == (0, 1)
    assert box_ops.iou(tensor([A]), EMPTY).shape == (1, 0)


@given(many_boxes, many_boxes)
@settings(deadline=None)
def test_iou_is_the_plain_one(ones: list[Box], others: list[Box]) -> None:
    overlaps = box_ops.iou(tensor(ones), tensor(others))
    expected = torch.tensor([[plain_iou(a, b) for b in others] for a in ones]).reshape(len(ones), len(others))
    torch.testing.assert_close(overlaps, expected)
    torch.testing.assert_close(overlaps, torchvision.ops.box_iou(tensor(ones), tensor(others)))
    assert torch.equal(overlaps, box_ops.iou(tensor(others), tensor(ones)).T)
    assert bool(((overlaps >= 0) & (overlaps <= 1)).all())
    if ones:
        one_by_one = torch.cat([box_ops.iou(row[None], tensor(others)) for row in tensor(ones)])
        assert torch.equal(overlaps, one_by_one)


CODING = [  # reference, box, its offsets
    (A, A, (0, 0, 0, 0)),
    # Centres (5, 10) and (15, 15), sizes 10 x 20 and 20 x 10.
    ((0, 0, 10, 20), (5, 10, 25, 20), (10 / 10, 5 / 20, math.log(20 / 10), math.log(10 / 20))),
    # Centres (30, 30) and (25, 31), sizes 20 x 20 and 10 x 30.
    ((20, 20, 40, 40), (20, 16, 30, 46), (-5 / 20, 1 / 20, math.log(10 / 20), math.log(30 / 20))),
]


@pytest.mark.parametrize(("reference", "goal", "offsets"), CODING)
def test_coding_by_hand(reference: Box, goal: Box, offsets: Box) -> None:
    torch.testing.assert_close(box_ops.encode(tensor([reference]), tensor([goal])), tensor([offsets]))
    torch.testing.assert_close(box_ops.decode(tensor([reference]), tensor([offsets])), tensor([goal]))


def test_decode_limits_growth_but_not_shrinking() -> None:
    reference = tensor([(0, 0, 16, 16)])
    # 16 px grow to 1000 at most: half of that on both sides of the centre 8.
    grown = box_ops.decode(reference, tensor([(0, 0, 50, 50)]))
    torch.testing.assert_close(grown, tensor([(-492, -492, 508, 508)]))
    shrunk = box_ops.decode(reference, tensor([(0, 0, math.log(1 / 100), 0)]))
    torch.testing.assert_close(shrunk, tensor([(8 - 0.08, 0, 8 + 0.08, 16)]))


def test_coding_of_nothing_and_of_many_axes() -> None:
    assert box_ops.encode(EMPTY, EMPTY).shape == box_ops.decode(EMPTY, EMPTY).shape == (0, 4)
    references, offsets = tensor([A, (5, 5, 25, 45)]), torch.randn(2, 3, 4)
    together = box_ops.decode(references[:, None], offsets)  # (2, 3, 4)
    one_by_one = [[box_ops.decode(references[i], offsets[i, j]) for j in range(3)] for i in range(2)]
    torch.testing.assert_close(together, torch.stack([torch.stack(row) for row in one_by_one]))


@given(st.lists(st.tuples(boxes, boxes), max_size=8))
@settings(deadline=None)
def test_coding_there_and_back_and_as_torchvision(pairs: list[tuple[Box, Box]]) -> None:
    references, goals = tensor([a for a, _ in pairs]), tensor([b for _, b in pairs])
    offsets = box_ops.encode(references, goals)
    torch.testing.assert_close(box_ops.decode(references, offsets), goals, atol=1e-3, rtol=1e-5)
    std = torch.tensor([0.1, 0.1, 0.2, 0.2])
    coder = BoxCoder(weights=(10.0, 10.0, 5.0, 5.0))  # torchvision multiplies where Fast R-CNN divides by deviations
    torch.testing.assert_close(offsets / std, coder.encode_single(goals, references), atol=1e-4, rtol=1e-5)
    if pairs:
        wild = offsets * 3  # some beyond the limit of growth
        decoded = coder.decode_single(wild / std, references)
        torch.testing.assert_close(box_ops.decode(references, wild), decoded, atol=1e-2, rtol=1e-4)


def test_clip() -> None:
    size = torch.tensor([20, 30])  # height, width
    rows = tensor([(-5, -6, 50, 60), (3, 4, 5, 6), (40, 1, 50, 2), (-9, 25, -3, 28)])
    expected = tensor([(0, 0, 30, 20), (3, 4, 5, 6), (30, 1, 30, 2), (0, 20, 0, 20)])
    assert torch.equal(box_ops.clip(rows, size), expected)
    assert box_ops.clip(EMPTY, size).shape == (0, 4)


@pytest.mark.parametrize(
    ("row", "min_side", "expected"),
    [
        ((0, 0, 5, 8), 5, True),  # exactly
        ((0, 0, 5, 8), 6, False),  # too narrow
        ((0, 0, 8, 5), 6, False),  # too low
        ((0, 0, 0, 8), 0, False),  # empty
        ((9, 9, 1, 1), 0, False),  # inverted
        ((0, 0, 0.1, 0.1), 0, True),
    ],
)
def test_long_enough(row: Box, min_side: float, expected: bool) -> None:
    assert box_ops.long_enough(tensor([row]), min_side).tolist() == [expected]


def test_nms_by_hand() -> None:
    rows = tensor([A, (0, 0, 10, 5), (1, 0, 11, 10), (30, 30, 40, 40)])
    scores = torch.tensor([0.5, 0.4, 0.9, 0.1])
    # IoU with row 2, the best: row 0 90 / 110 = 0.82, row 1 45 / 105 = 0.43. Rows 0 and 1: 50 / 100.
    assert box_ops.nms(rows, scores, 0.5).tolist() == [2, 1, 3]
    assert box_ops.nms(rows, scores, 0.85).tolist() == [2, 0, 1, 3]
    assert box_ops.nms(rows, scores, 0.4).tolist() == [2, 3]
    exactly_half = box_ops.nms(rows[:2], scores[:2], 0.5)
    assert exactly_half.tolist() == [0, 1]  # suppressed is what overlaps by more
    assert box_ops.nms(EMPTY, torch.zeros(0), 0.5).shape == (0,)


@st.composite
def scored(draw: st.DrawFn) -> tuple[list[Box], list[float], list[int]]:
    """Boxes with scores of which no two are equal, and labels."""
    rows = draw(many_boxes)
    order = draw(st.permutations(range(len(rows))))
    labels = draw(st.lists(st.integers(0, 2), min_size=len(rows), max_size=len(rows)))
    return rows, [(rank + 1) / 16 for rank in order], labels


@given(scored(), st.sampled_from([0.111, 0.301, 0.701]))  # no quotient of small numbers comes near these
@settings(deadline=None)
def test_nms_is_the_greedy_loop(case: tuple[list[Box], list[float], list[int]], max_iou: float) -> None:
    rows, scores = tensor(case[0]), torch.tensor(case[1])
    kept = box_ops.nms(rows, scores, max_iou)
    assert kept.tolist() == plain_nms(case[0], case[1], max_iou)
    assert kept.tolist() == torchvision.ops.nms(rows, scores, max_iou).tolist()
    again = box_ops.nms(rows[kept], scores[kept], max_iou)
    assert again.tolist() == list(range(len(kept)))


@given(scored(), st.sampled_from([0.111, 0.301, 0.701]))
@settings(deadline=None)
def test_nms_by_class_is_nms_within_each_class(case: tuple[list[Box], list[float], list[int]], max_iou: float) -> None:
    rows, scores, labels = case
    kept = box_ops.nms_by_class(tensor(rows), torch.tensor(scores), torch.tensor(labels, dtype=torch.int64), max_iou)
    expected: list[int] = []
    for label in set(labels):
        members = [i for i, one in enumerate(labels) if one == label]
        within = plain_nms([rows[i] for i in members], [scores[i] for i in members], max_iou)
        expected += [members[k] for k in within]
    assert kept.dtype == torch.int64
    assert kept.tolist() == sorted(expected, key=lambda i: -scores[i])


def test_nms_by_class_keeps_equal_boxes_of_two_classes() -> None:
    rows, scores = tensor([A, A, A]), torch.tensor([0.7, 0.8, 0.9])
    assert box_ops.nms_by_class(rows, scores, torch.tensor([0, 1, 1]), 0.5).tolist() == [2, 0]
    assert box_ops.nms_by_class(EMPTY, torch.zeros(0), torch.zeros(0, dtype=torch.int64), 0.5).shape == (0,)


def test_nms_by_class_moves_boxes_far_enough_apart() -> None:
    """Moved by the largest value and 1 px, 61 px, the second box would lie on the first."""
    rows = tensor([(40, 40, 60, 60), (-21, -21, -1, -1)])
    assert box_ops.nms_by_class(rows, torch.tensor([0.9, 0.8]), torch.tensor([0, 1]), 0.5).tolist() == [0, 1]


def test_inclusive_decoding_by_hand() -> None:
    """py-faster-rcnn on [0, 0, 9, 9] in px inside: width 9 - 0 + 1, centre 5, and x2 = 5 + 10 / 2 is one px further."""
    decoded = box_ops.decode(tensor([A]), tensor([(0, 0, 0, 0), (0.1, 0, math.log(2), 0)]), inclusive=True)
    torch.testing.assert_close(decoded - torch.tensor([0.0, 0, 1, 1]), tensor([(0, 0, 10, 10), (-4, 0, 16, 10)]))
    assert box_ops.decode(EMPTY, EMPTY, inclusive=True).shape == (0, 4)


def test_inclusive_clipping_by_hand() -> None:
    """In px inside, each is brought to 0 ... 29 and 0 ... 19: a box beyond the image becomes its outermost px."""
    size = torch.tensor([20, 30])  # height, width
    rows = tensor([(-5, -6, 50, 60), (3, 4, 5, 6), (40, 1, 50, 2), (-9, 25, -3, 28)])
    expected = tensor([(0, 0, 30, 20), (3, 4, 5, 6), (29, 1, 30, 2), (0, 19, 1, 20)])
    assert torch.equal(box_ops.clip(rows, size, inclusive=True), expected)
