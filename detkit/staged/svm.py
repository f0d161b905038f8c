"""One linear SVM a class on fixed features, its hard negatives found in one pass over the images (R-CNN, section 2.3
and appendix B).

Shapes: N rows (boxes) of an image, D features, C classes, P positives of a class, K negatives in its cache.
Where the paper is silent the published code is followed: rbgirshick/rcnn, rcnn_train.m.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

NEVER = -1e6  # margin of a class that nothing was learned for: below any threshold, yet finite
NORM_IMAGES = 200  # rcnn_feature_stats.m: so many images tell the mean norm

Progress = Callable[[Sequence[int], str], Iterable[int]]  # yields the images; console.track is one


@dataclass(frozen=True)
class SVMRule:
    """How the SVMs are trained; the defaults are those of the published code."""

    C: float = 1e-3  # weight of the hinge loss
    positive_weight: float = 2.0  # a positive counts as so many negatives
    bias_multiplier: float = 10.0  # the bias is the weight of a constant feature of this value
    feature_norm: float = 20.0  # features are scaled to this mean norm
    hard_margin: float = -1.0001  # negatives above it are added to the cache
    evict_margin: float = -1.2  # negatives below it are dropped after a training
    first_negatives: int = 1000  # more than these train a class first; there, the first image: about 2,000
    retrain_after: int = 2000  # more new hard negatives than these train a class again
    max_negatives: int = 30_000  # a class caches no more; only one that cannot be told from the background comes so far
    max_iter: int = 10_000  # passes of the solver over its examples
    seed: int = 0  # for the order in which the solver visits its examples


@dataclass(frozen=True)
class Examples:
    """What the boxes of one image are good for, ground-truth boxes among them."""

    features: Tensor  # (N, D) float, not scaled
    positive_of: Tensor  # (N,) int64: the class of a ground-truth box, -1 for other rows
    negative_for: Tensor  # (N, C) bool: the row overlaps no object of that class (R-CNN: IoU < 0.3), which is known


@dataclass(frozen=True)
class LinearSVMs:
    weights: Tensor  # (C, D) float32, for scaled features
    bias: Tensor  # (C,) float32
    scale: float  # raw features times this have the mean norm of the rule

    def margins(self, features: Tensor) -> Tensor:
        """Raw features (N, D) -> (N, C) float32; above 0 speaks for the class. On the device of the weights."""
        return features.float() * self.scale @ self.weights.T + self.bias

    def tensors(self) -> dict[str, Tensor]:
        """What a file must hold; `from_tensors` reads it."""
        return {"weights": self.weights, "bias": self.bias, "scale": torch.tensor(self.scale, dtype=torch.float64)}

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor]) -> "LinearSVMs":
        """Raises ValueError where a tensor is missing or the shapes do not belong together."""
        if missing := {"weights", "bias", "scale"} - tensors.keys():
            raise ValueError(f"SVMs: {', '.join(sorted(missing))} missing; not a file of SVMs")
        weights, bias, scale = tensors["weights"], tensors["bias"], tensors["scale"]
        if weights.ndim != 2 or bias.shape != weights.shape[:1] or scale.ndim != 0:
            shapes = f"{tuple(weights.shape)}, {tuple(bias.shape)}, {tuple(scale.shape)}"
            raise ValueError(f"SVMs: weights, bias and scale are {shapes}, expected (C, D), (C,), ()")
        return LinearSVMs(weights, bias, float(scale))


def mean_norm(features: Iterable[Tensor]) -> float:
    """Mean Euclidean norm of all rows of all (N, D). Raises ValueError unless there is one above 0."""
    total, rows = 0.0, 0
    for block in features:
        total += float(block.float().norm(dim=1).sum(dtype=torch.float64))
        rows += len(block)
    mean = total / max(rows, 1)
    if not (mean > 0 and math.isfinite(mean)):
        raise ValueError(f"features: the mean norm of {rows} rows is {mean}, not a number above 0; extract them again")
    return mean


def train_svms(
    read: Callable[[int], Examples],
    read_objects: Callable[[int], Examples],
    order: Sequence[int],
    num_classes: int,
    rule: SVMRule,
    progress: Progress,
) -> LinearSVMs:
    """Train all classes in one pass over the images `order`.

    `read` gives all rows of an image, `read_objects` at least its ground-truth rows: a first pass needs no others.

    A class without positives gets the margin NEVER everywhere. The result depends on the order and the seed alone.
    Held in memory: the positives and, for every class, its cache (float32); for the class in training up to eight times
    its examples more, as liblinear copies to float64 and then to a form of its own (16 bytes a value that is not 0).

    Raises ValueError for an image named twice, for features that are all 0 or not finite, and for a class with
    positives but without negatives.
    """
    if len(set(order)) < len(order):
        raise ValueError(f"order: {len(order) - len(set(order))} images are named twice; each may be mined once")
    norm = mean_norm(read(image).features for image in order[:: math.ceil(len(order) / NORM_IMAGES) or 1])
    scale = rule.feature_norm / norm
    positives = _positives(read_objects, progress(order, "SVMs: positives"), num_classes, scale)
    caches = [_Cache(label, rows, rule) for label, rows in enumerate(positives) if len(rows)]
    weights = torch.zeros(num_classes, positives[0].shape[1])
    bias = torch.full((num_classes,), NEVER)
    for cache in caches:
        bias[cache.label] = math.inf  # not trained yet: every negative is a hard one
    for image in progress(order, "SVMs: hard negatives"):
        examples = read(image)
        features = examples.features.float() * scale
        margins = features @ weights.T + bias  # (N, C)
        for cache in caches:
            hard = examples.negative_for[:, cache.label] & (margins[:, cache.label] > rule.hard_margin)
            cache.add(features[hard])
            if cache.is_due():
                weights[cache.label], bias[cache.label] = cache.train()
    for cache in caches:
        weights[cache.label], bias[cache.label] = cache.train()
    return LinearSVMs(weights, bias, scale)


class _Cache:
    """The examples one class learns from."""

    def __init__(self, label: int, positives: Tensor, rule: SVMRule) -> None:
        self.label = label
        self._positives = positives  # (P, D) scaled
        self._rule = rule
        self._negatives: list[Tensor] = []  # (., D) scaled; joined only to train
        self._held = self._new = 0
        self._limit = rule.first_negatives

    def add(self, negatives: Tensor) -> None:
        negatives = negatives[: self._rule.max_negatives - self._held]
        if len(negatives):
            self._negatives.append(negatives)
            self._held += len(negatives)
            self._new += len(negatives)

    def is_due(self) -> bool:
        return self._new > self._limit

    def train(self) -> tuple[Tensor, Tensor]:
        """Weights (D,) and bias () of the class on all that is cached; negatives that are easy now are dropped."""
        if not self._negatives:
            raise ValueError(
                f"class {self.label}: {len(self._positives)} positives and no negative in any image; "
                "check that there are proposals away from its objects, in images where all of its objects are marked"
            )
        negatives = torch.cat(self._negatives)
        weights, bias = _fit(self._positives, negatives, self._rule)
        kept = negatives[negatives @ weights + bias >= self._rule.evict_margin]
        self._negatives, self._held, self._new = [kept], len(kept), 0
        self._limit = self._rule.retrain_after
        return weights, bias


def _positives(read: Callable[[int], Examples], images: Iterable[int], num_classes: int, scale: float) -> list[Tensor]:
    """The ground-truth rows (P, D) of each class, scaled."""
    found: list[list[Tensor]] = [[] for _ in range(num_classes)]
    for image in images:
        examples = read(image)
        for label in range(num_classes):
            found[label].append(examples.features[examples.positive_of == label].float() * scale)
    return [torch.cat(blocks) for blocks in found]


def _fit(positives: Tensor, negatives: Tensor, rule: SVMRule) -> tuple[Tensor, Tensor]:
    """L2-regularised hinge loss in the dual, liblinear's -s 3: (P, D), (K, D) -> weights (D,), bias ()."""
    from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
    from sklearn.svm import LinearSVC  # type: ignore[import-untyped]  # slow to import, for training alone

    solver = LinearSVC(
        loss="hinge",
        dual=True,
        C=rule.C,
        class_weight={1: rule.positive_weight},
        intercept_scaling=rule.bias_multiplier,
        max_iter=rule.max_iter,
        random_state=rule.seed,
    )
    labels = np.repeat([1, 0], [len(positives), len(negatives)])
    with warnings.catch_warnings():
        # Few examples under a large C may not converge; what is left after max_iter passes moves no ranking.
        warnings.simplefilter("ignore", ConvergenceWarning)
        solver.fit(torch.cat([positives, negatives]).numpy(), labels)
    return torch.from_numpy(solver.coef_[0]).float(), torch.tensor(solver.intercept_[0]).float()
