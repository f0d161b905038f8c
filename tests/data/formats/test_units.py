"""Boxes in other units than their form has are told as one error; honest boxes, odd as they may be, are not."""

from pathlib import Path

import numpy as np
import pytest

from detkit.data.faults import Fault, Severity
from detkit.data.formats.units import Corners, centres_fault, units_fault

SIZE = (120, 160)  # height, width
FILE = Path("train.json")


def of_one_image(*boxes: Corners, are_sizes: bool = False, size: tuple[int, int] = SIZE) -> Fault | None:
    return units_fault(FILE, "bbox", [(boxes, size), ((), SIZE)], are_sizes)


def drawn(count: int, seed: int = 0) -> np.ndarray:
    """(N, 4) corners of boxes anywhere in an image, as fractions of it, none under a twentieth of its side."""
    rng = np.random.default_rng(seed)
    sides = rng.uniform(0.05, 0.8, (count, 2))
    corners = rng.uniform(0, 1 - sides)
    return np.concatenate([corners, corners + sides], axis=1)


@pytest.mark.parametrize("count", [1, 2, 30])
@pytest.mark.parametrize("are_sizes", [False, True])
def test_fractions_are_told_once_for_the_split(count: int, are_sizes: bool) -> None:
    boxes = drawn(count)
    if are_sizes:
        boxes[:, 2:] -= boxes[:, :2]
    fault = of_one_image(*map(tuple, boxes.tolist()), are_sizes=are_sizes)
    assert fault is not None
    assert (fault.file, fault.severity, fault.field) == (FILE, Severity.ERROR, "bbox")
    first = ", ".join(f"{value:g}" for value in boxes[0].tolist())
    assert f"the numbers of all {count} boxes look like fractions of the image, such as ({first})" in fault.message
    assert "pixels are expected: multiply them by its size" in fault.message


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([(0, 0, 1, 1)], "all 1 boxes look like fractions"),  # the whole image
        ([(0, 0, 1, 0.5), (0.5, 0, 1, 1)], "all 2 boxes"),
        ([(0.2, 0.2, 1.005, 0.4)], "all 1 boxes"),
        (
            [(1, 1, 90, 90)] * 10 + [(0.1, 0.1, 0.2, 0.4)],
            "1 of 11 boxes look like fractions of the image, such as (0.1",
        ),
    ],
)
def test_fractions_at_the_border_and_among_pixels(boxes: list[Corners], message: str) -> None:
    fault = of_one_image(*boxes)
    assert fault is not None and message in fault.message


@pytest.mark.parametrize(
    "boxes",
    [
        [],
        [(1, 1, 1, 1)],  # one pixel of VOC's
        [(1, 1, 160, 120)],
        [(0, 0, 160, 120)],
        [(0, 0, 1, 2)],
        [(0.5, 0.5, 1.5, 1)],
        [(1, 1, 90, 90)] * 30 + [(0.1, 0.1, 0.2, 0.4)],  # a slip, told by itself
    ],
)
def test_pixels_are_not_taken_for_fractions(boxes: list[Corners]) -> None:
    assert of_one_image(*boxes) is None


def test_images_without_size_or_of_a_few_pixels_say_nothing() -> None:
    fractions = (0.1, 0.1, 0.4, 0.4)
    assert of_one_image(fractions, size=(0, 0)) is None
    assert of_one_image(fractions, size=(8, 8)) is None
    assert of_one_image(fractions, size=(9, 9)) is not None


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("count", [5, 40])
def test_corners_in_place_of_width_and_height(count: int, seed: int) -> None:
    corners = drawn(count, seed) * (160, 120, 160, 120)
    fault = of_one_image(*map(tuple, corners.tolist()), are_sizes=True)
    assert fault is not None
    assert f"all {count} boxes look like corners (x1, y1, x2, y2)" in fault.message
    assert fault.message.endswith("left, top, width and height are expected: write x, y, width, height")


def test_corners_with_a_few_slips_are_still_seen() -> None:
    corners = (drawn(40) * (160, 120, 160, 120)).tolist()
    corners[3] = [10, 10, 10, 40]  # no width
    assert of_one_image(*map(tuple, corners), are_sizes=True) is not None


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("count", [1, 2, 3, 40])
def test_width_and_height_are_not_taken_for_corners(count: int, seed: int) -> None:
    boxes = drawn(count, seed) * (160, 120, 160, 120)
    boxes[:, 2:] -= boxes[:, :2]
    assert of_one_image(*map(tuple, boxes.tolist()), are_sizes=True) is None


@pytest.mark.parametrize(
    "boxes",
    [
        [(0, 0, 160, 120)],
        [(10, 10, 150, 110)],
        [(10, 10, 152, 110)],  # beyond by 2 px
        [(20, 20, 148, 105)],  # beyond by 8 px: one box drawn loosely
        [(5, 5, 80, 90), (3, 2, 100, 100), (9, 8, 110, 90)],  # large objects in the upper left
        [(3, 3, 160, 120)] * 50,  # all too large by the same 3 px
        [(-2, -2, 170, 130)],
        [(100, 80, 90, 60)],  # far beyond, but no corners either
        [(5, 5, 40, 40)] * 9 + [(60, 50, 120, 90)],  # one of ten is wrong
    ],
)
def test_honest_boxes_that_could_be_corners(boxes: list[Corners]) -> None:
    assert of_one_image(*boxes, are_sizes=True) is None


def test_one_box_is_enough_where_it_is_far_beyond_its_image() -> None:
    assert of_one_image((80, 60, 120, 100), are_sizes=True) is not None
    assert of_one_image((80, 60, 120, 100)) is None  # corners are what VOC has


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("count", [4, 40])
def test_yolo_corners_are_told_and_centres_are_not(count: int, seed: int) -> None:
    corners = drawn(count, seed)
    fault = centres_fault(FILE, list(map(tuple, corners.tolist())))
    assert fault is not None and fault.field == "box"
    assert "look like corners (x1, y1, x2, y2)" in fault.message
    assert fault.message.endswith("centre and size are expected: write class cx cy w h")
    centres = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1)
    for one in (centres, centres[:1]):
        assert centres_fault(FILE, list(map(tuple, one.tolist()))) is None


@pytest.mark.parametrize(
    "boxes",
    [
        [],
        [(0.5, 0.5, 1, 1)],
        [(0.4, 0.4, 0.85, 0.85)],  # beyond by 2.5%: one box drawn loosely
        [(0.3, 0.3, 0.6, 0.6)] * 5,  # large, in the upper left
        [(0.75, 0.5, 1, 0.5)],  # beyond, but no corners
    ],
)
def test_honest_labels_that_could_be_corners(boxes: list[Corners]) -> None:
    assert centres_fault(FILE, boxes) is None


def random_boxes(count: int, sides: tuple[float, float]) -> np.ndarray:
    """Left, top, width and height of boxes inside an image of these sides (width, height)."""
    rng = np.random.default_rng(count)
    sizes = rng.uniform(0.1, 0.6, (count, 2))
    return np.concatenate([rng.uniform(0, 1, (count, 2)) * (1 - sizes), sizes], axis=1) * [*sides, *sides]


def as_stated(boxes: np.ndarray) -> list[tuple[float, float, float, float]]:
    return [(a, b, c, d) for a, b, c, d in boxes.tolist()]


def test_percents_centres_and_left_tops_are_told() -> None:
    sizes, file = (480, 640), Path("train.json")
    boxes = random_boxes(40, (640, 480))
    assert units_fault(file, "bbox", [(as_stated(boxes), sizes)], are_sizes=True) is None
    centred = np.concatenate([boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]], axis=1)
    fault = units_fault(file, "bbox", [(as_stated(centred), sizes)], are_sizes=True)
    assert fault is not None and "centres and sizes" in fault.message
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    assert units_fault(file, "bndbox", [(as_stated(corners), sizes)]) is None
    percents = corners / [640, 480, 640, 480] * 100
    fault = units_fault(file, "bndbox", [(as_stated(percents), sizes)])
    assert fault is not None and "percents of the image" in fault.message
    small = units_fault(file, "bndbox", [(as_stated(percents), (100, 110))])
    assert small is None  # in images of that size they are pixels
    shares = random_boxes(40, (1, 1))
    fault = centres_fault(file, as_stated(shares))
    assert fault is not None and "look like left, top, width and height" in fault.message
    middles = np.concatenate([shares[:, :2] + shares[:, 2:] / 2, shares[:, 2:]], axis=1)
    assert centres_fault(file, as_stated(middles)) is None
