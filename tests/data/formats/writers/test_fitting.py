"""What is written of objects: px from fractions, and the lines on what is lost."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detkit.config.data import FormName
from detkit.data.formats.writers.fitting import fitted, in_px, losses
from detkit.data.formats.written_forms import WRITTEN, WrittenForm
from detkit.data.ground_truth import GroundTruth, Objects, numbered

HEIGHT, WIDTH = 480, 640


def truth_of(*boxes: tuple[float, float, float, float]) -> GroundTruth:
    objects = Objects.of_boxes(np.zeros(len(boxes), dtype=np.int64), np.array(boxes, dtype=np.float64))
    return numbered(("dog",), ["one"], [(HEIGHT, WIDTH)], [objects])


def test_px_that_were_meant() -> None:
    truth = in_px(truth_of((0.0, 1.00004, 25.999959999999998, 2.5), (1.23456789, 0.5, 3.0002, 9.9995)))
    assert truth.objects.xywh.tolist() == [[0, 1, 26, 1.5], [1.2346, 0.5, 1.7654, 9.5]]
    assert truth.objects.area.tolist() == [39, 16.7713]


def test_objects_that_would_lose_their_area_stay_as_they_are() -> None:
    truth = truth_of((5.0, 5.0, 5.0005, 9.0))
    assert in_px(truth).objects.xywh.tolist() == truth.objects.xywh.tolist()


def test_areas_of_outlines_are_kept() -> None:
    truth = truth_of((0.0, 0.0, 3.99999, 4.0))
    truth = replace(truth, objects=replace(truth.objects, area=np.array([7.123456])))
    assert in_px(truth).objects.area.tolist() == [7.1235]


corner = st.one_of(st.integers(0, 400).map(float), st.floats(0, 400))
side = st.one_of(st.integers(1, 80).map(float), st.floats(0.01, 80))


@settings(max_examples=200, deadline=None)
@given(corner, corner, side, side, st.integers(6, 12))
def test_fractions_come_back_within_a_thousandth_px_and_whole_px_whole(
    x: float, y: float, width: float, height: float, digits: int
) -> None:
    scale = np.array([WIDTH, HEIGHT])
    corners = np.array([[x, y], [x + width, y + height]])
    centre, sides = (corners.mean(axis=0) / scale).round(digits), ((corners[1] - corners[0]) / scale).round(digits)
    read = np.concatenate([(centre - sides / 2) * scale, (centre + sides / 2) * scale])
    boxes = in_px(truth_of(tuple(read.tolist()))).objects.boxes[0]
    assert np.abs(boxes - read).max() <= 1e-3
    assert all(one == meant for one, meant in zip(boxes, corners.ravel()) if float(meant).is_integer())
    assert np.abs(boxes - boxes.round(4)).max() < 1e-9


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("voc", "coco", ["difficult: written as iscrowd 1 and difficult 1; other tools take them for crowds"]),
        ("coco", "coco", []),
        ("voc", "voc", []),
        ("coco", "voc", ["crowd: written as difficult 1 and iscrowd 1; other tools take them for difficult"]),
        ("coco", "yolo", ["crowd, which YOLO cannot say: left out", "difficult, which YOLO cannot say: left out"]),
        ("voc", "yolo", ["crowd, which YOLO cannot say: left out", "difficult, which YOLO cannot say: left out"]),
    ],
)
def test_difficult_objects_and_crowds_are_told_apart(source: FormName, target: WrittenForm, said: list[str]) -> None:
    truth = truth_of((0.0, 0.0, 9.0, 9.0), (0.0, 0.0, 9.0, 9.0), (0.0, 0.0, 5.0, 5.0))
    marks = replace(truth.objects, ignore=np.array([True, True, False]), crowd=np.array([True, False, False]))
    told = [change for change, count in losses(replace(truth, objects=marks), source, target) if count]
    assert told == [f"are {line}" for line in said]


def odd_truth() -> GroundTruth:
    """Every mark, an outline, and boxes that some form cannot hold."""
    boxes = [(1, 1, 9, 9), (1, 1, 9, 9), (2, 2, 8, 8), (3, 3, 9, 9), (4, 4, 9, 9), (5, 5, 5.5, 9), (6, 6, 6, 9)]
    boxes += [(-3, 5, 9, 9), (700, 5, 710, 9), (7, 7, 12, 12)]
    truth = truth_of(*boxes)
    marks = np.zeros((3, len(boxes)), dtype=np.bool_)
    marks[:2, 2], marks[0, 3], marks[2, 4] = True, True, True  # a crowd, difficult, truncated
    area = truth.objects.area.copy()
    area[9] = 17.0
    return replace(
        truth, objects=replace(truth.objects, ignore=marks[0], crowd=marks[1], truncated=marks[2], area=area)
    )


FORMS: tuple[FormName, ...] = get_args(FormName)


@pytest.mark.parametrize("target", WRITTEN)
@pytest.mark.parametrize("source", FORMS)
def test_what_is_told_is_what_differs(source: FormName, target: WrittenForm) -> None:
    truth = odd_truth()
    after = fitted(truth, target)
    told = {change: count for change, count in losses(truth, source, target) if count}
    left_out = sum(count for change, count in told.items() if change.endswith("left out"))
    assert len(after.objects) == len(truth.objects) - left_out == int(after.counts.sum())

    def count(text: str) -> int:
        return sum(number for change, number in told.items() if text in change)

    before, objects = truth.objects, after.objects
    assert int(before.truncated.sum() - objects.truncated.sum()) == count("truncated")
    assert int((before.area == 17).sum() - (objects.area == 17).sum()) == count("have the area of their outline")
    assert ((objects.xywh[:, :2] >= 0).all() and target != "coco") == bool(count("reach beyond"))
    crowds = before.crowd.sum() - count("are crowd, which")
    difficult = before.ignore.sum() - before.crowd.sum() - count("are difficult, which YOLO")
    difficult -= count("are difficult, which darknet")
    as_crowds = count("written as IsGroupOf 1")
    assert int(objects.crowd.sum()) == crowds + as_crowds
    assert int(objects.ignore.sum() - objects.crowd.sum()) == difficult - as_crowds
    if source == target:
        assert not count("written as iscrowd 1") and not count("and iscrowd 1")


def test_what_each_form_leaves_out() -> None:
    expected = {"coco": 0, "voc": 3, "yolo": 5, "darknet": 5}
    for target in WRITTEN:
        assert len(odd_truth().objects) - len(fitted(odd_truth(), target).objects) == expected.get(target, 2)


def test_clipped_boxes_have_the_area_that_is_left() -> None:
    objects = fitted(truth_of((-5.0, 0.0, 5.0, 10.0)), "huggingface").objects
    assert (objects.xywh.tolist(), objects.area.tolist()) == ([[0, 0, 5, 10]], [50])


def test_nothing_fits_every_form() -> None:
    for target in WRITTEN:
        assert len(fitted(truth_of(), target).objects) == 0
        assert not any(count for _, count in losses(truth_of(), "coco", target))
