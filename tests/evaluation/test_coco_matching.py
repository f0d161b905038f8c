"""Our matching against the official code's numbers, and its table on cases worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from detkit.data.ground_truth import GroundTruth, Objects
from detkit.evaluation.coco import evaluate_coco
from detkit.evaluation.coco_matching import (
    ALL_AREAS,
    IOUS,
    LARGE,
    MEDIUM,
    SMALL,
    average_precision_coco,
    match_coco,
    precision_at_recalls,
    weighted_precision,
)
from detkit.evaluation.voc import Outcome
from detkit.structures import Detections
from tests.evaluation.plain_coco import plain_precision

Box = tuple[float, float, float, float]
A, B, AWAY, CROWD = (0.0, 0.0, 40.0, 40.0), (100.0, 0.0, 140.0, 40.0), (0.0, 100.0, 9.0, 109.0), (0.0, 0.0, 200.0, 60.0)
NEAR_A = (0.0, 0.0, 40.0, 30.0)  # IoU .75


def truth_of(*images: list[tuple[int, Box, bool]], classes: int = 2, numbers: tuple[int, ...] = ()) -> GroundTruth:
    rows = [row for image in images for row in image]
    objects = Objects.of_boxes(
        np.array([label for label, _, _ in rows], dtype=np.int64),
        np.array([box for _, box, _ in rows], dtype=np.float64),
        np.array([ignore for _, _, ignore in rows], dtype=np.bool_),
    )
    objects = replace(objects, crowd=objects.ignore)
    ids = tuple(f"image{k}" for k in range(len(images)))
    counts = np.array([len(image) for image in images], dtype=np.int64)
    sizes = np.full((len(images), 2), 200, dtype=np.int64)
    numbers = numbers or tuple(range(1, len(images) + 1))
    return GroundTruth(tuple("abcdef"[:classes]), ids, sizes, objects, counts, tuple(range(1, classes + 1)), numbers)


def found(*rows: tuple[int, Box, float]) -> Detections:
    labels, boxes, scores = zip(*rows) if rows else ((), (), ())
    return Detections(
        torch.tensor(boxes).reshape(-1, 4), torch.tensor(scores).float(), torch.tensor(labels, dtype=torch.int64)
    )


def with_difficult(truth: GroundTruth, seed: int) -> GroundTruth:
    """Half of the crowds are difficult objects instead."""
    crowd = truth.objects.crowd & (np.random.default_rng(seed).random(len(truth.objects)) < 0.5)
    return replace(truth, objects=replace(truth.objects, crowd=crowd))


def random_case(seed: int) -> tuple[GroundTruth, dict[str, Detections]]:
    """Many detections around few objects of two classes, images numbered in any order, some scores equal."""
    rng = np.random.default_rng(seed)
    images, detections = [], {}
    for k in range(5):
        corners = rng.integers(0, 50, (int(rng.integers(0, 6)), 2)).astype(float)
        boxes = np.concatenate([corners, corners + rng.choice([8.0, 32.0, 70.0, 96.0, 110.0], corners.shape)], axis=1)
        labels = rng.integers(0, 2, len(boxes))
        images.append([(int(c), tuple(b.tolist()), bool(rng.random() < 0.25)) for c, b in zip(labels, boxes)])
        rows = rng.integers(0, len(boxes), 30) if len(boxes) else np.zeros(0, dtype=np.int64)
        detections[f"image{k}"] = Detections(
            torch.from_numpy(boxes[rows] + rng.integers(-3, 4, (len(rows), 4))),
            torch.from_numpy(rng.random(len(rows)).round(1 + 4 * (seed % 2))),
            torch.from_numpy(np.where(rng.random(len(rows)) < 0.8, labels[rows], 0)),
        )
    return truth_of(*images, numbers=tuple(rng.permutation(5).tolist())), detections


CASES = {
    "crowd": (
        truth_of([(0, CROWD, True), (0, A, False), (1, B, False)]),
        {"image0": found((0, B, 0.9), (0, A, 0.8), (0, NEAR_A, 0.7), (1, A, 0.6), (1, B, 0.5))},
    ),
    "equal scores in images numbered backwards": (
        truth_of([(0, A, False)], [(0, A, False)], numbers=(2, 1)),
        {"image0": found((0, A, 0.5), (0, AWAY, 0.5)), "image1": found((0, AWAY, 0.5), (0, A, 0.5))},
    ),
    "more than a hundred": (
        truth_of([(0, A, False), (0, B, False), (1, B, False)]),
        {"image0": found(*((0, AWAY, 0.9) for _ in range(99)), (0, A, 0.8), (0, B, 0.7), (1, B, 0.1))},
    ),
    "no objects": (truth_of([], []), {"image0": found((0, A, 0.9))}),
    "no detections": (truth_of([(0, A, False)]), {}),
    "nothing": (truth_of(), {}),
}


@pytest.mark.parametrize("case", [*CASES, *range(12)])
def test_ap_of_each_class_and_iou_is_the_official_one(case: str | int) -> None:
    truth, detections = CASES[case] if isinstance(case, str) else random_case(case)
    expected = evaluate_coco(detections, truth, "reference")
    matches = match_coco(detections, truth)
    np.testing.assert_allclose(precision_at_recalls(matches), expected.precision, rtol=0, atol=1e-12)
    np.testing.assert_allclose(average_precision_coco(matches), expected.precision.mean(axis=1), rtol=0, atol=1e-9)
    for name, areas in (("APs", SMALL), ("APm", MEDIUM), ("APl", LARGE)):
        ap = average_precision_coco(match_coco(detections, truth, areas))
        mean = None if np.isnan(ap).all() else pytest.approx(np.nanmean(ap), abs=1e-9)
        assert expected.summary[name] == mean, name


@pytest.mark.parametrize("seed", range(25))
def test_difficult_objects_and_crowds_by_the_plain_rules(seed: int) -> None:
    truth, detections = random_case(seed)
    truth = with_difficult(truth, seed)
    assert seed or (truth.objects.crowd.any() and (truth.objects.ignore & ~truth.objects.crowd).any())
    for areas in (ALL_AREAS, SMALL, MEDIUM, LARGE):
        expected = plain_precision(truth, detections, areas)
        np.testing.assert_allclose(precision_at_recalls(match_coco(detections, truth, areas)), expected, atol=1e-12)


def test_a_difficult_object_is_found_once() -> None:
    """By IoU: NEAR_A, of .75, then A itself; a part of it is no better than anything else beside it."""
    truth = truth_of([(0, A, True), (0, B, False)])
    truth = replace(truth, objects=replace(truth.objects, crowd=np.zeros(2, dtype=np.bool_)))
    part = (0.0, 0.0, 10.0, 10.0)
    matches = match_coco({"image0": found((0, part, 0.9), (0, NEAR_A, 0.8), (0, A, 0.7), (0, B, 0.6))}, truth)
    hit, false, ignored = Outcome.TP, Outcome.FP, Outcome.IGNORED
    assert matches.outcome[IOUS.index(0.75)].tolist() == [false, ignored, false, hit]
    assert matches.outcome[IOUS.index(0.8)].tolist() == [false, false, ignored, hit]


def test_hand_worked_table() -> None:
    """Up to IoU .75 the object is NEAR_A's, which chooses first, then A's; what is left in the crowd is ignored."""
    truth = truth_of([(1, A, False)], [(0, CROWD, True), (0, A, False)])
    matches = match_coco({"image1": found((0, NEAR_A, 0.9), (0, A, 0.8), (0, B, 0.7), (0, AWAY, 0.6))}, truth)
    assert matches.labels.tolist() == [0] * 4
    assert matches.image_index.tolist() == [1] * 4
    assert matches.rank.tolist() == [0, 1, 2, 3]
    loose, strict = IOUS.index(0.75), IOUS.index(0.8)
    assert matches.object_index[loose].tolist() == [2, 1, 1, -1]
    assert matches.object_index[strict].tolist() == [1, 2, 1, -1]
    hit, false, ignored = Outcome.TP, Outcome.FP, Outcome.IGNORED
    assert matches.outcome[loose].tolist() == [hit, ignored, ignored, false]
    assert matches.outcome[strict].tolist() == [ignored, hit, ignored, false]
    assert matches.num_objects.tolist() == [[0, 1], [1, 0]]
    assert average_precision_coco(matches)[strict].tolist() == [pytest.approx(1.0), 0.0]


def test_last_of_equal_objects_is_chosen() -> None:
    matches = match_coco({"image0": found((0, A, 0.9))}, truth_of([(0, A, False), (0, A, False)]))
    assert matches.object_index.tolist() == [[1]] * len(IOUS)


def test_rows_stand_class_after_class_best_first() -> None:
    detections = {"image0": found((1, A, 0.3), (0, A, 0.4)), "image1": found((0, A, 0.9), (1, A, 0.3))}
    matches = match_coco(detections, truth_of([], [], numbers=(9, 4)))
    rows = zip(matches.labels, matches.image_index, matches.rank, matches.scores.round(6))
    assert [tuple(map(float, row)) for row in rows] == [(0, 1, 0, 0.9), (0, 0, 1, 0.4), (1, 1, 1, 0.3), (1, 0, 0, 0.3)]
    assert matches.class_ends.tolist() == [0, 2, 4]


def test_only_the_best_hundred_of_an_image_and_class_count() -> None:
    truth, detections = CASES["more than a hundred"]
    matches = match_coco(detections, truth)
    assert matches.class_ends.tolist() == [0, 100, 101]
    assert matches.rank.tolist() == [*range(100), 101]
    assert len(match_coco(detections, truth, max_detections=2).labels) == 3


def test_weights_count_rows_that_many_times() -> None:
    """Hit twice, false three times, hit once, of four objects: precision 1 to recall 1/2, then 3/6 to 3/4."""
    outcome = np.array([[Outcome.TP, Outcome.FP, Outcome.TP, Outcome.IGNORED]], dtype=np.int8)
    precision = weighted_precision(outcome, np.array([2, 3, 1, 9]), np.array([0, 4, 4]), np.array([4, 0]))
    assert precision.shape == (1, 101, 2)
    assert precision[0, :, 0].tolist() == pytest.approx([1.0] * 51 + [0.5] * 25 + [0.0] * 25)
    assert np.isnan(precision[..., 1]).all()


def test_faulty_detections_are_named() -> None:
    with pytest.raises(ValueError, match="image 'image0', detection 0: score nan"):
        match_coco({"image0": found((0, A, float("nan")))}, truth_of([]))
