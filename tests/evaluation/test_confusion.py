"""The confusion matrix, on cases counted by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detkit.data.federated import Federated
from detkit.data.ground_truth import GroundTruth, Objects, numbered
from detkit.evaluation.confusion import confusion
from detkit.structures import Detections

Box = tuple[float, float, float, float]
A, B = (0.0, 0.0, 10.0, 10.0), (20.0, 20.0, 40.0, 40.0)
ELSEWHERE = (70.0, 70.0, 90.0, 90.0)
CAT, DOG, BACKGROUND, MISSED = 0, 1, 2, 2


def truth_of(*images: list[tuple[Box, int, bool]]) -> GroundTruth:
    parts = [
        Objects.of_boxes(
            np.array([label for _, label, _ in rows], dtype=np.int64),
            np.array([box for box, _, _ in rows]),
            np.array([ignore for _, _, ignore in rows], dtype=np.bool_),
        )
        for rows in images
    ]
    parts = [replace(objects, crowd=objects.ignore) for objects in parts]
    return numbered(("cat", "dog"), [f"image{k}" for k in range(len(parts))], [(100, 100)] * len(parts), parts)


def found(*rows: tuple[Box, float, int]) -> Detections:
    boxes, scores, labels = zip(*rows) if rows else ((), (), ())
    return Detections(torch.tensor(boxes).reshape(-1, 4), torch.tensor(scores).float(), torch.tensor(labels).long())


@pytest.mark.parametrize(
    ("objects", "detections", "cells"),
    [
        pytest.param([(A, CAT, False)], [(A, 0.9, CAT)], {(CAT, CAT): 1}, id="a hit"),
        pytest.param([(A, CAT, False)], [(A, 0.9, DOG)], {(CAT, DOG): 1}, id="another class"),
        pytest.param([(A, CAT, False)], [], {(CAT, MISSED): 1}, id="missed"),
        pytest.param([], [(A, 0.9, DOG)], {(BACKGROUND, DOG): 1}, id="background"),
        pytest.param([(A, CAT, False)], [(A, 0.4, CAT)], {(CAT, MISSED): 1}, id="under the score"),
        pytest.param([(A, CAT, False)], [(A, 0.5, CAT)], {(CAT, CAT): 1}, id="score on the limit"),
        pytest.param([(A, CAT, False)], [((0.0, 0.0, 10.0, 5.0), 0.9, CAT)], {(CAT, CAT): 1}, id="IoU on the limit"),
        pytest.param(
            [(A, CAT, False)],
            [(A, 0.8, CAT), (A, 0.9, DOG)],
            {(CAT, DOG): 1, (BACKGROUND, CAT): 1},
            id="the better scored takes it, whatever its class",
        ),
        pytest.param(
            [(A, CAT, False), ((0.0, 0.0, 10.0, 9.0), DOG, False)],
            [(A, 0.9, CAT), (A, 0.8, CAT)],
            {(CAT, CAT): 1, (DOG, CAT): 1},
            id="the second takes what is free",
        ),
        pytest.param([(A, CAT, True)], [(A, 0.9, CAT), (A, 0.8, CAT)], {}, id="crowds hold any number"),
        pytest.param([(A, CAT, True)], [((0.0, 0.0, 5.0, 5.0), 0.9, CAT)], {}, id="a part of a crowd"),
        pytest.param([(A, CAT, True)], [(A, 0.9, DOG)], {(BACKGROUND, DOG): 1}, id="ignored for its class alone"),
        pytest.param([], [], {}, id="nothing"),
    ],
)
def test_one_image(
    objects: list[tuple[Box, int, bool]], detections: list[tuple[Box, float, int]], cells: dict[tuple[int, int], int]
) -> None:
    expected = np.zeros((3, 3))
    for cell, count in cells.items():
        expected[cell] = count
    result = confusion({"image0": found(*detections)}, truth_of(objects))
    assert result.classes == ("cat", "dog")
    assert result.counts.tolist() == expected.tolist()


def test_images_add_up() -> None:
    truth = truth_of([(A, CAT, False)], [(A, DOG, False), (B, DOG, False)], [(A, CAT, False)])
    detections = {
        "image1": found((A, 0.9, CAT), (B, 0.8, DOG), (ELSEWHERE, 0.7, DOG)),
        "image0": found((A, 0.6, CAT)),
    }
    assert confusion(detections, truth).counts.tolist() == [[1, 0, 1], [1, 1, 0], [0, 1, 0]]
    assert confusion({}, truth_of()).counts.tolist() == [[0] * 3] * 3


def test_difficult_objects_hold_one_detection_each() -> None:
    truth = truth_of([(A, CAT, True)])
    truth = replace(truth, objects=replace(truth.objects, crowd=np.array([False])))
    part = (0.0, 0.0, 5.0, 5.0)
    counts = confusion({"image0": found((A, 0.9, CAT), (A, 0.8, CAT), (part, 0.7, CAT))}, truth).counts
    assert counts.tolist() == [[0, 0, 0], [0, 0, 0], [2, 0, 0]]


@pytest.mark.parametrize(("min_score", "min_iou"), [(-0.1, 0.5), (0.5, 0.0), (1.1, 0.5), (0.5, 1.5)])
def test_limits_out_of_range(min_score: float, min_iou: float) -> None:
    with pytest.raises(ValueError, match=f"min_score {min_score}, min_iou {min_iou}"):
        confusion({}, truth_of(), min_score, min_iou)


def test_unknown_image() -> None:
    with pytest.raises(ValueError, match="'elsewhere'"):
        confusion({"elsewhere": found()}, truth_of([]))


corner, extent = st.integers(0, 6), st.integers(1, 6)
boxes = st.builds(lambda x, y, w, h: (float(x), float(y), float(x + w), float(y + h)), corner, corner, extent, extent)
objects_of_image = st.lists(st.tuples(boxes, st.integers(0, 1), st.just(False)), max_size=5)
found_in_image = st.lists(st.tuples(boxes, st.sampled_from([0.25, 0.5, 0.75]), st.integers(0, 1)), max_size=8)


@settings(max_examples=50, deadline=None)
@given(objects_of_image, found_in_image)
def test_rows_count_objects_and_columns_detections(
    objects: list[tuple[Box, int, bool]], rows: list[tuple[Box, float, int]]
) -> None:
    counts = confusion({"image0": found(*rows)}, truth_of(objects)).counts
    for label in (CAT, DOG):
        assert counts[label].sum() == sum(one == label for _, one, _ in objects)
        assert counts[:, label].sum() == sum(one == label and score >= 0.5 for _, score, one in rows)
    assert counts[BACKGROUND, MISSED] == 0


def test_a_federated_image_is_asked_about_its_classes_alone() -> None:
    """One image was looked through for cats, not all of which are marked, one for dogs, of which it has none."""
    detections = {
        "image0": found((A, 0.9, DOG), (B, 0.8, CAT), (A, 0.7, CAT)),
        "image1": found((A, 0.9, DOG), (A, 0.9, CAT)),
    }
    truth = truth_of([(A, CAT, False)], [])
    images, labels, first = np.array([0, 1]), np.array([CAT, DOG]), np.zeros(1, dtype=np.int64)
    federated = Federated.of_pairs(2, ("", ""), (images, labels), (first, np.array([CAT])))
    cells = confusion(detections, replace(truth, federated=federated)).counts
    assert cells.tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]
