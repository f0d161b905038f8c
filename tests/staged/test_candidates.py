"""What boxes are good for: by hand at the limits, and against a plain loop over boxes, classes and objects."""

import math
from dataclasses import replace

import pytest
import torch

from detkit.staged.candidates import CandidateRule, candidates
from detkit.structures import Target

RCNN = CandidateRule(negative_iou=0.3, max_negative_overlap=None, min_regression_iou=0.6)
Box = tuple[float, float, float, float]


def target(*objects: tuple[Box, int, bool]) -> Target:
    boxes = torch.tensor([box for box, _, _ in objects]).reshape(-1, 4).float()
    labels = torch.tensor([label for _, label, _ in objects], dtype=torch.int64)
    return Target(boxes, labels, torch.tensor([ignore for _, _, ignore in objects], dtype=torch.bool))


def plain_iou(one: list[float], other: list[float]) -> float:
    width, height = (max(0.0, min(one[k + 2], other[k + 2]) - max(one[k], other[k])) for k in (0, 1))
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return width * height / (areas - width * height)


def test_roles_by_hand() -> None:
    """An object of class 1 of 10 x 10 px; boxes of its height that begin with it have IoU 10 / width."""
    widths = (16, 17, 33, 34)  # 0.625, 0.588, 0.303, 0.294
    proposals = torch.tensor([[0.0, 0, width, 10] for width in widths])
    found = candidates(proposals, target(((0, 0, 10, 10), 1, False)), 3, RCNN)
    assert found.boxes.tolist() == [[0, 0, 10, 10], *proposals.tolist()]  # the object comes first
    assert found.positive_of.tolist() == [1, -1, -1, -1, -1]
    assert found.negative_for[:, 1].tolist() == [False, False, False, False, True]
    assert bool(found.negative_for[:, [0, 2]].all())  # an object is a negative of the other classes
    assert found.regressed.tolist() == [0, 1]
    assert found.labels.tolist() == [1, 1]
    # From 16 px to the object's 10: the centre moves 3 px to the left.
    expected = torch.tensor([[0, 0, 0, 0], [-3 / 16, 0, math.log(10 / 16), 0]])
    torch.testing.assert_close(found.offsets, expected)


def test_an_ignored_object_teaches_nothing_but_is_no_negative_of_its_class() -> None:
    proposals = torch.tensor([[0.0, 0, 10, 11], [50, 50, 60, 60]])
    found = candidates(proposals, target(((0, 0, 10, 10), 1, True)), 2, RCNN)
    assert found.positive_of.tolist() == [-1, -1] and found.regressed.tolist() == []
    assert found.negative_for.tolist() == [[True, False], [True, True]]
    assert found.offsets.shape == (0, 4) and found.labels.shape == (0,)


def test_an_image_without_objects_or_without_proposals() -> None:
    proposals = torch.tensor([[0.0, 0, 10, 11]])
    found = candidates(proposals, target(), 2, RCNN)
    assert found.positive_of.tolist() == [-1] and found.negative_for.tolist() == [[True, True]]
    found = candidates(torch.zeros(0, 4), target(((0, 0, 10, 10), 1, False)), 2, RCNN)
    assert found.positive_of.tolist() == [1] and found.regressed.tolist() == [0]
    nothing = candidates(torch.zeros(0, 4), target(), 2, RCNN)
    assert nothing.boxes.shape == (0, 4) and nothing.negative_for.shape == (0, 2) and nothing.offsets.shape == (0, 4)


def test_of_two_negatives_that_overlap_much_the_better_is_kept() -> None:
    """SPPNet: 0.7. Widths of 100, 80 and 65 px: each has IoU 0.8 with its neighbour, the outer two 0.65."""
    proposals = torch.tensor([[200.0, 0, 300, 10], [200, 0, 280, 10], [200, 0, 265, 10]])
    objects = target(((0, 0, 10, 10), 0, False), ((0, 0, 10, 9), 1, False))  # these two overlap by 0.9
    rule = CandidateRule(0.3, 0.7, 0.6)
    found = candidates(proposals, objects, 3, rule)
    # What the second suppresses stays, as the second is left out itself. Objects are never left out.
    assert found.negative_for[:, 2].tolist() == [True, True, True, False, True]
    found = candidates(proposals[[1, 0, 2]], objects, 3, rule)  # best first: now it is the best
    assert found.negative_for[:, 2].tolist() == [True, True, True, False, False]
    assert candidates(proposals, objects, 3, RCNN).negative_for[:, 2].all()


@pytest.mark.parametrize("seed", range(3))
def test_roles_are_the_plain_ones(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(40, 2, generator=generator) * 60
    boxes = torch.cat([corner, corner + 10 + torch.rand(40, 2, generator=generator) * 40], dim=1)
    objects = [(tuple(box), i % 2, i == 3) for i, box in enumerate(boxes[:5].tolist())]
    rule = CandidateRule(0.3, None, 0.4)
    proposals = torch.cat([boxes[5:], boxes[:5] + 2])
    found = candidates(proposals, target(*objects), 3, rule)
    wanted = [(box, label) for box, label, ignore in objects if not ignore]
    rows = [list(box) for box, _ in wanted] + proposals.tolist()
    assert found.boxes.tolist() == rows
    regressed = []
    for n, row in enumerate(rows):
        assert int(found.positive_of[n]) == (wanted[n][1] if n < len(wanted) else -1)
        for label in range(3):
            overlaps = [plain_iou(row, list(box)) for box, of, _ in objects if of == label]
            assert bool(found.negative_for[n, label]) == all(overlap < 0.3 for overlap in overlaps), (n, label)
        overlap, k = max((plain_iou(row, list(box)), k) for k, (box, _) in enumerate(wanted))
        if overlap > 0.4:
            regressed.append((n, wanted[k][1], plain_offsets(row, list(wanted[k][0]))))
    assert len(regressed) > len(wanted)
    rows_of, labels_of, offsets_of = zip(*regressed, strict=True)
    assert found.regressed.tolist() == list(rows_of) and found.labels.tolist() == list(labels_of)
    torch.testing.assert_close(found.offsets, torch.tensor(offsets_of), atol=1e-4, rtol=1e-4)


def plain_offsets(box: list[float], goal: list[float]) -> list[float]:
    """R-CNN, appendix C."""
    w, h, goal_w, goal_h = box[2] - box[0], box[3] - box[1], goal[2] - goal[0], goal[3] - goal[1]
    x, y = (goal[0] + goal[2] - box[0] - box[2]) / 2, (goal[1] + goal[3] - box[1] - box[3]) / 2
    return [x / w, y / h, math.log(goal_w / w), math.log(goal_h / h)]


def test_no_box_is_a_negative_of_a_class_that_is_unknown_in_its_image() -> None:
    proposals = torch.tensor([[50.0, 50, 60, 60], [0, 0, 10, 9]])
    image = target(((0, 0, 10, 10), 1, False))
    known = candidates(proposals, image, 3, RCNN)
    found = candidates(proposals, replace(image, unknown=torch.tensor([True, False, False])), 3, RCNN)
    assert known.negative_for[:, 0].tolist() == [True, True, True]
    assert found.negative_for[:, 0].tolist() == [False, False, False]
    assert found.negative_for[:, 1:].tolist() == known.negative_for[:, 1:].tolist()
    assert found.positive_of.tolist() == known.positive_of.tolist()
