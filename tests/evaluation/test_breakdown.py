"""AP by size, aspect ratio and truncation, on cases worked out by hand and beside pycocotools."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from detkit.data.ground_truth import GroundTruth, Objects, numbered
from detkit.evaluation.breakdown import Bin, by_aspect, by_size, by_truncation
from detkit.evaluation.coco_matching import LARGE as LARGE_AREAS
from detkit.evaluation.coco_matching import MEDIUM as MEDIUM_AREAS
from detkit.evaluation.coco_matching import SMALL as SMALL_AREAS
from detkit.evaluation.coco_matching import average_precision_coco, match_coco
from detkit.structures import Detections
from tests.evaluation.plain_coco import with_difficult_and_ties
from tests.evaluation.pycocotools_reference import precision_at_50

Box = tuple[float, float, float, float]
CLASSES = ("cat", "dog")
SMALL, MEDIUM = (0.0, 0.0, 10.0, 10.0), (100.0, 0.0, 150.0, 50.0)
SMALL_ELSEWHERE = (300.0, 300.0, 310.0, 310.0)


def truth_of(boxes: list[Box], ignore: list[int] | None = None, truncated: list[int] | None = None) -> GroundTruth:
    """Cats in one image; `ignore` and `truncated` name rows."""
    flags = [np.isin(np.arange(len(boxes)), rows or []) for rows in (ignore, truncated)]
    objects = Objects.of_boxes(np.zeros(len(boxes), dtype=np.int64), np.array(boxes), *flags)
    return numbered(CLASSES, ["one"], [(400, 400)], [objects])


def found(*boxes: Box) -> dict[str, Detections]:
    """Cats, best first."""
    scores = torch.linspace(0.9, 0.1, len(boxes))
    return {"one": Detections(torch.tensor(boxes).reshape(-1, 4), scores, torch.zeros(len(boxes)).long())}


def results(bins: tuple[Bin, ...]) -> dict[str, tuple[int, float | None, float | None]]:
    return {one.name: (one.num_objects, one.ap, one.recall) for one in bins}


def test_coco_sizes() -> None:
    """False and small: counts against the small ones alone. The medium object is ignored there, and found."""
    breakdown = by_size(found(SMALL_ELSEWHERE, MEDIUM, SMALL), truth_of([SMALL, MEDIUM, SMALL_ELSEWHERE], ignore=[]))
    assert results(breakdown.of_class["cat"][:3]) == {
        "small": (2, 1.0, 1.0),
        "medium": (1, 1, 1),
        "large": (0, None, None),
    }
    breakdown = by_size(found(SMALL_ELSEWHERE, MEDIUM, SMALL), truth_of([SMALL, MEDIUM]))
    assert results(breakdown.of_class["cat"][:3]) == {
        "small": (1, 0.5, 1.0),
        "medium": (1, 1, 1),
        "large": (0, None, None),
    }
    assert results(breakdown.all_classes[:3]) == results(breakdown.of_class["cat"][:3])  # dogs there are none
    assert results(breakdown.of_class["dog"][:3]) == dict.fromkeys(("small", "medium", "large"), (0, None, None))
    assert [one.range for one in breakdown.all_classes[:3]] == [
        "under 1024 px²",
        "1024 to 9216 px²",
        "9216 px² and more",
    ]


def test_sizes_within_a_class() -> None:
    """Squares of 11 sizes, apart: percentiles 10, 30, 70 and 90 are the second, fourth, eighth and tenth."""
    squares = [(40.0 * side, 0.0, 40.0 * side + side, float(side)) for side in range(10, 21)]
    bins = by_size(found(*squares[:3]), truth_of(squares)).of_class["cat"][3:]
    assert [one.name for one in bins] == ["XS", "S", "M", "L", "XL"]
    assert [one.num_objects for one in bins] == [1, 2, 4, 2, 2]
    assert [one.recall for one in bins] == [1.0, 1.0, 0.0, 0.0, 0.0]
    assert bins[1].range == "121 to 169 px²"


def test_aspects() -> None:
    """A false detection counts in every bin."""
    boxes = [(0.0, 30.0 * row, float(width), 30.0 * row + 10) for row, width in enumerate(range(5, 16))]
    breakdown = by_aspect(found((300.0, 0.0, 310.0, 10.0), *boxes), truth_of(boxes))
    assert results(breakdown.of_class["cat"]) == {
        "XT": (1, 0.5, 1.0),
        "T": (2, pytest.approx(2 / 3), 1.0),
        "M": (4, pytest.approx(4 / 5), 1.0),
        "W": (2, pytest.approx(2 / 3), 1.0),
        "XW": (2, pytest.approx(2 / 3), 1.0),
    }
    assert breakdown.of_class["cat"][0].range == "under 0.6 wide for 1 high"
    assert breakdown.of_class["dog"][0].range == "no objects"
    assert breakdown.all_classes[0].range == "lowest 10% of each class"


def test_truncation() -> None:
    breakdown = by_truncation(found(SMALL), truth_of([SMALL, MEDIUM, SMALL_ELSEWHERE], truncated=[1]))
    assert breakdown is not None
    assert results(breakdown.all_classes) == {"whole": (2, pytest.approx(51 / 101), 0.5), "truncated": (1, 0.0, 0.0)}
    assert by_truncation(found(SMALL), truth_of([SMALL])) is None


def test_ignored_objects_are_in_no_bin() -> None:
    """A crowd's detections are neither right nor wrong in any; of a difficult object's that holds for one."""
    truth = truth_of([SMALL, MEDIUM], ignore=[1])
    crowd = replace(truth, objects=replace(truth.objects, crowd=truth.objects.ignore))
    for one, ap in ((crowd, 1.0), (truth, 0.5)):
        breakdown = by_aspect(found(MEDIUM, MEDIUM, SMALL), one)
        assert sum(one.num_objects for one in breakdown.all_classes) == 1
        assert [one.ap for one in breakdown.all_classes if one.num_objects] == [ap]


@pytest.mark.parametrize("seed", range(10))
def test_sizes_are_coco_s_with_difficult_objects_and_equal_scores(seed: int) -> None:
    truth, coarse = with_difficult_and_ties(*random_case(seed), seed)
    aps = [[one.ap for one in bins[:3]] for bins in by_size(coarse, truth).of_class.values()]
    for place, areas in enumerate((SMALL_AREAS, MEDIUM_AREAS, LARGE_AREAS)):
        expected = average_precision_coco(match_coco(coarse, truth, areas))[0].tolist()
        assert [of_class[place] for of_class in aps] == pytest.approx(
            [None if np.isnan(ap) else ap for ap in expected], abs=1e-9
        )


def test_nothing_to_find_and_nothing_found() -> None:
    for truth in (truth_of([]), numbered(CLASSES, [], [], [])):
        for breakdown in (by_size({}, truth), by_aspect({}, truth)):
            assert {(one.num_objects, one.ap, one.recall) for one in breakdown.all_classes} == {(0, None, None)}
            assert set(breakdown.of_class) == set(CLASSES)
    assert {one.ap for one in by_size(found(), truth_of([SMALL])).all_classes} == {0.0, None}


def test_unknown_image() -> None:
    with pytest.raises(ValueError, match="'one'"):
        by_size(found(SMALL), numbered(CLASSES, [], [], []))


@pytest.mark.parametrize("seed", range(2))
def test_coco_sizes_equal_pycocotools(seed: int) -> None:
    truth, detections = random_case(seed)
    breakdown = by_size(detections, truth)
    expected = pycocotools_ap50(truth, detections)  # (C, 3), -1 without objects
    for label, name in enumerate(CLASSES):
        aps = [-1 if one.ap is None else one.ap for one in breakdown.of_class[name][:3]]
        assert aps == pytest.approx(expected[label].tolist(), abs=1e-9)
    parts = breakdown.all_classes[:3], breakdown.all_classes[3:], by_aspect(detections, truth).all_classes
    assert {sum(one.num_objects for one in bins) for bins in parts} == {int((~truth.objects.ignore).sum())}


def random_case(seed: int) -> tuple[GroundTruth, dict[str, Detections]]:
    """Objects, one in five ignored, and boxes about them."""
    generator = np.random.default_rng(seed)
    parts, detections = [], {}
    for image in range(12):
        number = int(generator.integers(1, 8))
        boxes = np.concatenate([generator.uniform(0, 200, (number, 2)), generator.uniform(9, 150, (number, 2))], axis=1)
        boxes[:, 2:] += boxes[:, :2]
        own = generator.integers(0, 2, number)
        objects = Objects.of_boxes(own, boxes, generator.random(number) < 0.2)
        parts.append(replace(objects, crowd=objects.ignore))
        shaken = np.repeat(boxes, 4, axis=0) + generator.normal(0, 8, (4 * number, 4))
        shaken[:, 2:] = np.maximum(shaken[:, 2:], shaken[:, :2] + 1)
        scores = torch.tensor(generator.random(4 * number)).float()
        detections[f"image{image}"] = Detections(torch.tensor(shaken).float(), scores, torch.tensor(np.repeat(own, 4)))
    return numbered(CLASSES, list(detections), [(400, 400)] * 12, parts), detections


def pycocotools_ap50(truth: GroundTruth, detections: dict[str, Detections]) -> np.ndarray:
    """(C, 3) of small, medium and large."""
    return np.asarray(precision_at_50(truth, detections)[:, :, 1:].mean(axis=0))
