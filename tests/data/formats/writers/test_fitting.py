"""What is written of objects: px from fractions, and the lines on what is lost."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detkit.config.data import FormName
from detkit.data.formats.writers.fitting import in_px, losses
from detkit.data.formats.written_forms import WrittenForm
from detkit.data.ground_truth import GroundTruth, Objects, numbered

HEIGHT, WIDTH = 480, 640


def truth_of(*boxes: tuple[float, float, float, float]) -> GroundTruth:
    objects = Objects.of_boxes(np.zeros(len(boxes), dtype=np.int64), np.array(boxes))
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
