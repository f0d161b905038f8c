"""The objects of a data set: which of them are learned, and where."""

import numpy as np

from detkit.data.ground_truth import Objects, learned_boxes, numbered


def test_what_is_learned() -> None:
    boxes = (
        [[0, 0, 16, 16], [40, 0, 90, 20], [70, 0, 90, 20]],  # whole, cut at 60, outside
        [[0, 0, 9, 9]],  # of an image of unknown size
    )
    parts = [Objects.of_boxes(np.zeros(len(rows), dtype=np.int64), np.array(rows, dtype=np.float64)) for rows in boxes]
    learned, is_learned = learned_boxes(numbered(("a",), ("one", "two"), [(50, 60), (0, 0)], parts))
    assert is_learned.tolist() == [True, True, False, False]
    assert learned[1].tolist() == [40, 0, 60, 20]
    assert learned.dtype == np.float64


def test_learned_boxes_have_the_values_of_float32() -> None:
    objects = Objects.of_boxes(np.zeros(1, dtype=np.int64), np.full((1, 4), 0.1))
    assert learned_boxes(numbered(("a",), ("one",), [(50, 60)], [objects]))[0].tolist() == [
        [float(np.float32(0.1))] * 4
    ]


def test_without_an_object() -> None:
    boxes, is_learned = learned_boxes(numbered(("a",), ("one",), [(50, 60)], [Objects.joined([])]))
    assert boxes.shape == (0, 4) and is_learned.shape == (0,)
