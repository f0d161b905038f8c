"""LVIS's scores: all numbers of its published code on random cases, and its three rules on cases worked out by hand."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from detkit.data.federated import Federated
from detkit.data.ground_truth import GroundTruth, Objects
from detkit.evaluation.asked_detections import MAX_DETECTIONS
from detkit.evaluation.assessment import fitting
from detkit.evaluation.bootstrap import coco_measure
from detkit.evaluation.breakdown import by_size
from detkit.evaluation.coco import CocoResult, evaluate_coco
from detkit.evaluation.coco_files import ResultRows
from detkit.evaluation.coco_matching import LARGE, MEDIUM, SMALL, average_precision_coco, match_coco
from detkit.evaluation.errors import ErrorKind, decompose
from detkit.evaluation.rows import ranks_by_score
from tests.evaluation.lvis_reference import CASES

Box = tuple[float, float, float, float]
HERE, AWAY = (0.0, 0.0, 40.0, 40.0), (100.0, 100.0, 40.0, 40.0)  # left, top, width, height


def pairs(lists: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    rows = [(image, label) for image, labels in enumerate(lists) for label in labels]
    images, labels = np.array(rows, dtype=np.int64).reshape(-1, 2).T
    return images, labels


def truth_of(
    objects: list[list[tuple[int, Box]]],
    absent: list[list[int]],
    partial: list[list[int]] | None = None,
    frequencies: tuple[str, ...] = ("f", "f"),
) -> GroundTruth:
    """Objects, classes that are not there, and those of which more may be: of each image."""
    rows = [row for image in objects for row in image]
    xywh = np.array([box for _, box in rows], dtype=np.float64).reshape(-1, 4)
    labels = np.array([label for label, _ in rows], dtype=np.int64)
    nothing = np.zeros(len(rows), dtype=np.bool_)
    present = [[label for label, _ in image] for image in objects]
    checked = [first + second for first, second in zip(present, absent, strict=True)]
    count = len(objects)
    return GroundTruth(
        tuple("abcdefg"[: len(frequencies)]),
        tuple(f"image{k}" for k in range(count)),
        np.full((count, 2), 400, dtype=np.int64),
        Objects(labels, xywh, xywh[:, 2:].prod(axis=1), nothing, nothing, nothing),
        np.array([len(image) for image in objects], dtype=np.int64),
        tuple(range(1, len(frequencies) + 1)),
        tuple(range(1, count + 1)),
        Federated.of_pairs(count, frequencies, pairs(checked), pairs(partial or [[]] * count)),
    )


def rows_of(*rows: tuple[int, int, Box, float]) -> ResultRows:
    """Image, label, box and score."""
    images, labels = (np.array([row[k] for row in rows], dtype=np.int64) for k in (0, 1))
    scores = np.array([row[3] for row in rows], dtype=np.float64)
    xywh = np.array([row[2] for row in rows], dtype=np.float64).reshape(-1, 4)
    return ResultRows(images, ranks_by_score(images, scores), labels, xywh, scores)


def of_case(case: dict[str, Any]) -> tuple[GroundTruth, ResultRows]:
    row_of = {image["id"]: row for row, image in enumerate(case["images"])}
    label_of = {category["id"]: label for label, category in enumerate(case["categories"])}
    objects: list[list[tuple[int, Box]]] = [[] for _ in row_of]
    order: list[list[dict[str, Any]]] = [[] for _ in row_of]
    for annotation in case["annotations"]:
        row = row_of[annotation["image_id"]]
        objects[row].append((label_of[annotation["category_id"]], annotation["bbox"]))
        order[row].append(annotation)
    lists = {
        field: [[label_of[number] for number in image[field]] for image in case["images"]]
        for field in ("neg_category_ids", "not_exhaustive_category_ids")
    }
    frequencies = tuple(category["frequency"] for category in case["categories"])
    truth = truth_of(objects, lists["neg_category_ids"], lists["not_exhaustive_category_ids"], frequencies)
    flat = [annotation for image in order for annotation in image]
    areas = np.array([annotation["area"] for annotation in flat], dtype=np.float64)
    ignore = np.array([annotation["ignore"] == 1 for annotation in flat], dtype=np.bool_)
    truth = replace(
        truth,
        classes=tuple(category["name"] for category in case["categories"]),
        objects=replace(truth.objects, area=areas, ignore=ignore),
        image_numbers=tuple(row_of),
    )
    results = [(row_of[image], label_of[c], (x, y, w, h), score) for image, c, x, y, w, h, score in case["results"]]
    return truth, rows_of(*results)


@pytest.mark.parametrize("case", json.loads(CASES.read_text()))
def test_all_numbers_are_those_of_the_published_code(case: dict[str, Any]) -> None:
    truth, rows = of_case(case)
    found = evaluate_coco(rows, truth).summary
    assert {name: -1 if value is None else value for name, value in found.items()} == pytest.approx(
        case["scores"], abs=1e-9
    )


def score(truth: GroundTruth, rows: ResultRows) -> CocoResult:
    return evaluate_coco(rows, truth)


def test_a_detection_of_a_class_that_nobody_looked_for_is_dropped() -> None:
    rows = rows_of((0, 0, HERE, 0.5), (1, 0, HERE, 0.9))
    unknown = truth_of([[(0, HERE)], []], [[], []])
    assert score(unknown, rows).ap == {"a": pytest.approx(1), "b": None}
    absent = truth_of([[(0, HERE)], []], [[], [0]])
    assert score(absent, rows).ap == {"a": pytest.approx(0.5), "b": None}


def test_where_some_objects_are_not_marked_a_detection_that_finds_none_is_excused_and_a_hit_counts() -> None:
    rows = rows_of((0, 0, AWAY, 0.9), (0, 0, HERE, 0.5))
    assert score(truth_of([[(0, HERE)]], [[]], [[0]]), rows).ap["a"] == pytest.approx(1)
    assert score(truth_of([[(0, HERE)]], [[]]), rows).ap["a"] == pytest.approx(0.5)


def test_the_best_300_of_an_image_count_over_all_classes_and_before_any_is_dropped() -> None:
    hit = (0, 0, HERE, 0.5)
    truth = truth_of([[(0, HERE)]], [[]])
    of_other = [(0, 1, AWAY, 0.9)] * (MAX_DETECTIONS - 1)
    assert score(truth, rows_of(hit, *of_other)).ap["a"] == pytest.approx(1)
    assert score(truth, rows_of(hit, (0, 1, AWAY, 0.9), *of_other)).ap["a"] == 0


def test_each_group_of_classes_by_frequency_has_its_ap_and_one_without_objects_none() -> None:
    truth = truth_of([[(0, HERE), (1, AWAY)]], [[2]], frequencies=("r", "f", "c"))
    summary = score(truth, rows_of((0, 0, HERE, 0.9))).summary
    assert (summary["APr"], summary["APf"], summary["APc"]) == (pytest.approx(1), 0, None)
    assert summary["AR@300"] == 0.5


@pytest.mark.parametrize("case", json.loads(CASES.read_text())[:12])
def test_what_is_said_of_the_detections_goes_by_the_same_rules(case: dict[str, Any]) -> None:
    """The errors' AP, that of the sizes and that of the bootstrap, of images with under 100 detections."""
    truth, rows = of_case(case)
    expected = evaluate_coco(rows, truth)
    errors = decompose(rows.corners(), truth)
    assert errors.ap_of_class == {name: ap and pytest.approx(ap) for name, ap in expected.ap50.items()}
    sizes = by_size(rows.corners(), truth).of_class
    for number, area in enumerate((SMALL, MEDIUM, LARGE)):
        aps = average_precision_coco(match_coco(rows, truth, area))[0].tolist()
        found = [sizes[name][number].ap for name in truth.classes]
        assert found == [None if np.isnan(ap) else pytest.approx(ap) for ap in aps]
    resampled = coco_measure(match_coco(rows, truth))(np.ones(len(truth), dtype=np.int64))
    assert resampled["AP"] == pytest.approx(expected.summary["AP"])


def test_an_excused_detection_is_no_error_of_any_kind() -> None:
    truth = truth_of([[(0, HERE), (1, AWAY)]], [[]], [[0]])
    rows = rows_of((0, 0, AWAY, 0.9), (0, 0, (200.0, 0.0, 9.0, 9.0), 0.8), (0, 0, HERE, 0.7), (0, 0, HERE, 0.6))
    counts = decompose(rows.corners(), truth).counts
    assert (counts[ErrorKind.TP], counts[ErrorKind.IGNORED], counts[ErrorKind.MISS]) == (1, 3, 1)
    assert sum(counts.values()) == 5


def test_coco_of_a_federated_set_is_lvis_and_the_others_are_refused() -> None:
    truth = truth_of([[(0, HERE)]], [[]])
    assert fitting(["coco", "lvis"], truth) == ["lvis"]
    with pytest.raises(ValueError, match=r"voc07: this data set is federated.*score it by lvis"):
        fitting(["coco", "voc07"], truth)
    ordinary = replace(truth, federated=None)
    assert fitting(["voc10", "coco"], ordinary) == ["voc10", "coco"]
    with pytest.raises(ValueError, match=r"lvis: this data set is not federated.*score it by coco"):
        fitting(["lvis"], ordinary)
