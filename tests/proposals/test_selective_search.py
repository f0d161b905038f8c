"""Selective search: images with known objects, groupings by hand, what the answer promises, wrong input."""

import numba
import numpy as np
import pytest

from detkit.ops.compiled import compiled
from detkit.proposals.grouping import Measures, group
from detkit.proposals.ranking import rank
from detkit.proposals.regions import describe, neighbours
from detkit.proposals.selective_search import MAX_PIXELS, MIN_SIDE, Mode, selective_search

ALL = Measures(color=True, texture=True, size=True, fill=True)
SIZE = Measures(color=False, texture=False, size=True, fill=False)


def scene(height: int = 120, width: int = 160) -> np.ndarray:
    """Two plain objects, (30, 20, 70, 60) and (90, 50, 150, 110), on noise."""
    image = np.random.default_rng(0).integers(90, 120, (height, width, 3)).astype(np.uint8)
    image[20:60, 30:70] = (220, 30, 40)
    image[50:110, 90:150] = (20, 60, 210)
    return image


def overlap(box: tuple[int, int, int, int], boxes: np.ndarray) -> float:
    common = (np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])).clip(min=0).prod(1)
    area = (box[2] - box[0]) * (box[3] - box[1])
    return float((common / (area + (boxes[:, 2:] - boxes[:, :2]).prod(1) - common)).max())


@pytest.mark.parametrize("mode", ["fast", "quality"])
def test_objects_are_found_among_the_first_and_the_answer_keeps_its_promises(mode: Mode) -> None:
    boxes, scores = selective_search(scene(), mode)
    assert boxes.dtype == scores.dtype == np.float32 and boxes.shape == (len(scores), 4)
    for box in ((30, 20, 70, 60), (90, 50, 150, 110)):
        assert overlap(box, boxes[:10]) > 0.8
    assert len(np.unique(boxes, axis=0)) == len(boxes)
    assert (boxes[:, 2:] - boxes[:, :2]).min() >= MIN_SIDE
    assert boxes.min() >= 0 and (boxes[:, 2:] <= (160, 120)).all()
    assert (np.diff(scores) < 0).all() and scores[0] == 1
    again = selective_search(scene(), mode)
    assert np.array_equal(boxes, again[0]) and np.array_equal(scores, again[1])


def test_small_regions_are_widened_inside_the_image() -> None:
    image = np.zeros((60, 60, 3), np.uint8)
    image[0:9, 0:9] = 255  # at the corner: its 20 px start there
    boxes, _ = selective_search(image)
    assert [0, 0, 20, 20] in boxes.tolist()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((1, 1, 3), 0), ((5, 300, 3), 0), ((19, 40, 3), 0), ((20, 20, 3), 1), ((50, 60, 3), 1)],
)
def test_plain_images_have_the_whole_or_nothing(shape: tuple[int, int, int], expected: int) -> None:
    boxes, scores = selective_search(np.full(shape, 130, np.uint8))
    assert boxes.shape == (expected, 4) and scores.shape == (expected,)
    assert boxes.tolist() == [[0, 0, shape[1], shape[0]]] * expected


def test_a_grey_image_and_a_view_of_another() -> None:
    grey = np.repeat(scene()[..., :1], 3, axis=2)
    assert overlap((30, 20, 70, 60), selective_search(grey)[0]) > 0.8
    mirrored = scene()[:, ::-1]  # not contiguous
    assert np.array_equal(selective_search(mirrored)[0], selective_search(mirrored.copy())[0])


@pytest.mark.parametrize("mode", ["fast", "quality"])
def test_images_that_run_backwards_or_are_read_only(mode: Mode) -> None:
    usual, _ = selective_search(scene(), mode)
    backwards = scene()[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1]
    backwards.setflags(write=False)
    assert min(backwards.strides) < 0 and np.array_equal(backwards, scene())
    assert np.array_equal(selective_search(backwards, mode)[0], usual)


def test_a_huge_image_is_searched_shrunk_and_answered_in_its_own_px() -> None:
    image = np.zeros((1000, 4 * MAX_PIXELS // 1000, 3), np.uint8)
    image[200:600, 400:1200] = 255
    boxes, _ = selective_search(image)
    assert overlap((400, 200, 1200, 600), boxes) > 0.95
    assert boxes[:, 2].max() == 4000 and boxes[:, 3].max() == 1000


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((30, 30), np.uint8),
        np.zeros((30, 30, 4), np.uint8),
        np.zeros((30, 30, 3)),
        np.zeros((0, 9, 3), np.uint8),
    ],
)
def test_wrong_images_are_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected RGB, uint8"):
        selective_search(image)


def test_a_wrong_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="'slow'; expected one of fast, quality"):
        selective_search(scene(), "slow")  # type: ignore[arg-type]


LABELS = np.array([[0, 0, 1], [0, 0, 1], [2, 2, 2]], np.int32)


def test_regions_by_hand() -> None:
    votes = np.zeros((3, 3, 2), np.uint16)
    votes[..., 1] = 25  # the first bin of texture
    votes[0, 0] = 3, 30
    regions = describe(LABELS, votes)
    assert regions.sizes.tolist() == [4, 2, 3]
    assert regions.boxes.tolist() == [[0, 0, 2, 2], [2, 0, 3, 2], [0, 2, 3, 3]]
    assert regions.pairs.tolist() == [[0, 1], [0, 2], [1, 2]]
    assert regions.counts[:, [0, 3, 25, 30]].tolist() == [[3, 1, 3, 1], [2, 0, 2, 0], [3, 0, 3, 0]]


def test_neighbours_share_a_side_not_a_corner() -> None:
    assert neighbours(np.array([[0, 1], [2, 3]], np.int32), 4).tolist() == [[0, 1], [0, 2], [1, 3], [2, 3]]
    assert neighbours(np.zeros((2, 2), np.int32), 1).shape == (0, 2)


def test_grouping_by_hand() -> None:
    # By size alone the two smallest merge first: 1 and 2, whose box is the whole; then all.
    boxes = group(describe(LABELS, np.zeros((3, 3, 2), np.uint16)), SIZE)
    assert boxes.tolist() == [[0, 0, 2, 2], [2, 0, 3, 2], [0, 2, 3, 3], [0, 0, 3, 3], [0, 0, 3, 3]]


def test_grouping_by_color() -> None:
    votes = np.zeros((1, 3, 2), np.uint16)
    votes[0, 0, 0] = 9  # the first of three in a row has another colour
    color = Measures(color=True, texture=False, size=False, fill=False)
    boxes = group(describe(np.array([[0, 1, 2]], np.int32), votes), color)
    assert boxes[3:].tolist() == [[1, 0, 3, 1], [0, 0, 3, 1]]


def test_grouping_of_one_region_and_of_many_ends_with_the_whole() -> None:
    one = describe(np.zeros((4, 6), np.int32), np.zeros((4, 6, 2), np.uint16))
    assert group(one, ALL).tolist() == [[0, 0, 6, 4]]
    labels = np.arange(48, dtype=np.int32).reshape(6, 8)
    votes = np.random.default_rng(0).integers(0, 25, (6, 8, 2)).astype(np.uint16)
    regions = describe(labels, votes)
    before = regions.counts.copy()
    boxes = group(regions, ALL)
    assert len(boxes) == 95 and boxes[-1].tolist() == [0, 0, 8, 6]
    assert np.array_equal(regions.counts, before)  # the next grouping starts from the same


def test_rank_by_hand() -> None:
    boxes = np.array([[0, 0, 100, 100], [0, 0, 100, 95], [0, 0, 100, 80], [200, 0, 240, 40]], np.float64)
    # IoU with box 0: .95 and .80; boxes 1 and 2: .84. Worth: 3 * 100, 3 * 95, 3 * 80 and 1 * 40. Box 0 hides 1 and 2
    # from the first tier (.7) and 1 from the second (.85).
    assert rank(boxes, np.ones(4)).tolist() == [0, 3, 2, 1]
    assert rank(boxes, np.array([1.0, 1, 1, 9])).tolist() == [3, 0, 2, 1]  # 9 * 40 is more than 3 * 100
    assert rank(np.zeros((0, 4)), np.zeros(0)).tolist() == []


def test_without_a_folder_to_write_functions_are_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    njit = numba.njit

    def refusing(cache: bool = False, nogil: bool = False) -> object:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(nogil=nogil)

    monkeypatch.setattr(numba, "njit", refusing)
    assert compiled(lambda x: x + 1)(2) == 3
