"""Recall of proposals: a split worked out by hand, the greedy loop beside it, and published sums for AR."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from detkit.evaluation.recall import COUNTS, IOUS, recall
from detkit.structures import Sample, Size, Target

Box = tuple[float, float, float, float]


@dataclass
class Objects:
    """A data set without images: by image id its boxes, and which of them to ignore."""

    boxes: dict[str, list[Box]]
    ignored: tuple[Box, ...] = ()
    classes: tuple[str, ...] = ("thing",)

    @property
    def image_ids(self) -> tuple[str, ...]:
        return tuple(self.boxes)

    def __len__(self) -> int:
        return len(self.boxes)

    def read(self, index: int) -> Sample:
        raise NotImplementedError

    def target(self, index: int) -> Target:
        rows = self.boxes[self.image_ids[index]]
        ignore = torch.tensor([row in self.ignored for row in rows], dtype=torch.bool)
        return Target(tensor(rows), torch.zeros(len(rows), dtype=torch.int64), ignore)

    def size(self, index: int) -> Size:
        raise NotImplementedError


def tensor(rows: list[Box]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


A, B, FAR = (0.0, 0.0, 10.0, 10.0), (50.0, 50.0, 60.0, 60.0), (90.0, 0.0, 95.0, 5.0)
A_80, A_60 = (0.0, 0.0, 10.0, 8.0), (0.0, 0.0, 6.0, 10.0)  # IoU .8 and .6 with A
B_50 = (50.0, 50.0, 60.0, 55.0)


def test_split_by_hand() -> None:
    dataset = Objects({"one": [A, B], "two": [A], "three": []})
    proposals = {"one": tensor([A_60, B_50, A_80]), "two": tensor([FAR, A]), "three": tensor([A, A, A])}
    result = recall(proposals, dataset, counts=(1, 2, 3), ious=(0.5, 0.6, 0.61, 0.8, 1.0))
    assert result.num_objects == 3
    np.testing.assert_allclose(result.overlaps, [[0.6, 0, 0], [0.6, 0.5, 1], [0.8, 0.5, 1]])
    # A threshold that is met exactly counts.
    by_hand = [[1, 1, 0, 0, 0], [3, 2, 1, 1, 1], [3, 2, 2, 2, 1]]
    np.testing.assert_allclose(result.recall, np.array(by_hand) / 3)
    np.testing.assert_allclose(result.at(0.7), [0, 1 / 3, 2 / 3])
    # Mean of 2 * max(IoU - .5, 0).
    np.testing.assert_allclose(result.average, [0.2 / 3, (0.2 + 0 + 1) / 3, (0.6 + 0 + 1) / 3])
    np.testing.assert_allclose(result.boxes_per_image, [3 / 3, 6 / 3, 8 / 3])


# Two objects side by side, 10 x 10 each, and proposals that both want.
LEFT, RIGHT = (0.0, 0.0, 10.0, 10.0), (10.0, 0.0, 20.0, 10.0)
WIDE = (1.0, 0.0, 20.0, 10.0)  # with LEFT 90 / 200 = .45, with RIGHT 100 / 190
WIDER = (-40.0, 0.0, 20.0, 10.0)  # 100 / 600 with either


@pytest.mark.parametrize(
    ("proposals", "expected"),
    [
        ([WIDE], [0, 100 / 190]),  # it serves the one it overlaps more, and only that one
        ([WIDE, WIDER], [100 / 600, 100 / 190]),  # the other takes what is left
        ([WIDE, LEFT], [1, 100 / 190]),
        ([WIDER, WIDER], [100 / 600, 100 / 600]),  # two equal boxes serve two objects
        ([WIDER], [100 / 600, 0]),  # of equal pairs the first object's
        ([FAR, FAR], [0, 0]),
        ([], [0, 0]),
    ],
)
def test_a_proposal_serves_one_object(proposals: list[Box], expected: list[float]) -> None:
    result = recall({"one": tensor(proposals)}, Objects({"one": [LEFT, RIGHT]}), counts=(5,))
    np.testing.assert_allclose(result.overlaps[0], expected)


def test_ignored_objects_are_left_out_and_take_no_proposal() -> None:
    dataset = Objects({"one": [LEFT, RIGHT]}, ignored=(RIGHT,))
    result = recall({"one": tensor([WIDE])}, dataset, counts=(1,))
    assert result.num_objects == 1
    np.testing.assert_allclose(result.overlaps, [[90 / 200]])


def test_by_size() -> None:
    sides = (31, 32, 96, 97)  # px: small, medium (both limits), large
    objects: list[Box] = [(200.0 * k, 0.0, 200.0 * k + side, side) for k, side in enumerate(sides)]
    sizes = recall({"one": tensor(objects[1:2])}, Objects({"one": objects}), counts=(1, 2)).by_size
    assert [(name, one.num_objects) for name, one in sizes.items()] == [("small", 1), ("medium", 2), ("large", 1)]
    assert [one.average.tolist() for one in sizes.values()] == [[0, 0], [0.5, 0.5], [0, 0]]


def test_nothing_to_find() -> None:
    for dataset in (Objects({}), Objects({"one": []}), Objects({"one": [A]}, ignored=(A,))):
        result = recall({"one": tensor([A])}, dataset)
        assert result.num_objects == 0
        assert result.recall.shape == (len(COUNTS), len(IOUS)) and np.isnan(result.recall).all()
        assert np.isnan(result.average).all()
        assert result.boxes_per_image.tolist() == [len(dataset)] * len(COUNTS)


def test_thresholds_are_those_written() -> None:
    assert IOUS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)


@pytest.mark.parametrize(
    ("proposals", "message"),
    [
        ({}, "image 'one': no proposals"),
        ({"one": torch.zeros(3, 5)}, r"shape \(3, 5\); expected \(N, 4\)"),
        ({"one": torch.tensor([[0.0, 0.0, torch.nan, 1.0]])}, "not finite"),
    ],
)
def test_wrong_proposals(proposals: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recall(proposals, Objects({"one": [A]}))


@pytest.mark.parametrize(("counts", "ious"), [((), IOUS), ((0, 10), IOUS), (COUNTS, ()), (COUNTS, (0.5, 1.1))])
def test_wrong_limits(counts: tuple[int, ...], ious: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="expected counts from 1"):
        recall({"one": tensor([A])}, Objects({"one": [A]}), counts, ious)


boxes = st.builds(
    lambda x, y, width, height: (float(x), float(y), float(x + width), float(y + height)),
    st.integers(0, 12),
    st.integers(0, 12),
    st.integers(1, 12),
    st.integers(1, 12),
)


def greedy(objects: list[Box], proposals: list[Box]) -> list[float]:
    """All pairs sorted, the best first, each taken whose object and proposal are both free."""

    def iou(one: Box, other: Box) -> float:
        width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
        height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
        areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (one, other)]
        return width * height / (sum(areas) - width * height)

    pairs = sorted((-iou(one, other), m, n) for m, one in enumerate(objects) for n, other in enumerate(proposals))
    matched, used = [0.0] * len(objects), set[int]()
    done = set[int]()
    for overlap, m, n in pairs:
        if m not in done and n not in used:
            matched[m] = -overlap
            done.add(m)
            used.add(n)
    return matched


@given(st.lists(boxes, min_size=1, max_size=5), st.lists(boxes, max_size=8))
@settings(deadline=None, max_examples=50)
def test_matching_is_the_greedy_one_and_more_boxes_never_harm(objects: list[Box], proposals: list[Box]) -> None:
    counts = tuple(range(1, 9))
    result = recall({"one": tensor(proposals)}, Objects({"one": objects}), counts)
    expected = [greedy(objects, proposals[:count]) for count in counts]
    np.testing.assert_allclose(result.overlaps, expected)
    assert (np.diff(result.overlaps, axis=0) >= 0).all()  # for each object
    assert (np.diff(result.recall, axis=1) <= 0).all()  # over rising thresholds


@given(st.lists(boxes, min_size=1, max_size=6), st.lists(boxes, max_size=8))
@settings(deadline=None, max_examples=30)
def test_average_recall_is_the_published_sum(objects: list[Box], proposals: list[Box]) -> None:
    """py-faster-rcnn: twice the trapezoids under recall at the thresholds .5, .501 ... 1."""
    thresholds = np.linspace(0.5, 1, 501)
    result = recall({"one": tensor(proposals)}, Objects({"one": objects}), (8,), tuple(thresholds))
    trapezoids = 2 * np.trapezoid(result.recall[0], thresholds)
    assert result.average[0] == pytest.approx(trapezoids, abs=0.0011)


def test_images_count_by_their_objects() -> None:
    """The split's recall is over all objects at once, not a mean of images."""
    dataset = Objects({"one": [A, B, FAR], "two": [A]})
    result = recall({"one": tensor([]), "two": tensor([A])}, dataset, counts=(1,), ious=(0.5,))
    assert result.recall.tolist() == [[1 / 4]]
