"""Overlaps, matching and AP that the error analyses share: tiny cases worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from detkit.data.ground_truth import GroundTruth, Objects, numbered
from detkit.evaluation import pairs as pairs_module
from detkit.evaluation.pairs import Pairs, among_first, best_detections, coco_ap, match, overlapping
from detkit.structures import Detections


def pairs_of(*rows: tuple[int, int, float]) -> Pairs:
    detection, candidate, overlap = zip(*rows) if rows else ((), (), ())
    return Pairs(np.array(detection, dtype=np.int64), np.array(candidate, dtype=np.int64), np.array(overlap))


def truth_of(*images: list[tuple[float, float, float, float]], crowd: tuple[bool, ...]) -> GroundTruth:
    ends = np.cumsum([len(boxes) for boxes in images])
    flags = np.split(np.array(crowd, dtype=np.bool_), ends[:-1])
    parts = [
        replace(Objects.of_boxes(np.zeros(len(boxes), dtype=np.int64), np.array(boxes), one), crowd=one)
        for boxes, one in zip(images, flags)
    ]
    return numbered(("cat",), [f"image{k}" for k in range(len(images))], [(50, 50)] * len(images), parts)


@pytest.mark.parametrize("at_once", [1, 2, 100])
def test_overlaps_within_each_image(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """Two objects, a crowd of the same box as the first; a box half over them, one inside out, one elsewhere."""
    monkeypatch.setattr(pairs_module, "AT_ONCE", at_once)
    square = (0.0, 0.0, 10.0, 10.0)
    truth = truth_of([square, (5.0, 0.0, 15.0, 10.0), square], [], [square], crowd=(False, False, True, False))
    boxes = torch.tensor([(0.0, 0.0, 10.0, 20.0), (8.0, 8.0, 2.0, 2.0), (30.0, 30.0, 40.0, 40.0)])
    one = Detections(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.zeros(3).long())
    found = best_detections({"image0": one, "image1": one, "image2": one}, truth)
    result = overlapping(found, truth)
    assert found.image_index[result.detection].tolist() == [0, 0, 0, 2]
    assert found.rank[result.detection].tolist() == [0, 0, 0, 0]
    assert result.object.tolist() == [0, 1, 2, 3]
    assert result.overlap.tolist() == [100 / 200, 50 / 250, 100 / 200, 100 / 200]


def test_overlap_with_a_crowd_is_measured_on_the_detection() -> None:
    truth = truth_of([(0.0, 0.0, 20.0, 20.0)], crowd=(True,))
    inside = Detections(torch.tensor([(18.0, 0.0, 22.0, 4.0)]), torch.ones(1), torch.zeros(1).long())
    assert overlapping(best_detections({"image0": inside}, truth), truth).overlap.tolist() == [0.5]


def test_overlap_with_a_difficult_object_is_its_iou() -> None:
    truth = truth_of([(0.0, 0.0, 20.0, 20.0)], crowd=(True,))
    truth = replace(truth, objects=replace(truth.objects, crowd=np.array([False])))
    inside = Detections(torch.tensor([(18.0, 0.0, 22.0, 4.0)]), torch.ones(1), torch.zeros(1).long())
    assert overlapping(best_detections({"image0": inside}, truth), truth).overlap.tolist() == [8 / 408]


def test_best_scores_first_and_equal_ones_by_the_number_of_their_image() -> None:
    """And then by class, which files of each class can say too, and in their order."""
    truth = replace(truth_of([], [], crowd=()), image_numbers=(7, 3), classes=("cat", "dog"))
    rows = {"image0": [(1, 0.5), (0, 0.5), (0, 0.9), (0, 0.5)], "image1": [(1, 0.5)]}
    detections = {
        image: Detections(
            torch.zeros(len(one), 4), torch.tensor([score for _, score in one]), torch.tensor([c for c, _ in one])
        )
        for image, one in rows.items()
    }
    found = best_detections(detections, truth)
    order = list(zip(found.image_index.tolist(), found.rank.tolist()))
    assert order == [(0, 2), (1, 0), (0, 1), (0, 3), (0, 0)]
    assert len(best_detections({}, truth)) == 0


def test_best_scores_of_two_images() -> None:
    truth = truth_of([], [], crowd=())
    box = torch.tensor([(0.0, 0.0, 1.0, 1.0)] * 2)
    first, second = (
        Detections(box, torch.tensor(scores), torch.zeros(2).long()) for scores in ((0.9, 0.5), (0.9, 0.6))
    )
    found = best_detections({"image1": first, "image0": second}, truth)
    assert list(zip(found.image_index.tolist(), found.rank.tolist())) == [(0, 0), (1, 0), (0, 1), (1, 1)]


def test_best_object() -> None:
    objects, overlaps = pairs_of((0, 3, 0.2), (0, 4, 0.6), (0, 5, 0.6), (2, 1, 0.1)).best(3)
    assert objects.tolist() == [4, -1, 1]
    assert overlaps.tolist() == [0.6, 0.0, 0.1]
    assert [one.tolist() for one in pairs_of().best(0)] == [[], []]


def test_first_of_each_group() -> None:
    assert among_first(np.array([7, 2, 7, 7, 2]), 2).tolist() == [True, True, True, False, True]
    assert among_first(np.zeros(0, dtype=np.int64), 2).tolist() == []


@pytest.mark.parametrize(
    ("rows", "last", "shared", "taken"),
    [
        pytest.param([(0, 0, 0.6), (0, 1, 0.9), (1, 1, 0.9)], "", "", [1, -1], id="the best, once"),
        pytest.param([(0, 1, 0.9), (1, 0, 0.6), (1, 1, 0.9)], "", "", [1, 0], id="else the next"),
        pytest.param([(0, 0, 0.6), (0, 1, 0.9)], "1", "", [0, -1], id="last ones only if need be"),
        pytest.param([(0, 1, 0.9), (1, 1, 0.8)], "1", "", [1, -1], id="last, but used up"),
        pytest.param([(0, 1, 0.9), (1, 1, 0.8)], "1", "1", [1, 1], id="shared"),
        pytest.param([(0, 0, 0.9), (0, 1, 0.9)], "", "", [1, -1], id="the last of equals"),
        pytest.param([], "", "", [-1, -1], id="no pairs"),
    ],
)
def test_match(rows: list[tuple[int, int, float]], last: str, shared: str, taken: list[int]) -> None:
    marked = [np.array([str(number) in marks for number in range(2)]) for marks in (last, shared)]
    assert match(pairs_of(*rows), 2, *marked).tolist() == taken


@pytest.mark.parametrize(
    ("is_tp", "num_objects", "ap"),
    [
        ([True], 1, 1.0),
        ([False, True], 1, 0.5),
        ([True, False, True], 2, (51 + 50 * 2 / 3) / 101),
        ([True, False], 4, 26 / 101),  # recalls 0 to .25
        ([False, False], 3, 0.0),
        ([], 3, 0.0),
    ],
)
def test_coco_ap(is_tp: list[bool], num_objects: int, ap: float) -> None:
    assert coco_ap(np.array(is_tp, dtype=np.bool_), num_objects) == pytest.approx(ap)
