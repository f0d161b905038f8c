"""Bootstrap intervals: weights against data sets with images repeated, and cases whose spread is known."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from detkit.data.formats.listed import ListedDataset
from detkit.data.ground_truth import GroundTruth, Ints, numbered
from detkit.data.ground_truth import Objects as ObjectTable
from detkit.evaluation.bootstrap import Interval, bootstrap_intervals, coco_measure, mean_and_spread, voc_measure
from detkit.evaluation.coco import evaluate_coco
from detkit.evaluation.coco_matching import match_coco
from detkit.evaluation.voc import Metric, evaluate
from detkit.structures import Detections

Image = tuple[ObjectTable, Detections]
METRICS: tuple[Metric, ...] = ("voc07", "voc10")
CLASSES = ("cat", "dog", "bird")


def random_image(rng: np.random.Generator) -> Image:
    """Up to four objects of two of three classes, some of them ignored, and detections near them, all scores apart."""
    corners = rng.integers(0, 50, (int(rng.integers(0, 5)), 2)).astype(float)
    boxes = np.concatenate([corners, corners + rng.integers(10, 40, corners.shape)], axis=1)
    labels = rng.integers(0, 2, len(boxes))
    rows = rng.integers(0, len(boxes), 6) if len(boxes) else np.zeros(0, dtype=np.int64)
    found = Detections(
        torch.from_numpy(boxes[rows] + rng.integers(-3, 4, (len(rows), 4))),
        torch.from_numpy(rng.random(len(rows))),
        torch.from_numpy(labels[rows]),
    )
    return ObjectTable.of_boxes(labels, boxes, difficult=rng.random(len(boxes)) < 0.2), found


def joined(images: list[Image]) -> tuple[GroundTruth, dict[str, Detections]]:
    ids = [f"image{k:03d}" for k in range(len(images))]
    truth = numbered(CLASSES, ids, [(100, 100)] * len(ids), [objects for objects, _ in images])
    return truth, {image_id: found for image_id, (_, found) in zip(ids, images)}


def images_of(seed: int, count: int = 12) -> list[Image]:
    rng = np.random.default_rng(seed)
    return [random_image(rng) for _ in range(count)]


def repeated(images: list[Image], weights: Ints) -> list[Image]:
    return [image for image, weight in zip(images, weights.tolist()) for _ in range(weight)]


def voc_ap(images: list[Image], metric: Metric) -> float | None:
    truth, detections = joined(images)
    return evaluate(detections, ListedDataset(truth, []), metric).mean_ap


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(4))
def test_voc_weights_repeat_images(seed: int, metric: Metric) -> None:
    images = images_of(seed)
    truth, detections = joined(images)
    dataset = ListedDataset(truth, [])
    measure = voc_measure(evaluate(detections, dataset, metric), dataset)
    rng = np.random.default_rng(seed)
    for _ in range(5):
        weights = np.bincount(rng.integers(0, len(images), len(images)), minlength=len(images))
        assert measure(weights)[metric] == pytest.approx(voc_ap(repeated(images, weights), metric), abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_coco_weights_repeat_images(seed: int) -> None:
    images = images_of(seed)
    truth, detections = joined(images)
    measure = coco_measure(match_coco(detections, truth))
    rng = np.random.default_rng(seed)
    for _ in range(3):
        weights = np.bincount(rng.integers(0, len(images), len(images)), minlength=len(images))
        again, found_again = joined(repeated(images, weights))
        expected = evaluate_coco(found_again, again).summary
        assert measure(weights) == {name: pytest.approx(expected[name], abs=1e-12) for name in ("AP", "AP50")}


def test_weights_of_one_give_the_score_itself() -> None:
    images = images_of(7, count=40)
    truth, detections = joined(images)
    dataset = ListedDataset(truth, [])
    for metric in METRICS:
        result = evaluate(detections, dataset, metric)
        interval = bootstrap_intervals(voc_measure(result, dataset), num_resamples=50)[metric]
        assert interval.value == result.mean_ap
        assert interval.low is not None and interval.high is not None
        assert interval.low < result.mean_ap < interval.high
    summary = evaluate_coco(detections, truth, "reference").summary
    intervals = bootstrap_intervals(coco_measure(match_coco(detections, truth)), num_resamples=50)
    assert {name: one.value for name, one in intervals.items()} == pytest.approx(
        {name: summary[name] for name in ("AP", "AP50")}, abs=1e-15
    )


def test_one_image_has_no_width() -> None:
    objects = ObjectTable.of_boxes(np.array([0, 0]), np.array([[0.0, 0, 10, 10], [20, 20, 40, 40]]))
    found = Detections(
        torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 60]]), torch.tensor([0.9, 0.8]), torch.tensor([0, 0])
    )
    truth, detections = joined([(objects, found)])
    dataset = ListedDataset(truth, [])
    voc = bootstrap_intervals(voc_measure(evaluate(detections, dataset, "voc10"), dataset), 20)
    assert voc == {"voc10": Interval(0.5, 0.5, 0.5)}
    coco = bootstrap_intervals(coco_measure(match_coco(detections, truth)), 20)["AP50"]
    assert coco.value == coco.low == coco.high == pytest.approx(51 / 101)


@dataclass(frozen=True)
class Mean:
    """Mean of a number of each image: its bootstrap is known."""

    values: tuple[float, ...]

    @property
    def num_images(self) -> int:
        return len(self.values)

    def __call__(self, weights: Ints) -> Mapping[str, float | None]:
        return {"mean": float(np.dot(weights, self.values) / weights.sum())}


def test_interval_of_a_mean_is_that_of_the_binomial() -> None:
    """Of 100 images 30 score 1: the resampled sums are binomial (100, .3), with 2.5% below 21 or 22, above 39."""
    interval = bootstrap_intervals(Mean((1.0,) * 30 + (0.0,) * 70), num_resamples=4000)["mean"]
    assert interval.value == 0.3
    assert interval.low == pytest.approx(0.215, abs=0.011)
    assert interval.high == pytest.approx(0.39, abs=0.011)


def test_intervals_cover_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(100):
        interval = bootstrap_intervals(Mean(tuple(rng.normal(0, 1, 60).tolist())), 200, confidence=0.8, seed=seed)[
            "mean"
        ]
        assert interval.low is not None and interval.high is not None
        covered += interval.low < 0 < interval.high
    assert 68 <= covered <= 92  # 80 +- 3 standard deviations


def test_the_seed_decides() -> None:
    truth, detections = joined(images_of(3))
    measure = coco_measure(match_coco(detections, truth))
    first, again, other = (bootstrap_intervals(measure, 20, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_classes_and_draws_without_objects_are_left_out() -> None:
    """The cat is always found, the dog never: with the dog's image absent the mean is the cat's, with only it 0."""
    box = np.array([[0.0, 0, 10, 10]])
    hit = Detections(torch.from_numpy(box), torch.tensor([0.9]), torch.tensor([0]))
    images = [
        (ObjectTable.of_boxes(np.array([0]), box), hit),
        (ObjectTable.of_boxes(np.array([1]), box), Detections.empty()),
        (ObjectTable.joined([]), Detections.empty()),
    ]
    truth, detections = joined(images)
    dataset = ListedDataset(truth, [])
    voc = voc_measure(evaluate(detections, dataset, "voc07"), dataset)
    coco = coco_measure(match_coco(detections, truth))
    for weights, expected in (((1, 1, 1), 0.5), ((2, 0, 1), 1.0), ((0, 3, 0), 0.0), ((0, 0, 3), None)):
        value = None if expected is None else pytest.approx(expected)
        assert voc(np.array(weights)) == {"voc07": value}
        assert coco(np.array(weights)) == {"AP": value, "AP50": value}
    interval = bootstrap_intervals(voc, 200)["voc07"]
    assert (interval.low, interval.high) == (0.0, pytest.approx(1.0))


def test_nothing_to_find() -> None:
    for images in ([], [(ObjectTable.joined([]), Detections.empty())]):
        truth, detections = joined(images)
        dataset = ListedDataset(truth, [])
        none = Interval(None, None, None)
        assert bootstrap_intervals(coco_measure(match_coco(detections, truth)), 5) == {"AP": none, "AP50": none}
        voc = voc_measure(evaluate(detections, dataset, "voc07"), dataset)
        assert bootstrap_intervals(voc, 5) == {"voc07": none}


def test_mean_and_spread() -> None:
    assert mean_and_spread([1.0, 2.0, 3.0, 6.0]) == (3.0, pytest.approx(np.sqrt(14 / 3)), 4)
    assert mean_and_spread([0.7]) == (0.7, None, 1)


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match="expected one or more finite numbers"):
        mean_and_spread([])
    with pytest.raises(ValueError, match="nan"):
        mean_and_spread([0.5, float("nan")])
    with pytest.raises(ValueError, match="0 resamples"):
        bootstrap_intervals(Mean((1.0,)), 0)
    with pytest.raises(ValueError, match=r"confidence 95"):
        bootstrap_intervals(Mean((1.0,)), 10, confidence=95)
    truth, detections = joined(images_of(0))
    result = evaluate(detections, ListedDataset(truth, []), "voc07")
    with pytest.raises(ValueError, match="resample the data set that was scored"):
        voc_measure(result, ListedDataset(joined(images_of(1))[0], []))
