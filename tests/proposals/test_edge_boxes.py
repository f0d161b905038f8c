"""EdgeBoxes: drawn rectangles, a plain score straight from the paper's equations, and properties."""

import math
from dataclasses import replace

import numpy as np
import pytest

from detkit.proposals import edge_boxes as module
from detkit.proposals.edge_boxes import EdgeBoxesRule, boxes_of_edges, edge_boxes
from detkit.proposals.edge_groups import group_edges
from detkit.proposals.edge_map import GradientEdges

Maps = tuple[np.ndarray, np.ndarray]


def outlines(*rectangles: tuple[int, int, int, int], height: int = 120, width: int = 160) -> Maps:
    """An edge map of magnitude 1 with these rectangles (first and last pixel) drawn, and its orientation."""
    edges, orientation = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    for x, y, x2, y2 in rectangles:
        columns, rows = slice(max(x, 0), x2 + 1), slice(max(y, 0) + 1, y2)
        for row in (y, y2):
            if row >= 0:
                edges[row, columns], orientation[row, columns] = 1, math.pi / 2
        for column in (x, x2):
            if column >= 0:
                edges[rows, column] = 1
    return edges, orientation


def noise(seed: int, height: int = 90, width: int = 120) -> Maps:
    image = np.random.default_rng(seed).integers(0, 256, (height // 6, width // 6, 3)).astype(np.uint8)
    edges, orientation = GradientEdges()(image.repeat(6, axis=0).repeat(6, axis=1))
    edges[[0, -1]] = edges[:, [0, -1]] = 0  # the search takes no edge there
    return edges, orientation


def iou(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    common = np.minimum(one[2:], others[:, 2:]) - np.maximum(one[:2], others[:, :2])
    common = common.clip(0).prod(axis=1)
    return common / ((one[2:] - one[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - common)


def plain_score(box: tuple[int, int, int, int], maps: Maps, kappa: float = 1.5) -> float:
    """Equations 2 to 4 by exhaustion: the best product of affinities over all paths, by relaxing until it stands."""
    groups = group_edges(*maps)
    x, y, x2, y2 = box
    border = np.zeros(groups.ids.shape, bool)
    border[y, x : x2 + 1] = border[y2, x : x2 + 1] = border[y : y2 + 1, x] = border[y : y2 + 1, x2] = True
    lost = np.zeros(len(groups.magnitude))
    lost[np.unique(groups.ids[border & (groups.ids > 0)])] = 1
    inside = (x <= groups.x) & (groups.x <= x2) & (y <= groups.y) & (groups.y <= y2)
    affinity = np.zeros((len(lost), len(lost)))
    affinity[np.arange(len(lost)).repeat(np.diff(groups.first)), groups.neighbors] = groups.affinities
    while True:
        shares = (lost[:, None] * affinity).max(axis=0)
        more = np.maximum(lost, np.where(inside & (shares >= 0.05), shares, 0))
        if np.array_equal(more, lost):
            break
        lost = more
    half_width, half_height = (x2 - x) // 2, (y2 - y) // 2
    left, top = x + half_width // 2, y + half_height // 2
    middle = maps[0][top : top + half_height + 1, left : left + half_width + 1]
    total = (groups.magnitude * (1 - lost))[1:][inside[1:]].sum() - middle[middle > 0.1].sum()
    return total / (half_width + half_height) ** kappa


def fast_score(box: tuple[int, int, int, int], maps: Maps, least: float = 0.0) -> float:
    scene = module._prepare(*maps, EdgeBoxesRule())
    return float(module._search(np.array([box], np.int32), scene, 0.0, least)[1].sum())


def test_the_score_of_one_outline_by_hand() -> None:
    """64 x 44 px outline: 2 * 64 + 2 * 42 = 212 edge pixels; the box 2 px around it has half sides 33 and 23."""
    maps = outlines((40, 30, 103, 73))
    assert fast_score((38, 28, 105, 75), maps) == pytest.approx(212 / (33 + 23) ** 1.5, rel=1e-6)
    # An outline inside the central half takes away as much as it brings.
    inner = outlines((40, 30, 103, 73), (65, 45, 74, 54))
    assert fast_score((38, 28, 105, 75), inner) == pytest.approx(212 / (33 + 23) ** 1.5, rel=1e-6)
    # A box whose border lies on an outline loses it.
    assert fast_score((40, 30, 103, 73), maps) == 0


@pytest.mark.parametrize("seed", range(2))
def test_the_score_is_the_plain_one(seed: int) -> None:
    maps, random = noise(seed), np.random.default_rng(seed)
    compared = 0
    for _ in range(25):
        x, y = random.integers(0, 80), random.integers(0, 50)
        box = (int(x), int(y), int(random.integers(x + 20, 120)), int(random.integers(y + 20, 90)))
        expected = plain_score(box, maps)
        if expected > 1e-3:
            compared += 1
            assert fast_score(box, maps) == pytest.approx(expected, rel=1e-4)
            assert fast_score(box, maps, least=expected * 1.01) == 0
            assert fast_score(box, maps, least=expected * 0.99) == pytest.approx(expected, rel=1e-4)
    assert compared >= 5


def test_drawn_rectangles_are_found_first() -> None:
    rectangles = np.array([(20, 20, 70, 60), (90, 50, 140, 105)])
    boxes, scores = boxes_of_edges(*outlines(*rectangles.tolist()))
    for rectangle in rectangles:
        assert iou(rectangle.astype(np.float32), boxes[:10]).max() > 0.85
    assert boxes.dtype == scores.dtype == np.float32


def test_an_object_that_the_image_cuts_off() -> None:
    """Its contour runs to the left and the upper frame; boxes that reach the corner itself do not lose it."""
    boxes, _ = boxes_of_edges(*outlines((-1, -1, 60, 50)))
    assert boxes[0, :2].tolist() == [0, 0]
    assert iou(np.array([0, 0, 60, 50], np.float32), boxes).max() > 0.7


@pytest.mark.parametrize("seed", range(3))
def test_what_comes_out(seed: int) -> None:
    maps = noise(seed)
    rule = EdgeBoxesRule()
    boxes, scores = boxes_of_edges(*maps, rule)
    assert len(boxes) == len(scores) > 50
    assert (np.diff(scores) <= 0).all() and (scores > 0).all()
    assert (boxes >= 0).all() and (boxes <= [120, 90, 120, 90]).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    for i in range(1, len(boxes), 7):
        assert iou(boxes[i], boxes[:i]).max() <= rule.beta + 1e-6
    again, scores_again = boxes_of_edges(*maps, rule)
    assert np.array_equal(boxes, again) and np.array_equal(scores, scores_again)
    few, few_scores = boxes_of_edges(*maps, replace(rule, max_boxes=20))
    assert len(few) == len(few_scores) == 20


def test_suppression_is_the_greedy_loop() -> None:
    random = np.random.default_rng(0)
    corners = random.integers(0, 40, (300, 2))
    rows = np.concatenate([corners, corners + random.integers(5, 40, (300, 2))], axis=1).astype(np.int32)
    for beta in (0.301, 0.55, 0.751):
        kept: list[int] = []
        for i in range(len(rows)):
            if not kept or iou(rows[i], rows[kept]).max() <= beta:
                kept.append(i)
        assert module._suppress(rows, beta, 1.0, 1_000).tolist() == kept
        assert module._suppress(rows, beta, 1.0, 5).tolist() == kept[:5]
        assert module._suppress(rows[kept], beta, 1.0, 1_000).tolist() == list(range(len(kept)))
    assert len(module._suppress(rows, 0.9, 0.99, 1_000)) < len(module._suppress(rows, 0.9, 1.0, 1_000))


def test_crowded_boxes_come_later_but_all_come() -> None:
    maps = noise(0)
    plain, _ = boxes_of_edges(*maps, EdgeBoxesRule(crowding=()))
    spread, _ = boxes_of_edges(*maps)
    assert {tuple(row) for row in plain.tolist()} == {tuple(row) for row in spread.tolist()}
    overlaps = [max(iou(boxes[i], boxes[:i]).max() for i in range(1, 30)) for boxes in (plain, spread)]
    assert overlaps[1] < overlaps[0]


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (300, 5), (40, 40)])
def test_tiny_and_plain_images(shape: tuple[int, int]) -> None:
    boxes, scores = edge_boxes(np.full((*shape, 3), 77, np.uint8), GradientEdges())
    assert boxes.shape == (0, 4) and scores.shape == (0,)
    striped = np.zeros((*shape, 3), np.uint8)
    striped[:, ::4] = 255
    boxes, scores = edge_boxes(striped, GradientEdges())
    assert boxes.shape == (len(scores), 4)


@pytest.mark.parametrize("height", [60, 1])  # numpy takes one row for contiguous, backwards or not
def test_images_that_run_backwards_or_are_read_only(height: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height // 6 + 1, 15, 3)).astype(np.uint8)
    image = image.repeat(6, axis=0).repeat(6, axis=1)[:height]
    backwards = image[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1]
    backwards.setflags(write=False)
    usual, _ = edge_boxes(image, GradientEdges())
    assert np.array_equal(edge_boxes(backwards, GradientEdges())[0], usual) and (len(usual) > 0 or height == 1)

    def contiguous(seen: np.ndarray) -> Maps:  # what a detector that is not our own may count on
        assert min(seen.strides) > 0 and seen.flags.writeable
        return GradientEdges()(seen)

    assert np.array_equal(edge_boxes(backwards, contiguous)[0], usual)


@pytest.mark.parametrize(
    "image",
    [np.zeros((20, 20), np.uint8), np.zeros((20, 20, 3), np.float32), np.zeros((20, 20, 4), np.uint8)],
    ids=["gray", "float", "alpha"],
)
def test_another_kind_of_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8 RGB"):
        edge_boxes(image, GradientEdges())


@pytest.mark.parametrize(
    "change", [{"alpha": 1.0}, {"alpha": 0.0}, {"beta": 0.0}, {"max_aspect": 0.5}, {"min_area": 0}]
)
def test_a_rule_that_cannot_be_followed(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        EdgeBoxesRule(**change)
