"""Felzenszwalb's regions: images of known parts, the two rules for small regions, and properties of labels."""

import numpy as np
import pytest

from detkit.proposals.felzenszwalb import segment


def halves(left: int, right: int, height: int = 30, width: int = 40) -> np.ndarray:
    image = np.full((height, width, 1), left, np.uint8)
    image[:, width // 2 :] = right
    return image


@pytest.mark.parametrize(
    ("image", "k", "regions"),
    [
        (halves(7, 7), 50, 1),
        (halves(0, 255), 50, 2),
        (halves(100, 101, 10, 20), 90, 1),  # of 100 px each: the step, under 1, is less than k / |C|
        (halves(0, 255, 10, 20), 90, 2),
        (np.zeros((1, 1, 3), np.uint8), 50, 1),
        (np.zeros((5, 300, 3), np.uint8), 50, 1),
        (halves(0, 255), 700, 1),  # each half, 600 px, is under k px: it joins
    ],
)
def test_number_of_regions(image: np.ndarray, k: float, regions: int) -> None:
    (labels,) = segment(image, [k])
    assert labels.shape == image.shape[:2] and labels.dtype == np.int32
    assert labels.max() + 1 == regions


def test_halves_are_parted_at_the_edge() -> None:
    (labels,) = segment(halves(0, 255), [50])
    # Smoothing blurs the step over 2 px on each side; beyond them the halves are whole.
    assert set(labels[:, :17].flat) == {0}
    assert set(labels[:, 23:].flat) == {1}


def test_labels_are_in_reading_order_without_gaps_and_no_region_is_small() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    for k, labels in zip((30.0, 90.0), segment(image, [30, 90]), strict=True):
        names, first, sizes = np.unique(labels, return_index=True, return_counts=True)
        assert names.tolist() == list(range(len(names)))
        assert (np.diff(first) > 0).all()
        assert sizes.min() >= k and len(names) > 1


def test_larger_k_gives_fewer_regions_and_each_k_stands_alone() -> None:
    image = np.random.default_rng(1).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    fine, coarse = segment(image, [20, 200])
    assert fine.max() > coarse.max()
    assert np.array_equal(coarse, segment(image, [200])[0])
