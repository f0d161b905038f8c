"""Objects as a detector meets them: hand-worked sizes after the resize, and what is left out."""

import numpy as np
import pytest

from detkit.data.ground_truth import GroundTruth, Objects, numbered
from detkit.data.pipeline.prepare import Resize
from detkit.data.validation.statistics import Frame, measure

CELL = np.array([[-16.0, -16.0, 16.0, 16.0]])
FRAME = Frame(Resize(100, 150), (32.0,), (1.0,), CELL, 16, True)


def truth() -> GroundTruth:
    """Images of 50 x 60 px, of 50 x 100 px that the limit makes 75 x 150, and of unknown size."""
    boxes = (
        [[0, 0, 16, 16], [40, 0, 90, 20], [70, 0, 90, 20]],  # whole, cut at 60, outside
        [[10, 10, 30, 20], [0, 0, 9, 9]],  # the second ignored
        [[0, 0, 9, 9]],
    )
    parts = [
        Objects.of_boxes(np.arange(len(rows)) % 2, np.array(rows, dtype=np.float64), np.array(ignore))
        for rows, ignore in zip(boxes, ([False] * 3, [False, True], [False]), strict=True)
    ]
    return numbered(("a", "b"), ("one", "two", "three"), [(50, 60), (50, 100), (0, 0)], parts)


def test_hand_worked() -> None:
    found = measure(truth(), FRAME)
    assert found.objects_per_image.tolist() == [2, 1, 0]
    assert found.labels.tolist() == [0, 1, 0]
    assert found.sizes.tolist() == pytest.approx([32, 40, 1.5 * 200**0.5])
    assert found.ratios.tolist() == pytest.approx([1, 1, 0.5])
    # The first, 0..32 both ways, and an anchor at 8..40; the second, 80..120 and 0..40, holds one whole: 0.64.
    assert found.best_iou[0] == pytest.approx(24 * 24 / (2 * 1024 - 24 * 24))
    assert found.best_iou[1] == pytest.approx(0.64)
    assert found.unreached() == (3, [pytest.approx(2 / 3), 1.0])
    assert found.unreached(1) == (1, [0.0, 1.0])


def test_nothing() -> None:
    found = measure(numbered(("a",), ("one",), [(50, 60)], [Objects.joined([])]), FRAME)
    assert found.objects_per_image.tolist() == [0] and found.unreached() == (0, [0.0, 0.0])


def test_images_as_stored() -> None:
    frame = Frame(Resize(None, 1000), (32.0,), (1.0,), CELL, 16, True)
    assert measure(truth(), frame).sizes.tolist() == pytest.approx([16, 20, 200**0.5])
    assert frame.describe() == "images as stored, 1 anchors of 32 px and height / width 1"
