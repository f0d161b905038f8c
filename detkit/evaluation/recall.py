"""How many objects proposals find: recall against IoU and against the number of boxes (Hosang et al. 2015, section 4).

One proposal serves one object: of all pairs in an image the one of highest IoU is matched first, then the highest
among the boxes and objects left, and so on, as the code of that paper and `evaluate_recall` of py-faster-rcnn do.

C counts, T IoU thresholds, M objects (of an image, or of the split), N proposals of an image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from detkit.data.dataset import DetectionDataset
from detkit.ops import boxes as box_ops

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

COUNTS = (10, 30, 100, 300, 1000, 2000)
IOUS = tuple((50 + step) / 100 for step in range(0, 51, 5))  # 0.50, 0.55 ... 1.00, each the nearest float
SMALL, LARGE = 32.0**2, 96.0**2  # px^2 of an object's box in the image as stored (COCO)


@dataclass(frozen=True, eq=False)
class Recall:
    """What the best scored proposals of each image find of the objects that are not marked `ignore`."""

    counts: tuple[int, ...]  # C limits on the proposals of an image, best first
    ious: tuple[float, ...]  # T thresholds
    overlaps: Floats  # (C, M) IoU of each object with its own proposal; 0 without one
    areas: Floats  # (M,) px^2
    boxes_per_image: Floats  # (C,) mean number of proposals there were within each limit

    @property
    def num_objects(self) -> int:
        return len(self.areas)

    @property
    def recall(self) -> Floats:
        """(C, T) part of the objects found with at least each IoU; NaN without objects."""
        return np.stack([self.at(iou) for iou in self.ious], axis=1)

    def at(self, iou: float) -> Floats:
        """(C,) recall against the number of boxes."""
        return self._mean(np.greater_equal(self.overlaps, iou).astype(np.float64))

    @property
    def average(self) -> Floats:
        """(C,) AR: twice the integral of recall over the IoU from .5 to 1 (Hosang et al., section 5.2).

        Exact, in the paper's other form: the mean over objects of 2 * max(IoU - .5, 0). Sums over steps of the
        threshold, as in published code, come within .001 of it where the steps are of .001 (py-faster-rcnn).
        """
        return self._mean(2 * (self.overlaps - 0.5).clip(min=0))

    @property
    def by_size(self) -> dict[str, "Recall"]:
        """The same for the small, medium and large objects, matched when all were there."""
        is_small, is_large = self.areas < SMALL, self.areas > LARGE
        return {
            "small": self._of(is_small),
            "medium": self._of(~is_small & ~is_large),
            "large": self._of(is_large),
        }

    def _of(self, chosen: Bools) -> "Recall":
        return Recall(self.counts, self.ious, self.overlaps[:, chosen], self.areas[chosen], self.boxes_per_image)

    def _mean(self, values: Floats) -> Floats:
        """(C, M) -> (C,)"""
        return values.mean(axis=1) if self.num_objects else np.full(len(self.counts), np.nan)


def recall(
    proposals: Mapping[str, Tensor],
    dataset: DetectionDataset,
    counts: Sequence[int] = COUNTS,
    ious: Sequence[float] = IOUS,
) -> Recall:
    """Scores proposals (by image id, each (N, 4) px of the image as stored, best first) against a data set's objects.

    Proposals of images that the data set does not have are left aside. Raises ValueError for an image without an
    entry, an entry that is not (N, 4) or not finite, and counts or thresholds out of range.
    """
    if not counts or min(counts) < 1 or not ious or not 0 < min(ious) <= max(ious) <= 1:
        raise ValueError(f"counts {tuple(counts)}, ious {tuple(ious)}: expected counts from 1 and IoUs in (0, 1]")
    overlaps: list[Floats] = []
    areas: list[Floats] = []
    num_boxes = np.zeros(len(dataset), dtype=np.int64)
    for index, image_id in enumerate(dataset.image_ids):
        boxes = _boxes_of(proposals, image_id)[: max(counts)]
        target = dataset.target(index)
        objects = target.boxes[~target.ignore].double()
        pairs: Floats = box_ops.iou(objects, boxes).numpy()  # (M, N)
        overlaps.append(np.stack([_one_to_one(pairs[:, :count]) for count in counts]))
        areas.append(box_ops.area(objects).numpy())
        num_boxes[index] = len(boxes)
    return Recall(
        tuple(counts),
        tuple(ious),
        np.concatenate([np.zeros((len(counts), 0)), *overlaps], axis=1),
        np.concatenate([np.zeros(0), *areas]),
        np.array([np.minimum(num_boxes, count).sum() / max(len(dataset), 1) for count in counts]),
    )


def _boxes_of(proposals: Mapping[str, Tensor], image_id: str) -> Tensor:
    if image_id not in proposals:
        raise ValueError(
            f"image {image_id!r}: no proposals; make those of the whole split (an image may have none: shape (0, 4))"
        )
    boxes = proposals[image_id].double()
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"image {image_id!r}: proposals of shape {tuple(boxes.shape)}; expected (N, 4)")
    if not bool(torch.isfinite(boxes).all()):
        raise ValueError(f"image {image_id!r}: a proposal is not finite; expected (x1, y1, x2, y2) in px")
    return boxes


def _one_to_one(overlaps: Floats) -> Floats:
    """(M, N) IoU -> (M,) IoU of each object with the proposal it is matched to, the best pairs first."""
    if 0 in overlaps.shape:
        return np.zeros(len(overlaps))
    best: Floats = overlaps.max(axis=1)
    claimed = overlaps.argmax(axis=1)[best > 0].tolist()
    if len(set(claimed)) == len(claimed):  # nearly always: no two objects want the same proposal
        return best
    left, matched = overlaps.copy(), np.zeros(len(overlaps))
    while left.any():
        row, column = np.unravel_index(left.argmax(), left.shape)
        matched[row] = left[row, column]
        left[row], left[:, column] = 0, 0
    return matched
