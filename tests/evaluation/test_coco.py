"""COCO's numbers against pycocotools called by hand on files."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detkit.data.ground_truth import GroundTruth, Objects
from detkit.evaluation.coco import Engine, evaluate_coco
from detkit.evaluation.coco_files import read_rows
from detkit.evaluation.coco_matching import ALL_AREAS, LARGE, MEDIUM, SMALL, match_coco, precision_at_recalls
from detkit.structures import Detections
from tests.evaluation.plain_coco import plain_precision

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
ENGINES: tuple[Engine, ...] = ("fast", "reference")

Object = tuple[int, tuple[float, float, float, float], bool]  # label, xywh, ignore
Found = tuple[int, tuple[float, float, float, float], float]  # label, corners, score


def truth_of(*images: list[Object], classes: int = 2, areas: list[float] | None = None) -> GroundTruth:
    """Images numbered 30, 20, 10 ... backwards, and categories 7, 5, 3, so that neither order is that of the labels."""
    rows = [row for image in images for row in image]
    labels = np.array([label for label, _, _ in rows], dtype=np.int64)
    xywh = np.array([box for _, box, _ in rows], dtype=np.float64).reshape(-1, 4)
    ignore = np.array([row[2] for row in rows], dtype=np.bool_)
    area = xywh[:, 2:].prod(axis=1) if areas is None else np.array(areas)
    return GroundTruth(
        tuple("abcdef"[:classes]),
        tuple(f"image{k}" for k in range(len(images))),
        np.full((len(images), 2), 200, dtype=np.int64),
        Objects(labels, xywh, area, ignore, np.zeros(len(rows), dtype=np.bool_), ignore),
        np.array([len(image) for image in images], dtype=np.int64),
        tuple(1 + 2 * (classes - label) for label in range(classes)),
        tuple(10 * (len(images) - k) for k in range(len(images))),
    )


def found(*rows: Found) -> Detections:
    labels, boxes, scores = zip(*rows) if rows else ((), (), ())
    return Detections(
        torch.tensor(boxes).reshape(-1, 4), torch.tensor(scores).float(), torch.tensor(labels, dtype=torch.int64)
    )


def official(
    folder: Path, detections: Mapping[str, Detections], truth: GroundTruth, order: list[int] | None = None
) -> COCOeval:
    """pycocotools on files, as its demo calls it; its own loader of results where there are any.

    `order` mixes the rows of the results.
    """
    objects = truth.objects
    annotations = [
        {
            "id": row + 1,
            "image_id": truth.image_numbers[truth.image_index[row]],
            "category_id": truth.category_numbers[objects.labels[row]],
            "bbox": objects.xywh[row].tolist(),
            "area": float(objects.area[row]),
            "iscrowd": int(objects.ignore[row]),
        }
        for row in range(len(objects))
    ]
    images = [{"id": number, "height": 200, "width": 200} for number in truth.image_numbers]
    categories = [{"id": number, "name": str(number)} for number in truth.category_numbers]
    (folder / "truth.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    results = [
        {
            "image_id": truth.image_numbers[truth.image_ids.index(image_id)],
            "category_id": truth.category_numbers[label],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
        }
        for image_id, one in detections.items()
        for (x1, y1, x2, y2), score, label in zip(one.boxes.tolist(), one.scores.tolist(), one.labels.tolist())
    ]
    results = results if order is None else [results[row] for row in order]
    (folder / "results.json").write_text(json.dumps(results))
    coco = COCO(folder / "truth.json")
    if results:
        loaded = coco.loadRes(str(folder / "results.json"))
    else:
        loaded = COCO()
        loaded.dataset = {"images": images, "categories": categories, "annotations": []}
        loaded.createIndex()
    evaluation = COCOeval(coco, loaded, "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation


A, B, CROWD = (10.0, 10.0, 40.0, 40.0), (100.0, 100.0, 50.0, 30.0), (0.0, 0.0, 150.0, 150.0)
ON_A, ON_B, NEAR_A = (10.0, 10.0, 50.0, 50.0), (100.0, 100.0, 150.0, 130.0), (14.0, 12.0, 55.0, 49.0)
AWAY = (160.0, 10.0, 190.0, 90.0)


def squares(*sides: float) -> list[Object]:
    return [(0, (place * 45.0, 0.0, side, side), False) for place, side in enumerate(sides)]


def corners(objects: list[Object]) -> list[tuple[float, float, float, float]]:
    return [(x, y, x + w, y + h) for _, (x, y, w, h), _ in objects]


BORDERS = squares(31.999, 32.0, 32.001) + squares(95.999, 96.0, 96.001)
CASES: dict[str, tuple[GroundTruth, dict[str, Detections]]] = {
    "plain": (
        truth_of([(0, A, False), (1, B, False)], [(0, A, False)]),
        {"image0": found((0, ON_A, 0.9), (1, ON_B, 0.3), (1, AWAY, 0.8)), "image1": found((0, NEAR_A, 0.7))},
    ),
    "equal scores": (
        truth_of([(0, A, False)], [(0, A, False)], [(0, A, False), (0, B, False)]),
        {
            "image2": found((0, AWAY, 0.5), (0, ON_A, 0.5), (0, NEAR_A, 0.5), (0, ON_B, 0.5)),
            "image0": found((0, ON_A, 0.5), (0, AWAY, 0.5)),
            "image1": found((0, AWAY, 0.5), (0, ON_A, 0.5)),
        },
    ),
    "several detections in one crowd": (
        truth_of([(0, CROWD, True), (0, A, False)]),
        {"image0": found((0, ON_A, 0.9), (0, ON_B, 0.8), (0, NEAR_A, 0.85), (0, (20.0, 60.0, 30.0, 90.0), 0.95))},
    ),
    "crowd of another class": (
        truth_of([(1, CROWD, True), (0, A, False)]),
        {"image0": found((0, ON_B, 0.9), (0, ON_A, 0.8), (1, ON_B, 0.7))},
    ),
    "difficult object exactly on another": (
        truth_of([(0, A, True), (0, A, False)]),
        {"image0": found((0, ON_A, 0.9), (0, ON_A, 0.8), (0, AWAY, 0.85))},
    ),
    "two equal objects": (
        truth_of([(0, A, False), (0, A, False)]),
        {"image0": found((0, NEAR_A, 0.9), (0, ON_A, 0.8), (0, ON_A, 0.7))},
    ),
    "more than a hundred detections": (
        truth_of([(0, A, False), (0, B, False)], [(1, B, False)]),
        {
            "image0": found(
                *((0, AWAY, 0.9 - k / 1000) for k in range(99)), (0, ON_A, 0.5), *((0, ON_B, 0.4) for _ in range(9))
            ),
            "image1": found(*((k % 2, ON_B if k == 150 else AWAY, 0.5) for k in range(260))),
        },
    ),
    "classes and images without objects or detections": (
        truth_of([], [(1, A, False)], [], [(2, A, True)], classes=5),
        {"image1": found((0, ON_A, 0.9), (3, ON_B, 0.5)), "image2": found((1, ON_A, 0.7)), "image0": found()},
    ),
    "objects without an area": (
        truth_of([(0, (10.0, 10.0, 0.0, 40.0), False), (0, (60.0, 60.0, 0.0, 0.0), False), (0, A, False)]),
        {"image0": found((0, ON_A, 0.5), (0, (60.0, 60.0, 60.0, 60.0), 0.9))},
    ),
    "detections without an area": (
        truth_of([(0, A, False), (0, CROWD, True)]),
        {"image0": found((0, (20.0, 20.0, 20.0, 30.0), 0.9), (0, (20.0, 20.0, 20.0, 20.0), 0.8), (0, ON_A, 0.5))},
    ),
    "areas at the borders of small and medium": (
        truth_of(BORDERS[:3], BORDERS[3:]),
        {
            "image0": found(*((0, box, 0.9) for box in corners(squares(32.0, 31.999, 32.001, 32.0)))),
            "image1": found(*((0, box, 0.8) for box in corners(squares(96.0, 96.0, 96.001, 95.999)))),
        },
    ),
    "areas of outlines": (
        truth_of([(0, A, False), (0, B, False)], areas=[1023.9, 1e11]),
        {"image0": found((0, NEAR_A, 0.9), (0, ON_B, 0.8), (0, AWAY, 0.7))},
    ),
    "overlaps of exactly a threshold": (
        truth_of([(0, (0.0, 0.0, 100.0, 10.0), False)] * 3),
        {"image0": found(*((0, (0.0, 0.0, side, 10.0), 0.9 - side / 1000) for side in (50.0, 75.0, 95.0, 100.0)))},
    ),
    "no detections": (truth_of([(0, A, False), (1, B, True)]), {}),
    "no objects": (truth_of([], []), {"image0": found((0, ON_A, 0.9))}),
    "nothing at all": (truth_of([], []), {}),
}


def random_case(seed: int, scores: list[float] | None = None) -> tuple[GroundTruth, dict[str, Detections]]:
    """Detections around and between objects of all sizes; coarse scores in some cases, so that many are equal."""
    rng = np.random.default_rng(seed)
    num_classes, digits = int(rng.integers(1, 5)), int(rng.choice([1, 2, 9]))
    images: list[list[Object]] = []
    detections: dict[str, Detections] = {}
    for k in rng.permutation(int(rng.integers(1, 8))):
        sides = rng.choice([8.0, 32.0, 60.0, 96.0, 120.0], (int(rng.integers(0, 7)), 2))
        places = rng.integers(0, 60, (len(sides), 2)).astype(float)
        labels = rng.integers(0, num_classes, len(sides))
        crowds = rng.random(len(sides)) < 0.2
        images.append(
            [(int(c), (*p.tolist(), *s.tolist()), bool(i)) for c, p, s, i in zip(labels, places, sides, crowds)]
        )
        boxes = np.concatenate([places, places + sides], axis=1).repeat(3, axis=0)
        boxes += rng.integers(-3, 4, boxes.shape)
        rows = rng.integers(0, len(boxes), int(rng.integers(0, 40))) if len(boxes) else np.zeros(0, dtype=np.int64)
        detections[f"image{k}"] = Detections(
            torch.from_numpy(boxes[rows]).float(),
            torch.from_numpy(rng.choice(scores, len(rows)) if scores else rng.random(len(rows)).round(digits)).float(),
            torch.from_numpy(np.where(rng.random(len(rows)) < 0.8, labels.repeat(3)[rows], 0)),
        )
    return truth_of(*images, classes=num_classes), detections


@pytest.mark.parametrize("case", [*CASES, *range(12)])
def test_equals_pycocotools_called_by_hand(case: str | int, tmp_path: Path) -> None:
    truth, detections = CASES[case] if isinstance(case, str) else random_case(case)
    expected = official(tmp_path, detections, truth)
    by_number = expected.eval["precision"][:, :, ::-1, 0, 2]  # categories are numbered backwards
    theirs = np.where(by_number == -1, np.nan, by_number)
    for engine in ENGINES:
        result = evaluate_coco(detections, truth, engine)
        assert tuple(result.summary) == NAMES
        for name, value in zip(NAMES, expected.stats.tolist()):
            assert result.summary[name] == (None if value == -1 else pytest.approx(value, abs=1e-12, rel=0)), name
        np.testing.assert_allclose(result.precision, theirs, rtol=0, atol=1e-12)
        for values, of in ((result.ap, theirs), (result.ap50, theirs[:1]), (result.ap75, theirs[5:6])):
            for label, value in enumerate(values.values()):
                column = of[..., label]
                assert value == (None if np.isnan(column).any() else pytest.approx(column.mean(), abs=1e-12, rel=0))


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_equal_scores_in_a_file_of_mixed_images(first: int, tmp_path: Path) -> None:
    """200 cases in all, of three scores over images and classes, against pycocotools on the same file."""
    for seed in range(first, first + 20):
        truth, detections = random_case(seed, scores=[0.2, 0.5, 0.9])
        count = sum(len(one) for one in detections.values())
        expected = official(tmp_path, detections, truth, np.random.default_rng(seed).permutation(count).tolist())
        precision = np.where(expected.eval["precision"] < 0, np.nan, expected.eval["precision"])[:, :, ::-1, :, 2]
        rows = read_rows(tmp_path / "results.json", truth)
        for place, areas in enumerate((ALL_AREAS, SMALL, MEDIUM, LARGE)):
            ours = precision_at_recalls(match_coco(rows, truth, areas))
            np.testing.assert_allclose(ours, precision[..., place], rtol=0, atol=1e-12)
        for engine in ENGINES:
            result = evaluate_coco(rows, truth, engine)
            np.testing.assert_allclose(result.precision, precision[..., 0], rtol=0, atol=1e-12)
            stats = [None if value == -1 else pytest.approx(value, abs=1e-12) for value in expected.stats.tolist()]
            assert list(result.summary.values()) == stats, seed


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("seed", range(20))
def test_difficult_objects_are_found_once_and_crowds_any_number_of_times(engine: Engine, seed: int) -> None:
    """By the plain rules, in all ranges of sizes; half of the cases have more than a hundred detections of an image."""
    truth, detections = random_case(seed, scores=[0.2, 0.5, 0.9])
    crowd = truth.objects.crowd & (np.random.default_rng(seed).random(len(truth.objects)) < 0.5)
    truth = replace(truth, objects=replace(truth.objects, crowd=crowd))
    if seed % 2:
        rows = np.random.default_rng(seed).permutation(150)
        detections = {
            name: Detections(*(column[rows % len(one)] for column in (one.boxes, one.scores, one.labels)))
            for name, one in detections.items()
            if len(one)
        }
    result = evaluate_coco(detections, truth, engine)
    plain = [plain_precision(truth, detections, areas) for areas in (ALL_AREAS, SMALL, MEDIUM, LARGE)]
    np.testing.assert_allclose(result.precision, plain[0], rtol=0, atol=1e-12)
    for name, precision in zip(("AP", "APs", "APm", "APl"), plain, strict=True):
        mean = None if np.isnan(precision).all() else pytest.approx(np.nanmean(precision), abs=1e-12)
        assert result.summary[name] == mean, name


@pytest.mark.parametrize("engine", ENGINES)
def test_two_detections_of_a_difficult_object(engine: Engine) -> None:
    """The second is false, and so is a part of it; of a crowd both and the part are nothing."""
    truth = truth_of([(0, A, True), (0, B, False)])
    difficult = replace(truth, objects=replace(truth.objects, crowd=np.zeros(2, dtype=np.bool_)))
    part = (10.0, 10.0, 20.0, 20.0)
    detections = {"image0": found((0, ON_A, 0.9), (0, ON_A, 0.8), (0, part, 0.7), (0, ON_B, 0.6))}
    assert evaluate_coco(detections, truth, engine).summary["AP50"] == pytest.approx(1.0)
    result = evaluate_coco(detections, difficult, engine)
    assert result.summary["AP50"] == pytest.approx(1 / 3)
    assert result.counts == {"a": 1, "b": 0}
    assert result.summary["APs"] is None  # a difficult object is of no size


@pytest.mark.parametrize("engine", ENGINES)
def test_hand_worked(engine: Engine) -> None:
    """Of class a one object is found at .9 and one with IoU 37 * 36 / (1600 + 1517 - 1332) = .746; b is not found."""
    truth, detections = CASES["plain"]
    only_a = {
        image_id: Detections(one.boxes[:1], one.scores[:1], one.labels[:1]) for image_id, one in detections.items()
    }
    result = evaluate_coco(only_a, truth, engine)
    a = (5 * 1 + 5 * 51 / 101) / 10  # found at IoU .50 to .70; then recall stays at 1/2: the recalls 0 to .50
    assert result.ap == {"a": pytest.approx(a), "b": 0.0}
    assert result.ap50 == {"a": pytest.approx(1.0), "b": 0.0}
    assert result.ap75 == {"a": pytest.approx(51 / 101), "b": 0.0}
    assert result.summary["AP"] == pytest.approx(a / 2)
    assert result.summary["APl"] is None
    assert result.counts == {"a": 2, "b": 1}


@pytest.mark.parametrize("engine", ENGINES)
def test_prints_nothing_and_leaves_its_arguments_alone(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    truth, detections = CASES["several detections in one crowd"]
    before = truth.objects.xywh.copy(), detections["image0"].boxes.clone()
    assert evaluate_coco(detections, truth, engine).summary == evaluate_coco(detections, truth, engine).summary
    assert capsys.readouterr() == ("", "")
    assert np.array_equal(truth.objects.xywh, before[0])
    assert torch.equal(detections["image0"].boxes, before[1])


def test_scores_that_differ_in_float64_alone_are_not_equal(tmp_path: Path) -> None:
    truth = truth_of([(0, A, False)])
    scores = torch.tensor([0.5, 0.5 + 1e-12], dtype=torch.float64)
    detections = {"image0": Detections(torch.tensor([AWAY, ON_A]), scores, torch.tensor([0, 0]))}
    for engine in ENGINES:
        assert evaluate_coco(detections, truth, engine).ap["a"] == pytest.approx(1.0)


@pytest.mark.parametrize("engine", ENGINES)
def test_width_and_height_of_a_file_are_its_own(engine: Engine, tmp_path: Path) -> None:
    """A false detection of 32 x 32 px is a small one by the file, but (32.4 + 32) - 32.4 is more than 32."""
    truth = truth_of([(0, (100.0, 100.0, 20.0, 20.0), False)])
    rows = [([100, 100, 20, 20], 0.5), ([32.4, 32.4, 32, 32], 0.9)]
    path = tmp_path / "results.json"
    path.write_text(
        json.dumps([{"image_id": 10, "category_id": 5, "bbox": box, "score": score} for box, score in rows])
    )
    assert evaluate_coco(read_rows(path, truth), truth, engine).summary["APs"] == pytest.approx(0.5)
    assert evaluate_coco(read_rows(path, truth).by_image(truth), truth, engine).summary["APs"] == pytest.approx(1.0)


def test_wrong_input_is_named() -> None:
    truth = truth_of([(0, A, False)])
    with pytest.raises(ValueError, match="engine 'slow': expected 'fast'"):
        evaluate_coco({}, truth, "slow")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"image 'other'.*no such id"):
        evaluate_coco({"other": found()}, truth)
    with pytest.raises(ValueError, match=r"label 2; expected 0\.\.1"):
        evaluate_coco({"image0": found((2, ON_A, 0.5))}, truth)
