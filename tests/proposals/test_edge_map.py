"""Edge maps: steps of known place and direction, the half turn by hand, and images without an edge."""

import math

import numpy as np
import pytest

from detkit.proposals.edge_map import GradientEdges, half_turn, thin


def step(across: str, height: int = 40, width: int = 60) -> np.ndarray:
    """Black and white, the border between pixels 19 and 20."""
    image = np.zeros((height, width, 3), np.uint8)
    if across == "x":
        image[:, 20:] = 255
    elif across == "y":
        image[20:] = 255
    else:  # along x + y = 40, so that the direction across it is 45 degrees
        y, x = np.mgrid[:height, :width]
        image[x + y >= 40] = 255
    return image


@pytest.mark.parametrize(("across", "angle"), [("x", 0), ("y", math.pi / 2), ("diagonal", math.pi / 4)])
def test_a_step_is_one_thin_strong_line(across: str, angle: float) -> None:
    edges, orientation = GradientEdges()(step(across))
    assert edges.dtype == orientation.dtype == np.float32
    assert edges.shape == orientation.shape == (40, 60)
    y, x = np.nonzero(edges[4:-4, 4:-4] > 0.1)
    y, x = y + 4, x + 4
    place = {"x": x, "y": y, "diagonal": (x + y) / 2}[across]
    assert np.abs(place - 19.5).max() <= 1
    assert len(place) >= 30  # a whole line
    off = np.abs(orientation[y, x] - angle)
    assert np.minimum(off, math.pi - off).max() < 0.1
    assert edges[y, x].max() == pytest.approx(0.7, abs=0.31)


def test_color_alone_makes_an_edge() -> None:
    """Red beside a grey of the same lightness, 53 of 100."""
    image = np.full((40, 60, 3), 127, np.uint8)
    image[:, 20:] = (255, 0, 0)
    edges, _ = GradientEdges()(image)
    assert set(np.nonzero(edges > 0.3)[1].tolist()) <= {19, 20}
    assert (edges[:, 19:21].max(axis=1) > 0.3).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (5, 300), (30, 2)])
def test_small_and_plain_images_have_no_edges(shape: tuple[int, int]) -> None:
    edges, orientation = GradientEdges()(np.full((*shape, 3), 90, np.uint8))
    assert edges.shape == orientation.shape == shape
    assert (edges < 0.1).all()


def test_the_noise_of_a_plain_image_is_no_edge() -> None:
    image = np.random.default_rng(0).integers(100, 102, (60, 60, 3)).astype(np.uint8)
    assert (GradientEdges()(image)[0] < 0.25).all()
    assert (GradientEdges()(image)[0] < 0.1).mean() > 0.95


def test_an_image_of_noise_keeps_to_the_ranges() -> None:
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3)).astype(np.uint8)
    edges, orientation = GradientEdges()(image)
    assert edges.min() >= 0 and edges.max() <= 1
    assert orientation.min() >= 0 and orientation.max() < np.float32(math.pi)
    again, _ = GradientEdges()(image)
    assert np.array_equal(edges, again)


def test_half_turn() -> None:
    angles = np.array([0, 1, -1, math.pi, math.pi + 1, -1e-9, 2 * math.pi], np.float32)
    expected = [0, 1, math.pi - 1, 0, 1, 0, 0]
    assert half_turn(angles).tolist() == pytest.approx(expected, abs=1e-5)
    assert half_turn(angles).max() < np.float32(math.pi)


def test_thin_keeps_the_ridge() -> None:
    edges = np.tile(np.array([0.1, 0.3, 0.5, 0.4, 0.2, 0.3, 0.1], np.float32), (3, 1))
    across = np.zeros_like(edges)
    assert np.nonzero(thin(edges, across)[1])[0].tolist() == [2, 5]
    assert np.nonzero(thin(edges, across, reach=3)[1])[0].tolist() == [2]  # 0.5 lies 3 px from the second ridge
    along = np.full_like(edges, math.pi / 2)  # everything is as large as what lies above and below it
    assert np.array_equal(thin(edges, along), edges)
