"""Anchors: by hand, and from their definition cell by cell."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detkit.heads.rpn import grid_anchors
from detkit.ops.anchors import cell_anchors, placed_anchors


def test_cell_anchors_by_hand() -> None:
    # Ratio = height / width, area = size^2. 16 at 1:4 (high): 8 x 32; 16 at 1:1: 16 x 16; 32 at 4:1 (wide): 64 x 16.
    assert cell_anchors((16,), (4, 1)).tolist() == [[-4, -16, 4, 16], [-8, -8, 8, 8]]
    assert cell_anchors((16, 32), (1, 0.25)).tolist() == [
        [-8, -8, 8, 8],
        [-16, -4, 16, 4],
        [-16, -16, 16, 16],
        [-32, -8, 32, 8],
    ]
    assert cell_anchors((16,), (1,)).dtype == np.float32


def test_grid_anchors_by_hand() -> None:
    cell = torch.tensor([[-8.0, -8, 8, 8], [-4, -16, 4, 16]])
    # 2 rows of 3 cells of 16 px: centres (8, 8) (24, 8) (40, 8) and (8, 24) (24, 24) (40, 24).
    assert grid_anchors(cell, 2, 3, 16).tolist() == [
        [0, 0, 16, 16],
        [4, -8, 12, 24],
        [16, 0, 32, 16],
        [20, -8, 28, 24],
        [32, 0, 48, 16],
        [36, -8, 44, 24],
        [0, 16, 16, 32],
        [4, 8, 12, 40],
        [16, 16, 32, 32],
        [20, 8, 28, 40],
        [32, 16, 48, 32],
        [36, 8, 44, 40],
    ]


def test_no_cells_and_no_sizes() -> None:
    assert grid_anchors(torch.from_numpy(cell_anchors((16,), (1,))), 0, 3, 16).shape == (0, 4)
    assert cell_anchors((), (1,)).shape == (0, 4)


@given(
    st.lists(st.floats(1, 512), min_size=1, max_size=3),
    st.lists(st.floats(0.2, 5), min_size=1, max_size=3),
    st.integers(1, 4),
    st.integers(1, 4),
    st.sampled_from([8, 16, 32]),
)
@settings(deadline=None)
def test_anchors_from_their_definition(
    sizes: list[float], ratios: list[float], height: int, width: int, stride: int
) -> None:
    expected = []
    for row in range(height):
        for column in range(width):
            x, y = (column + 0.5) * stride, (row + 0.5) * stride
            for size in sizes:
                for ratio in ratios:
                    w = math.sqrt(size * size / ratio)
                    h = w * ratio
                    expected.append([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
    anchors = grid_anchors(torch.from_numpy(cell_anchors(sizes, ratios)), height, width, stride)
    torch.testing.assert_close(anchors, torch.tensor(expected), atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
def test_the_papers_nine_anchors_have_its_areas_and_ratios(ratio: float) -> None:
    anchors = torch.from_numpy(cell_anchors((128, 256, 512), (ratio,)))
    width, height = (anchors[:, 2:] - anchors[:, :2]).unbind(1)
    torch.testing.assert_close(width * height, torch.tensor([128.0, 256.0, 512.0]) ** 2)
    torch.testing.assert_close(height / width, torch.full((3,), ratio))


def test_an_offset_moves_every_anchor() -> None:
    # The first cell begins at 5.5 px: centres (13.5, 13.5) and (29.5, 13.5).
    cell = torch.from_numpy(cell_anchors((16,), (1,)))
    assert grid_anchors(cell, 1, 2, 16, 5.5).tolist() == [[5.5, 5.5, 21.5, 21.5], [21.5, 5.5, 37.5, 21.5]]
    assert torch.equal(grid_anchors(cell, 3, 4, 16, 7.0), grid_anchors(cell, 3, 4, 16) + 7)


def test_placed_anchors_by_hand() -> None:
    assert np.array_equal(placed_anchors((16, 40), (0.5, 1), "centered", 16), cell_anchors((16, 40), (0.5, 1)))
    # On the corners of cells of 16 px: (0, 0), (16, 0) and (32, 0), whatever the anchors measure.
    cell = torch.from_numpy(placed_anchors((32,), (1,), "corner", 16))
    assert grid_anchors(cell, 1, 3, 16).tolist() == [[-16, -16, 16, 16], [0, -16, 32, 16], [16, -16, 48, 16]]


def test_rounded_anchors_are_py_faster_rcnns() -> None:
    """The table in the comment of its generate_anchors.py, which has the last px inside, by size instead of ratio.

    Ratio 1/2: sqrt(512) = 22.6 -> 23 wide, 11.5 -> 12 high; ratio 2: sqrt(128) = 11.3 -> 11 wide, 22 high.
    """
    cell = torch.from_numpy(placed_anchors((128, 256, 512), (0.5, 1, 2), "rounded", 16))
    inside = grid_anchors(cell, 1, 1, 16) - torch.tensor([0.0, 0, 1, 1])
    assert inside.tolist() == [
        [-84, -40, 99, 55],
        [-56, -56, 71, 71],
        [-36, -80, 51, 95],
        [-176, -88, 191, 103],
        [-120, -120, 135, 135],
        [-80, -168, 95, 183],
        [-360, -184, 375, 199],
        [-248, -248, 263, 263],
        [-168, -344, 183, 359],
    ]
    assert placed_anchors((), (1,), "rounded", 16).shape == (0, 4)
