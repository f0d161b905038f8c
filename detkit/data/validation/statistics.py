"""The objects of a split as a detector meets them: at the size images are brought to, beside the anchors."""

from dataclasses import dataclass

import numpy as np

from detkit.data.ground_truth import Floats, GroundTruth, Ints, learned_boxes
from detkit.data.pipeline.prepare import Resize
from detkit.data.validation.anchor_reach import best_overlaps
from detkit.ops.anchors import Placing

REACHED = (0.5, 0.7)  # IoU: half, and what an anchor needs to be positive (Faster R-CNN, section 3.1.2)


@dataclass(frozen=True, eq=False)
class Frame:
    """The sizes that a detector sees images in, and the anchors of its region proposal network."""

    resize: Resize
    sizes: tuple[float, ...]  # px, square root of an anchor's area
    ratios: tuple[float, ...]  # height / width
    cell: Floats  # (A, 4) the anchors, seen from the centre of a cell
    stride: int  # px
    across_border: bool  # whether anchors that leave the image are learned from
    placing: Placing = "centered"  # of the anchors

    def describe(self) -> str:
        """Such as "images of 600 px (at most 1,000), 9 anchors of 128 256 512 px and height / width 0.5 1 2"."""
        short, long = self.resize.short_side, self.resize.long_side
        images = "images as stored" if short is None else f"images of {short:,} px (at most {long:,})"
        sizes, ratios = (" ".join(f"{value:g}" for value in values) for values in (self.sizes, self.ratios))
        return f"{images}, {len(self.cell)} anchors of {sizes} px and height / width {ratios}"


@dataclass(frozen=True, eq=False)
class SplitStatistics:
    """Of the objects that are learned: with area in their image, and not ignored."""

    objects_per_image: Ints  # (N,)
    labels: Ints  # (M,)
    sizes: Floats  # (M,) square root of the area, px after the resize
    ratios: Floats  # (M,) height / width
    best_iou: Floats  # (M,) with any anchor
    boxes: Floats  # (M, 4) px after the resize
    images: Floats  # (M, 2) height and width of each object's image, px after the resize

    def unreached(self, label: int | None = None) -> tuple[int, list[float]]:
        """How many objects there are (of a class), and the share whose best IoU is below each of REACHED."""
        best = self.best_iou if label is None else self.best_iou[self.labels == label]
        return len(best), [float((best < iou).mean()) if len(best) else 0.0 for iou in REACHED]


def measure(truth: GroundTruth, frame: Frame) -> SplitStatistics:
    boxes, is_learned = learned_boxes(truth)
    image = truth.image_index[is_learned & ~truth.objects.ignore]
    labels = truth.objects.labels[is_learned & ~truth.objects.ignore]
    stored, resized = truth.sizes.astype(np.float64), _resized(truth.sizes, frame.resize)  # (N, 2)
    factor = (resized / stored.clip(min=1))[:, [1, 0, 1, 0]]
    boxes = boxes[is_learned & ~truth.objects.ignore] * factor[image]
    sides = boxes[:, 2:] - boxes[:, :2]
    return SplitStatistics(
        np.bincount(image, minlength=len(truth)).astype(np.int64),
        labels,
        np.sqrt(sides.prod(axis=1)),
        sides[:, 1] / sides[:, 0],
        best_overlaps(boxes, resized[image], frame.cell, frame.stride, frame.across_border),
        boxes,
        resized[image],
    )


def _resized(sizes: Ints, resize: Resize) -> Floats:
    """(N, 2) height and width after the resize, in whole px; 0 of an image whose size is not known."""
    known = sizes.all(axis=1)
    scale = np.array([resize.scale((height, width)) for height, width in sizes[known].tolist()])
    resized = np.zeros(sizes.shape)
    resized[known] = np.maximum(1.0, np.rint(sizes[known] * scale.reshape(-1, 1)))
    return resized
