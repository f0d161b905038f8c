"""Repeated objects, by hand and against a plain loop; what is said of odd boxes is in test_check.py."""

import numpy as np

from detkit.data.ground_truth import GroundTruth, Objects, numbered
from detkit.data.validation.suspicious_boxes import repeated_objects


def truth(*images: list[tuple[int, int]]) -> GroundTruth:
    """Objects as (label, left); all are 5 px wide."""
    parts = [
        Objects.of_boxes(
            np.array([label for label, _ in image], dtype=np.int64),
            np.array([[x, 0, x + 5, 5] for _, x in image], dtype=np.float64),
        )
        for image in images
    ]
    return numbered(("a", "b"), [str(number) for number in range(len(images))], [(50, 50)] * len(images), parts)


def test_an_object_is_repeated_only_in_its_image_and_class() -> None:
    found = repeated_objects(truth([(0, 1), (1, 1), (0, 2)], [(0, 1), (0, 9), (0, 9), (0, 1), (0, 9)]))
    assert found.tolist() == [[5, 4], [6, 3], [7, 4]]


def test_nothing_is_repeated() -> None:
    assert repeated_objects(truth([(0, 1), (0, 2)], [])).shape == (0, 2)
    assert repeated_objects(truth([])).shape == (0, 2)


def test_as_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    images = [[(int(rng.integers(2)), int(rng.integers(4))) for _ in range(8)] for _ in range(20)]
    expected = []
    for number, image in enumerate(images):
        expected += [
            [8 * number + row, 8 * number + image.index(one)] for row, one in enumerate(image) if image.index(one) < row
        ]
    assert repeated_objects(truth(*images)).tolist() == expected
