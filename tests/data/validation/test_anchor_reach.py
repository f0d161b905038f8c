"""The best overlap with any anchor, against hand-worked cases and all anchors of the grid one by one."""

import numpy as np
import pytest
import torch

from detkit.data.validation.anchor_reach import best_overlaps
from detkit.heads.rpn import grid_anchors
from detkit.ops.anchors import Placing, placed_anchors
from detkit.ops.boxes import clip, iou

SQUARE = np.array([[-16.0, -16.0, 16.0, 16.0]])  # one anchor of 32 px, on cells of 16 px


@pytest.mark.parametrize(
    ("box", "across_border", "expected"),
    [
        ((8, 8, 40, 40), False, 1.0),  # stands on the cell at 24, 24
        ((0, 0, 32, 32), True, (24 * 24) / (2 * 1024 - 24 * 24)),  # centred between cells: 8 px off either way
        ((8, 8, 24, 24), False, 256 / 1024),  # inside the anchor
        ((0, 0, 16, 16), False, 64 / (1024 + 256 - 64)),  # the first anchor inside the image begins at 8
        ((0, 0, 16, 16), True, 256 / 1024),  # the cell at 8, 8 has one from -8 to 24
    ],
)
def test_hand_worked(box: tuple[float, ...], across_border: bool, expected: float) -> None:
    found = best_overlaps(np.array([box], dtype=np.float64), np.array([[64.0, 64.0]]), SQUARE, 16, across_border)
    assert found.tolist() == [pytest.approx(expected)]


def test_an_anchor_larger_than_the_image_has_no_place() -> None:
    box, size = np.array([[0.0, 0.0, 30.0, 30.0]]), np.array([[30.0, 30.0]])
    assert best_overlaps(box, size, SQUARE, 16, False).tolist() == [0.0]
    assert best_overlaps(box, size, SQUARE, 16, True)[0] > 0.4


def test_nothing() -> None:
    assert best_overlaps(np.zeros((0, 4)), np.zeros((0, 2)), SQUARE, 16, False).shape == (0,)


@pytest.mark.parametrize("placing", ["centered", "corner", "rounded"])
@pytest.mark.parametrize("across_border", [False, True])
def test_as_all_anchors_one_by_one(placing: Placing, across_border: bool) -> None:
    rng = np.random.default_rng(0)
    cell = placed_anchors((24.0, 48.0, 96.0), (0.5, 1.0, 2.0), placing, 16)
    for height, width in ((100, 150), (64, 64), (33, 200)):
        corners = rng.uniform(0, [width, height], (40, 2, 2))
        boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
        anchors = grid_anchors(torch.from_numpy(cell), -(-height // 16), -(-width // 16), 16).double()
        if not across_border:
            anchors = anchors[(clip(anchors, torch.tensor([height, width])) == anchors).all(dim=1)]
        overlaps = iou(anchors, torch.from_numpy(boxes))
        expected = overlaps.max(dim=0).values.tolist() if len(anchors) else [0.0] * len(boxes)
        sizes = np.tile([float(height), float(width)], (len(boxes), 1))
        found = best_overlaps(boxes, sizes, cell.astype(np.float64), 16, across_border)
        assert found.tolist() == pytest.approx(expected, abs=1e-6)
