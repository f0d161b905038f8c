"""Edge groups: a line, a corner and a circle by hand, and the affinities of equation 1."""

import math

import numpy as np
import pytest

from detkit.proposals.edge_groups import MIN_AFFINITY, group_edges


def drawn(pixels: list[tuple[int, int, float]], size: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Edge map of magnitude 0.5 at the pixels (x, y, orientation)."""
    edges, orientation = np.zeros((size, size), np.float32), np.zeros((size, size), np.float32)
    for x, y, angle in pixels:
        edges[y, x], orientation[y, x] = 0.5, angle
    return edges, orientation


def test_a_straight_line_is_one_group() -> None:
    groups = group_edges(*drawn([(5, y, 0.0) for y in range(10, 20)]))
    assert groups.magnitude.tolist() == [0, 5.0]
    assert (groups.ids > 0).sum() == 10
    assert (groups.x[1], groups.y[1]) == (5, 19)
    assert len(groups.neighbors) == 0


def test_a_corner_is_two_groups() -> None:
    """Two sides at a right angle: with a wobble on the way they turn by more than pi/2."""
    sides = [(5, y, 0.1 if y == 9 else 0.0) for y in range(5, 15)] + [(x, 15, math.pi / 2) for x in range(6, 16)]
    groups = group_edges(*drawn(sides))
    assert groups.magnitude[1:].tolist() == [5.0, 5.0]
    assert groups.ids[5, 5] != groups.ids[15, 15]
    assert groups.neighbors.tolist() == [2, 1]
    # Centres (5, 9.5) and (10.5, 15): the direction between them is 45 degrees off both, (cos 45 cos 45)^2 = 1/4.
    assert groups.affinities.tolist() == pytest.approx([0.25, 0.25], rel=0.05)


def test_two_pieces_of_one_line_belong_together_and_parallels_do_not() -> None:
    gap = [(5, y, 0.0) for y in range(5, 12)] + [(5, y, 0.0) for y in range(13, 20)]  # 1 px missing
    groups = group_edges(*drawn(gap))
    assert groups.affinities.tolist() == pytest.approx([1, 1])
    parallel = [(x, y, 0.0) for y in range(5, 12) for x in (5, 7)]
    groups = group_edges(*drawn(parallel))
    assert len(groups.magnitude) == 3
    assert len(groups.affinities) == 0  # the one lies across the other: cos 90 degrees
    far = group_edges(*drawn([(x, y, 0.0) for y in range(5, 12) for x in (5, 8)]))
    assert len(far.neighbors) == 0  # 3 px apart


def test_a_circle_is_cut_where_it_has_turned_enough() -> None:
    pixels = {}
    for step in range(720):
        angle = math.radians(step / 2)
        pixels[round(20 + 12 * math.cos(angle)), round(20 + 12 * math.sin(angle))] = angle % math.pi
    groups = group_edges(*drawn([(x, y, angle) for (x, y), angle in pixels.items()]))
    # A full turn is four quarters; growing both ways and leaving remnants makes at most a few more.
    assert 4 <= len(groups.magnitude) - 1 <= 8
    assert groups.magnitude.sum() == pytest.approx(0.5 * len(pixels))
    assert len(groups.neighbors) >= 2 * 4


def test_small_groups_join_a_neighbor_or_vanish() -> None:
    line = [(5, y, 0.0) for y in range(5, 15)]
    beside = group_edges(*drawn([*line, (5, 15, math.pi / 2)]))  # turns too much to be grown into
    assert beside.magnitude.tolist() == [0, 5.5]
    alone = group_edges(*drawn([*line, (30, 30, 0.0)]))
    assert alone.magnitude.tolist() == [0, 5.0]
    assert alone.ids[30, 30] == 0


def test_weak_pixels_and_empty_maps() -> None:
    edges, orientation = drawn([(5, y, 0.0) for y in range(10, 20)])
    assert len(group_edges(edges / 6, orientation).magnitude) == 1  # 0.5 / 6 < 0.1
    empty = group_edges(np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32))
    assert empty.ids.tolist() == [[0]]
    assert len(empty.neighbors) == 0


def test_neighbors_are_mutual_and_every_group_holds_its_pixel() -> None:
    random = np.random.default_rng(0)
    edges = np.where(random.random((60, 60)) < 0.3, random.random((60, 60)), 0).astype(np.float32)
    orientation = (random.random((60, 60)) * 3.14).astype(np.float32)
    groups = group_edges(edges, orientation)
    count = len(groups.magnitude) - 1
    assert count > 20
    assert groups.ids[groups.y[1:], groups.x[1:]].tolist() == list(range(1, count + 1))
    pairs = {
        (g, int(groups.neighbors[k])): groups.affinities[k]
        for g in range(1, count + 1)
        for k in range(groups.first[g], groups.first[g + 1])
    }
    assert len(pairs) == len(groups.neighbors)
    assert all(pairs[other, one] == value and MIN_AFFINITY <= value <= 1 for (one, other), value in pairs.items())
    totals = np.bincount(groups.ids.ravel(), edges.ravel(), count + 1)
    assert groups.magnitude[1:] == pytest.approx(totals[1:])
