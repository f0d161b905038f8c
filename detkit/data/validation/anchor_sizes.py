"""Anchor sizes that fit the boxes of a data set, and the size of images that its smallest objects need.

Sizes begin as those of k-means on 1 - IoU (Redmon & Farhadi 2017, section 2), with the ratios that a model has, and
anchors where they stand in an image. The mean IoU that k-means raises is that of the usual objects: it gives up the few
that are smaller or larger. So each size is then moved to where, beside the others, the most objects are reached.
Notation: M objects, S sizes tried, K sizes sought.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from detkit.data.ground_truth import Floats, Ints
from detkit.data.validation.anchor_reach import best_overlaps
from detkit.data.validation.statistics import REACHED, Frame, SplitStatistics
from detkit.ops.anchors import placed_anchors

_FITTED = 5_000  # objects that sizes are found by, evenly spaced
_MEASURED = 100_000  # objects that they are compared on
_STEPS = 8  # sizes tried from one to its double: 9% apart
_LEAST_SIZE = 4.0  # px
_BEYOND = math.sqrt(2)  # a larger anchor bears more when it stands aside
_ROUNDS = 30  # at most; both searches settle after some 5
CLEARLY = (0.01, 0.2)  # of all objects, and of those that are missed now: so many more must be reached
MANY = 0.05  # of the objects: fewer small ones are no reason for larger images
_SIDE_STEP = 16  # px: image sides are rounded up to it


@dataclass(frozen=True)
class FittedSizes:
    """Of the objects, the share that no anchor overlaps by each of REACHED."""

    sizes: tuple[int, ...]  # px
    missed: tuple[float, ...]
    missed_now: tuple[float, ...]

    @property
    def is_better(self) -> bool:
        """Whether clearly more objects are reached by one of REACHED, and none fewer by another."""
        gains = [(now - then, now) for now, then in zip(self.missed_now, self.missed, strict=True)]
        return all(gain >= 0 for gain, _ in gains) and any(
            gain >= max(CLEARLY[0], CLEARLY[1] * now) for gain, now in gains
        )


def fit_anchors(frame: Frame, parts: Sequence[SplitStatistics]) -> FittedSizes | None:
    """As many sizes as the frame's anchors have, or fewer, for the objects of these splits; None without objects."""
    boxes = np.concatenate([part.boxes for part in parts])
    images = np.concatenate([part.images for part in parts])
    if not len(boxes):
        return None
    some = _evenly(len(boxes), _FITTED)
    sizes = best_sizes(frame, boxes[some], images[some])
    some = _evenly(len(boxes), _MEASURED)
    now, then = (_missed(boxes[some], images[some], one) for one in (frame, _with_sizes(frame, sizes)))
    return FittedSizes(sizes, then, now)


def _evenly(count: int, most: int) -> Ints:
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)


def _with_sizes(frame: Frame, sizes: Sequence[float]) -> Frame:
    cell = placed_anchors(sizes, frame.ratios, frame.placing, frame.stride).astype(np.float64)
    return replace(frame, sizes=tuple(sizes), cell=cell)


def _missed(boxes: Floats, images: Floats, frame: Frame) -> tuple[float, ...]:
    best = best_overlaps(boxes, images, frame.cell, frame.stride, frame.across_border)
    return tuple(float((best < iou).mean()) for iou in REACHED)


def best_sizes(frame: Frame, boxes: Floats, images: Floats) -> tuple[int, ...]:
    """Ascending whole px, for boxes (M, 4) in images (M, 2) px."""
    sizes = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    low = max(_LEAST_SIZE, float(sizes.min()) / _BEYOND)
    high = max(low, float(sizes.max()) * _BEYOND)
    tried = low * 2 ** (np.arange(math.ceil(_STEPS * math.log2(high / low)) + 1) / _STEPS)  # (S,)
    frames = [_with_sizes(frame, [size]) for size in tried.tolist()]
    overlaps = np.stack(
        [best_overlaps(boxes, images, one.cell, one.stride, one.across_border) for one in frames], axis=1
    )  # (M, S)
    shares = (np.arange(len(frame.sizes)) + 0.5) / len(frame.sizes)
    starts = [np.quantile(sizes, shares), np.array(frame.sizes)]
    places = [np.abs(np.log(tried) - np.log(start.clip(min=1))[:, None]).argmin(axis=1) for start in starts]
    found = [_climb(overlaps, place) for place in (_cluster(overlaps, places[0]), places[1])]
    best = max(found, key=lambda place: _worth(overlaps[:, place].max(axis=1)[:, None]).item())
    return tuple(sorted({round(size) for size in tried[best].tolist()}))


def _cluster(overlaps: Floats, chosen: Ints) -> Ints:
    """k-means from the sizes at `chosen` (K,) on: each goes where the objects that are nearest to it have most IoU."""
    for _ in range(_ROUNDS):
        nearest = overlaps[:, chosen].argmax(axis=1)  # (M,)
        moved = chosen.copy()
        for cluster in np.unique(nearest).tolist():
            moved[cluster] = overlaps[nearest == cluster].sum(axis=0).argmax()
        if (moved == chosen).all():
            break
        chosen = moved
    return chosen


def _climb(overlaps: Floats, chosen: Ints) -> Ints:
    """Each size in turn goes where all together are worth most, until none moves."""
    for _ in range(_ROUNDS):
        before = chosen.copy()
        for place in range(len(chosen)):
            others = overlaps[:, np.delete(chosen, place)].max(axis=1, initial=0.0)
            worth = _worth(np.maximum(overlaps, others[:, None]))
            if worth.max() > worth[chosen[place]]:
                chosen = np.where(np.arange(len(chosen)) == place, worth.argmax(), chosen)
        if (chosen == before).all():
            break
    return chosen


def _worth(overlaps: Floats) -> Floats:
    """Of each column of (M, S): the mean IoU and the shares of objects reached by REACHED, the first counted twice."""
    half, most = ((overlaps >= iou).mean(axis=0) for iou in REACHED)
    worth: Floats = overlaps.mean(axis=0) + 2 * half + most
    return worth


@dataclass(frozen=True)
class LargerImages:
    """What makes the smallest objects large enough for anchors to overlap them, as far as that goes."""

    needed: float  # px
    smaller: float  # share of the objects now
    short_side: int  # px
    long_side: int
    smaller_then: float
    work: float  # times as many pixels


def larger_images(frame: Frame, parts: Sequence[SplitStatistics]) -> LargerImages | None:
    """None where few objects are too small, there are none, or images are taken as they are stored.

    The image is to grow until no more than MANY of the objects are smaller.
    """
    sizes = np.concatenate([part.sizes for part in parts])
    short, long = frame.resize.short_side, frame.resize.long_side
    needed = least_size(frame.stride)
    if short is None or not len(sizes) or (sizes < needed).mean() <= MANY:
        return None
    factor = needed / float(np.quantile(sizes, MANY))
    new_short, new_long = (_SIDE_STEP * math.ceil(factor * side / _SIDE_STEP) for side in (short, long))
    then = sizes * min(new_short / short, new_long / long)
    smaller, smaller_then = (float((some < needed).mean()) for some in (sizes, then))
    return LargerImages(needed, smaller, new_short, new_long, smaller_then, new_short * new_long / (short * long))


def least_size(stride: int) -> float:
    """px: from here on an anchor of an object's own size overlaps it by IoU 1/2 where the two lie as usual.

    Their centres are 0 to stride / 2 apart along each axis, stride / 4 on average; 1 - stride / (4 size) of each side
    is common then, and the square of that must be 2/3 for an IoU of 1/2.
    """
    return stride / 4 / (1 - math.sqrt(2 / 3))
