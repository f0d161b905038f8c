"""How far a score could be off by the choice of the test images: percentile intervals of the bootstrap.

The images are drawn again, with replacement, as many as there are (Efron and Tibshirani 1993, section 13.3). Detections
are matched once: an image drawn w times counts w times in the sums that precision and recall are made of. Detections of
equal score keep the order they have in the score itself. Classes without an object in the images drawn are left out of
the mean of that draw, as they are in the score.

Notation: N images, C classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from detkit.data.dataset import DetectionDataset
from detkit.data.ground_truth import Floats, Ints
from detkit.evaluation.coco_matching import Matches, weighted_precision
from detkit.evaluation.voc import ClassResult, Metric, VocResult, average_precision


class Measure(Protocol):
    """Scores of a data set, by name, from how many times each image counts."""

    @property
    def num_images(self) -> int: ...

    def __call__(self, weights: Ints) -> Mapping[str, float | None]:
        """From weights (N,); None where no class has an object."""
        ...


@dataclass(frozen=True)
class Interval:
    """A score and the range that holds the middle part of the resampled scores. None without an object to find."""

    value: float | None  # of the data set as it is
    low: float | None
    high: float | None


def bootstrap_intervals(
    measure: Measure, num_resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> dict[str, Interval]:
    """Intervals of all scores of `measure`, the same for the same seed. Draws without any object are left out."""
    if num_resamples < 1 or not 0 < confidence < 1:
        raise ValueError(f"{num_resamples} resamples, confidence {confidence}: expected 1 or more, and 0 to 1")
    num_images = measure.num_images
    values = measure(np.ones(num_images, dtype=np.int64))
    if not num_images:
        return {name: Interval(value, None, None) for name, value in values.items()}
    rng = np.random.default_rng(seed)
    draws = [
        measure(np.bincount(rng.integers(num_images, size=num_images), minlength=num_images))
        for _ in range(num_resamples)
    ]
    return {
        name: _interval(value, [draw[name] for draw in draws], (1 - confidence) / 2) for name, value in values.items()
    }


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None, int]:
    """Mean, sample standard deviation (over n - 1; None of a single value) and n: of several seeds."""
    if not values or not np.isfinite(values).all():
        raise ValueError(f"values {list(values)}: expected one or more finite numbers, a score of each seed")
    n = len(values)
    return float(np.mean(values)), float(np.std(values, ddof=1)) if n > 1 else None, n


@dataclass(frozen=True, eq=False)
class VocMeasure:
    """Mean AP by VOC's rules, under the name of the metric."""

    metric: Metric
    classes: tuple[ClassResult, ...]
    num_objects: Ints  # (C, N) to be found, of each class in each image

    @property
    def num_images(self) -> int:
        return int(self.num_objects.shape[1])

    def __call__(self, weights: Ints) -> dict[str, float | None]:
        totals = (self.num_objects @ weights).tolist()
        aps = [
            _weighted_voc_ap(result, weights, total, self.metric)
            for result, total in zip(self.classes, totals, strict=True)
            if total
        ]
        return {self.metric: float(np.mean(aps)) if aps else None}


def voc_measure(result: VocResult, dataset: DetectionDataset) -> VocMeasure:
    """Of a score by voc.evaluate on the same data set; ValueError if it is of another."""
    num_objects = np.zeros((len(dataset.classes), len(dataset)), dtype=np.int64)
    for index in range(len(dataset)):
        target = dataset.target(index)
        wanted = target.labels[~target.ignore].numpy()
        num_objects[:, index] = np.bincount(wanted, minlength=len(dataset.classes))
    scored = [one.num_objects for one in result.classes.values()]
    if tuple(result.classes) != tuple(dataset.classes) or scored != num_objects.sum(axis=1).tolist():
        raise ValueError(
            f"a score of {sum(scored)} objects of {len(scored)} classes, but the data set has {num_objects.sum()} of"
            f" {len(num_objects)}; resample the data set that was scored"
        )
    return VocMeasure(result.metric, tuple(result.classes.values()), num_objects)


@dataclass(frozen=True, eq=False)
class CocoMeasure:
    """COCO's AP and AP50."""

    outcome: npt.NDArray[np.int8]  # as Matches.outcome
    image_index: Ints
    class_ends: Ints
    num_objects: Ints

    @property
    def num_images(self) -> int:
        return int(self.num_objects.shape[1])

    def __call__(self, weights: Ints) -> dict[str, float | None]:
        totals = self.num_objects @ weights
        precision = weighted_precision(self.outcome, weights[self.image_index], self.class_ends, totals)
        there = precision[:, :, totals > 0]
        if not there.size:
            return {"AP": None, "AP50": None}
        return {"AP": float(there.mean()), "AP50": float(there[0].mean())}


def coco_measure(matches: Matches) -> CocoMeasure:
    return CocoMeasure(matches.outcome, matches.image_index, matches.class_ends, matches.num_objects)


def _weighted_voc_ap(result: ClassResult, weights: Ints, num_objects: int, metric: Metric) -> float:
    here = weights[result.image_index]
    hits = np.cumsum(here * result.is_tp)
    judged = hits + np.cumsum(here * result.is_false)
    return average_precision(hits / np.maximum(judged, 1), hits / num_objects, metric)


def _interval(value: float | None, draws: Sequence[float | None], tail: float) -> Interval:
    there: Floats = np.array([draw for draw in draws if draw is not None])
    if value is None or not there.size:
        return Interval(value, None, None)
    low, high = np.quantile(there, (tail, 1 - tail)).tolist()
    return Interval(value, low, high)
