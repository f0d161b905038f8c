"""Anchor sizes for the boxes at hand: found again where they are known, never reaching fewer; and larger images."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from detkit.data.pipeline.prepare import Resize
from detkit.data.validation.anchor_reach import best_overlaps
from detkit.data.validation.anchor_sizes import FittedSizes, best_sizes, fit_anchors, larger_images, least_size
from detkit.data.validation.statistics import REACHED, Frame, SplitStatistics
from detkit.ops.anchors import placed_anchors

STRIDE = 16
IMAGE = 640  # px, square


def frame(*sizes: float, ratios: tuple[float, ...] = (1.0,), short_side: int | None = IMAGE) -> Frame:
    cell = placed_anchors(sizes, ratios, "centered", STRIDE).astype(np.float64)
    return Frame(Resize(short_side, 1000), sizes, ratios, cell, STRIDE, True)


def centred(sides: NDArray[np.float64]) -> SplitStatistics:
    """Boxes of these sides (M, 2) around the centre of a cell."""
    return statistics(np.full((len(sides), 2), 20.5 * STRIDE), sides)


def statistics(centres: NDArray[np.float64], sides: NDArray[np.float64]) -> SplitStatistics:
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)
    count = len(boxes)
    sizes, ratios = np.sqrt(sides.prod(axis=1)), sides[:, 1] / sides[:, 0]
    labels = np.zeros(count, np.int64)
    images = np.full((count, 2), float(IMAGE))
    return SplitStatistics(np.array([count]), labels, sizes, ratios, np.zeros(count), boxes, images)


def test_the_sizes_of_the_objects_are_found() -> None:
    sides = np.repeat([[40.0, 40], [80, 80], [320, 320]], [60, 30, 10], axis=0)
    fitted = fit_anchors(frame(128, 256, 512), [centred(sides)])
    assert fitted is not None
    assert fitted.sizes == (40, 80, 320)  # each a power of two times the least, so all are among those tried
    assert fitted.missed == (0.0, 0.0)
    # 128 px anchors overlap 80 px by 0.39; 256 px overlap 320 px by 0.64.
    assert fitted.missed_now == pytest.approx((0.9, 1.0))
    assert fitted.is_better


def test_the_ratios_of_the_model_are_kept() -> None:
    sides = np.array([[100.0, 200], [200, 100]] * 5)  # of 141 px, twice as high or as wide
    for ratios, missed in (((0.5, 2.0), (0.0, 0.0)), ((1.0,), (0.0, 1.0))):  # on one centre a square overlaps by 0.55
        fitted = fit_anchors(frame(512, ratios=ratios), [centred(sides)])
        assert fitted is not None
        assert fitted.missed == missed
        assert len(fitted.sizes) == 1


def test_few_small_objects_are_not_given_up_for_many_large_ones() -> None:
    """k-means on IoU alone puts both sizes among the many."""
    many = np.random.default_rng(0).uniform(112, 148, (970, 1)).repeat(2, axis=1)
    sides = np.concatenate([many, np.full((30, 2), 30.0)])
    fitted = fit_anchors(frame(128, 256), [centred(sides)])
    assert fitted is not None
    assert fitted.missed[0] == 0


def test_no_more_sizes_than_there_are_and_nothing_without_objects() -> None:
    same = fit_anchors(frame(64, 128, 256), [centred(np.full((9, 2), 64.0))])
    assert same is not None
    assert not same.is_better
    assert fit_anchors(frame(64), [centred(np.zeros((0, 2)))]) is None


def test_several_splits_count_as_one() -> None:
    one, two = centred(np.full((5, 2), 40.0)), centred(np.full((5, 2), 160.0))
    fitted = fit_anchors(frame(512, 600), [one, two])
    assert fitted is not None
    assert fitted.sizes == (40, 160)


@pytest.mark.parametrize(
    ("now", "then", "is_better"),
    [
        ((0.10, 0.5), (0.08, 0.5), True),  # a fifth of those that are missed
        ((0.10, 0.5), (0.09, 0.5), False),  # a tenth
        ((0.010, 0.5), (0.002, 0.5), False),  # most of them, but under 1% of all
        ((0.10, 0.5), (0.01, 0.51), False),  # others are lost
        ((0.02, 0.35), (0.013, 0.12), True),
        ((0.0, 0.0), (0.0, 0.0), False),
    ],
)
def test_what_is_clearly_better(now: tuple[float, ...], then: tuple[float, ...], is_better: bool) -> None:
    assert FittedSizes((32,), then, now).is_better == is_better


spans = st.tuples(
    st.floats(8, 600), st.floats(8, 600), st.floats(0, 1), st.floats(0, 1)
)  # width, height, and where in its image


@settings(max_examples=30, deadline=None)
@given(
    st.lists(spans, min_size=1, max_size=60),
    st.lists(st.integers(8, 600), min_size=1, max_size=4, unique=True),
    st.sampled_from([(1.0,), (0.5, 1.0, 2.0)]),
)
def test_what_is_proposed_never_reaches_fewer(
    drawn: list[tuple[float, ...]], sizes: list[int], ratios: tuple[float, ...]
) -> None:
    values = np.array(drawn)
    sides = values[:, :2]
    part = statistics(sides / 2 + values[:, 2:] * (IMAGE - sides), sides)
    now = frame(*sorted(sizes), ratios=ratios)
    fitted = fit_anchors(now, [part])
    assert fitted is not None
    assert fitted == fit_anchors(now, [part])
    assert 1 <= len(fitted.sizes) <= len(sizes)
    assert fitted.sizes == best_sizes(now, part.boxes, part.images)
    reached = [
        best_overlaps(part.boxes, part.images, one.cell, STRIDE, True)
        for one in (now, frame(*fitted.sizes, ratios=ratios))
    ]
    for index, iou in enumerate(REACHED):
        assert [(best < iou).mean() for best in reached] == [fitted.missed_now[index], fitted.missed[index]]
        if fitted.is_better:
            assert (reached[1] >= iou).sum() >= (reached[0] >= iou).sum()


def test_the_least_size_is_what_its_own_anchor_overlaps_by_half() -> None:
    size = least_size(STRIDE)
    assert size == pytest.approx(21.8, abs=0.01)
    part = statistics(np.array([[20.75 * STRIDE, 20.75 * STRIDE]]), np.array([[size, size]]))  # a quarter of a cell off
    best = best_overlaps(part.boxes, part.images, frame(size).cell, STRIDE, True)
    assert best[0] == pytest.approx(0.5)


def test_larger_images_for_small_objects() -> None:
    sides = np.repeat([[16.0], [64.0]], [20, 80], axis=0).repeat(2, axis=1)
    larger = larger_images(frame(64), [centred(sides)])
    assert larger is not None
    # 21.8 / 16 times 640 and 1000 are 871.9 and 1362.4, rounded up to 16 px.
    assert (larger.short_side, larger.long_side) == (880, 1376)
    assert (larger.smaller, larger.smaller_then) == (0.2, 0.0)
    assert larger.work == pytest.approx(880 * 1376 / 640_000)


def test_images_grow_as_far_as_the_smallest_need() -> None:
    sides = np.repeat([[4.0], [12.0], [64.0]], [10, 10, 80], axis=0).repeat(2, axis=1)
    larger = larger_images(frame(64), [centred(sides)])
    assert larger is not None
    assert (larger.short_side, larger.long_side) == (3488, 5456)  # 5.45 times, from 4 px to 21.8
    assert (larger.smaller, larger.smaller_then) == (0.2, 0.0)
    assert math.isclose(larger.work, 3488 * 5456 / (640 * 1000))


def test_no_larger_images_without_need() -> None:
    few = centred(np.repeat([[16.0], [64.0]], [5, 95], axis=0).repeat(2, axis=1))
    assert larger_images(frame(64), [few]) is None
    assert larger_images(frame(64), [centred(np.zeros((0, 2)))]) is None
    assert larger_images(frame(64, short_side=None), [centred(np.full((5, 2), 8.0))]) is None  # R-CNN
