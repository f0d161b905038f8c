"""What py-faster-rcnn and the systems made after it have in common: the order of their outputs, and their settings.

Anchors: all sizes of the first ratio first (detkit: all ratios of the first size). Classes: background first (detkit:
last), and box offsets for the background too. One image of a shorter side of 600 px, at most 1000.

On the network's own input detections are the same, but in rare cases: growth of a box is held at 1000 / 16, and
proposals that are too small are dropped after the best 6,000 are taken, not before. With an image enlarged s times,
too small is below 16 px of the enlarged image, there of the original; and there final boxes are decoded in the
original's pixels, whose last one inside is 1 px away, not 1 / s px (a difference below 1 px).
"""

from typing import Any

import torch
from torch import Tensor

from detkit.weights.class_lists import COCO_CLASSES, VOC_CLASSES

RATIOS = (0.5, 1.0, 2.0)
ANCHOR_SIZES = {9: (128.0, 256.0, 512.0), 12: (64.0, 128.0, 256.0, 512.0)}  # by anchors a cell: VOC's models, COCO's


def sizes_first(per_anchor: Tensor) -> Tensor:
    """(A, ...), one row an anchor, from the order ratio by ratio to that size by size."""
    count = len(per_anchor)
    order = torch.arange(count).view(len(RATIOS), -1).T.flatten()
    return per_anchor[order]


def objectness(scores: Tensor) -> Tensor:
    """The logits' rows (A, ...) of (2, A, ...): background's scores, then foreground's. One logit does what two did."""
    return sizes_first(scores[1] - scores[0])


def anchor_offsets(rows: Tensor) -> Tensor:
    """Rows (4 A, ...) of the RPN's offsets, four an anchor."""
    return sizes_first(rows.reshape(-1, 4, *rows.shape[1:])).flatten(0, 1)


def background_last(rows: Tensor) -> Tensor:
    """(C + 1, ...) with the first row last."""
    return rows.roll(-1, dims=0)


def without_background(rows: Tensor) -> Tensor:
    """(4 (C + 1), ...) offsets without the four of the background, which come first."""
    return rows[4:]


def rpn_section(channels: int, anchors: int) -> dict[str, Any]:
    """model.rpn of py-faster-rcnn in testing. Raises ValueError for a number of anchors that was never published."""
    if anchors not in ANCHOR_SIZES:
        raise ValueError(
            f"an RPN of {anchors} anchors a cell; known are {sorted(ANCHOR_SIZES)}, of VOC's and COCO's models"
        )
    return {
        "channels": channels,
        "sizes": list(ANCHOR_SIZES[anchors]),
        "ratios": list(RATIOS),
        "anchors": "rounded",
        "nms_iou": 0.7,
        "min_side": 16.0,
        "test_before_nms": 6000,
        "test_after_nms": 300,
    }


def training(steps: int, drop: int) -> dict[str, Any]:
    """The published recipe of training, so that the config is whole."""
    return {
        "steps": steps,
        "batch_size": 1,
        "lr": 0.001,
        "optimizer": {
            "kind": "sgd",
            "momentum": 0.9,
            "weight_decay": 0.0005,
            "bias_rate": 2.0,
            "decay_norm_and_bias": False,
        },
        "schedule": {"kind": "step", "drops": [drop]},
    }


def data(classes: tuple[str, ...]) -> dict[str, Any]:
    """The data set that a published model of these classes is tested on: VOC07, or COCO's val2014."""
    if classes == COCO_CLASSES:
        found: dict[str, Any] = {"kind": "coco", "root": "data/coco", "train": ["train2014"], "test": ["val2014"]}
    else:
        found = {"kind": "voc", "root": "data/VOCdevkit", "train": ["VOC2007/trainval"], "test": ["VOC2007/test"]}
    named = list(classes) if classes in (COCO_CLASSES, VOC_CLASSES) else None
    return found | {"classes": named, "short_side": 600, "long_side": 1000}
