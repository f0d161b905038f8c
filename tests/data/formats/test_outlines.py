"""Boxes and areas of outlines, worked out by hand, and against masks of random pixels."""

import math

import numpy as np
import pytest

from detkit.data.formats.outlines import box_around, ellipse_box, outline_area, runs_box, turned_corners


def test_box_and_area_of_a_polygon() -> None:
    points = [(1.0, 2.0), (5.0, 2.0), (5.0, 4.5)]
    assert box_around(points) == (1, 2, 5, 4.5)
    assert outline_area(points) == outline_area(points[::-1]) == 5
    assert box_around(points[:1]) == (1, 2, 1, 2)
    assert math.isnan(outline_area(points[:2]))


def test_turned_boxes() -> None:
    box = (10.0, 5.0, 30.0, 15.0)
    assert box_around(turned_corners(box, 0)) == box_around(turned_corners(box, 180)) == box
    assert box_around(turned_corners(box, 90)) == box_around(turned_corners(box, -90)) == (15, 0, 25, 20)
    assert turned_corners(box, 90)[0] == (25, 0)  # the top left corner goes to the right: clockwise
    corners = turned_corners(box, 30)
    assert corners[0] == pytest.approx((20 - 10 * math.sqrt(3) / 2 + 5 / 2, 10 - 10 / 2 - 5 * math.sqrt(3) / 2))
    assert outline_area(corners) == pytest.approx(200)


def test_ellipses() -> None:
    assert ellipse_box(20, 10, 8, 4) == ellipse_box(20, 10, 8, 4, 180) == (12, 6, 28, 14)
    assert ellipse_box(20, 10, 8, 4, 270) == (16, 2, 24, 18)
    half = math.sqrt((8**2 + 4**2) / 2)
    assert ellipse_box(20, 10, 8, 4, 45) == pytest.approx((20 - half, 10 - half, 20 + half, 10 + half))


def test_runs_of_random_masks() -> None:
    rng = np.random.default_rng(0)
    for share in (0.02, 0.1, 0.5, 0.97) * 25:
        mask = rng.random((rng.integers(1, 6), rng.integers(1, 6))) < share
        flat = mask.reshape(-1)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], flat]).astype(int))).tolist()
        counts = np.diff([0, *edges, flat.size]).tolist()
        found = runs_box(counts, mask.shape)
        if not mask.any():
            assert found is None
            continue
        rows, columns = np.nonzero(mask)
        assert found is not None
        assert found[0] == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert found[1] == mask.sum()


@pytest.mark.parametrize("counts", [[3], [1, 4], [5, -1], []])
def test_runs_that_do_not_fit_their_mask(counts: list[int]) -> None:
    with pytest.raises(ValueError, match="pixels, expected 2 x 2"):
        runs_box(counts, (2, 2))
