"""The range of values that a data set's deep images use: found once, from training images, and then kept.

Pixels inside annotated boxes count by themselves: a few bright cells on a dark ground are less than a thousandth of
all pixels, and clipped they would be flat.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from detkit.data.ground_truth import Bools, Floats, GroundTruth, learned_boxes
from detkit.data.io.deep_images import SAMPLED, DeepRange, Stored, Values, as_range, extremes, range_of, sampled
from detkit.data.io.images import ImageError, read_header, read_stored_of_size

LOOKED_AT = 256  # deep images whose values are read
_NEVER_DEEP = frozenset({".jpg", ".jpeg"})  # not worth opening each; the content decides where one is read
_PART = 1 / 16  # of the range: a file that stays within it at the dark end, or is beyond the ends by it, is strange


@dataclass(frozen=True, eq=False)
class DeepImage:
    """One whose values were read."""

    path: Path
    values: Values  # of the whole image, sampled
    objects: Values  # of what is inside its boxes, sampled
    extremes: tuple[float, float]  # of all its values
    is_whole: bool  # its values are integers

    def is_strange_in(self, deep_range: DeepRange) -> bool:
        """Whether it comes out nearly black though it has objects, or with a quarter of its pixels clipped."""
        if not len(self.values):
            return False
        low, high = deep_range
        slack = _PART * (high - low)
        lower, upper, most = np.quantile(self.values, (0.25, 0.75, 0.999))
        is_dark = len(self.objects) > 0 and max(most, self.objects.max()) < low + slack
        return bool(is_dark or lower < low - slack or upper > high + slack)


@dataclass(frozen=True, eq=False)
class DeepImages:
    """What was found in the images of a data set, or of a part of one."""

    num_images: int
    num_deep: int  # have more than 8 bits a channel
    looked_at: tuple[DeepImage, ...]  # evenly spaced among them

    @cached_property
    def range(self) -> DeepRange | None:
        """None where no image is deep, or none of them can be read."""
        if not self.looked_at:
            return None
        low, high = range_of(np.concatenate([image.values for image in self.looked_at]))
        objects = np.concatenate([image.objects for image in self.looked_at])
        if len(objects):
            object_low, object_high = range_of(objects)
            low, high = min(low, object_low), max(high, object_high)
        return as_range(low, high)

    def describe(self, used: DeepRange) -> str:
        """One line: how many are deep, their values, and what is `used` of these."""
        least = min(image.extremes[0] for image in self.looked_at)
        most = max(image.extremes[1] for image in self.looked_at)
        is_count = least >= 0 and all(image.is_whole for image in self.looked_at)
        bits = f" ({int(most).bit_length()} bits)" if is_count else ""
        looked = "them" if len(self.looked_at) == self.num_deep else f"{len(self.looked_at):,} looked at"
        low, high = used
        return (
            f"{self.num_deep:,} of {self.num_images:,} images have more than 8 bits a channel, with values from "
            f"{least:g} to {most:g}{bits} in {looked}: {low:g} to {high:g} become 0 to 255 "
            f"(data.deep_range=[{low:g},{high:g}])"
        )


def find_deep_images(truth: GroundTruth, paths: Sequence[Path]) -> DeepImages:
    """Look for deep images among all, and at the values of up to LOOKED_AT of them; the same in every call.

    Images that cannot be read are passed over: who opens them tells of them.
    """
    deep = [index for index, path in enumerate(paths) if _is_deep(path)]
    places = np.unique(np.linspace(0, len(deep) - 1, min(LOOKED_AT, len(deep))).round().astype(np.int64)).tolist()
    boxes, is_learned = learned_boxes(truth) if deep else (np.zeros((0, 4)), np.zeros(0, np.bool_))
    ends = np.cumsum(truth.counts)
    found = []
    for index in (deep[place] for place in places):
        rows = slice(int(ends[index] - truth.counts[index]), int(ends[index]))
        height, width = truth.sizes[index].tolist()
        try:
            stored = read_stored_of_size(paths[index], (height, width))
        except ImageError:
            continue
        inside = _inside(stored, boxes[rows], is_learned[rows])
        is_whole = bool(np.issubdtype(stored.dtype, np.integer))
        found.append(DeepImage(paths[index], sampled(stored), inside, extremes(stored), is_whole))
    return DeepImages(len(paths), len(deep), tuple(found))


def _is_deep(path: Path) -> bool:
    try:
        return path.suffix.lower() not in _NEVER_DEEP and read_header(path).deep is not None
    except ImageError:
        return False


def _inside(stored: Stored, boxes: Floats, is_learned: Bools) -> Values:
    """Values inside boxes (M, 4), as many of each: K of all."""
    parts = []
    limit = max(16, SAMPLED // max(1, len(boxes)))
    for x1, y1, x2, y2 in boxes[is_learned].tolist():
        parts.append(sampled(stored[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))], limit))
    return np.concatenate(parts) if parts else np.zeros(0)
