"""What each box of an image is good for after fine-tuning: a positive of the SVMs, a negative, a pair to regress.

N boxes of an image: its M objects first, then its proposals. C classes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from detkit.ops import boxes as box_ops
from detkit.structures import Target


@dataclass(frozen=True)
class CandidateRule:
    negative_iou: float  # below it with every object of a class, a box is a negative of that class
    max_negative_overlap: float | None  # of two negatives that overlap by more, one is left out (SPPNet: 0.7)
    min_regression_iou: float  # with its nearest object, for a box to learn the way there


@dataclass(frozen=True)
class Candidates:
    boxes: Tensor  # (N, 4) px of the picture as stored
    positive_of: Tensor  # (N,) int64: class of an object, -1 for all others
    negative_for: Tensor  # (N, C) bool
    regressed: Tensor  # (K,) int64: rows that learn to become their nearest object
    labels: Tensor  # (K,) int64: class of that object
    offsets: Tensor  # (K, 4): the way there


def candidates(proposals: Tensor, target: Target, num_classes: int, rule: CandidateRule) -> Candidates:
    """Proposals (N, 4) and objects, in the same pixels. Objects marked ignore (VOC difficult) teach nothing, and no box
    over them is a negative of their class."""
    wanted = ~target.ignore
    objects, labels = target.boxes[wanted], target.labels[wanted]
    boxes = torch.cat([objects, proposals])
    positive_of = torch.full((len(boxes),), -1, dtype=torch.int64)
    positive_of[: len(objects)] = labels
    best, nearest = _nearest(boxes, objects)
    regressed = (best > rule.min_regression_iou).nonzero().flatten()
    return Candidates(
        boxes,
        positive_of,
        _negatives(boxes, len(objects), target, num_classes, rule),
        regressed,
        labels[nearest[regressed]],
        box_ops.encode(boxes[regressed], objects[nearest[regressed]]),
    )


def _nearest(boxes: Tensor, objects: Tensor) -> tuple[Tensor, Tensor]:
    """The largest overlap (N,) of each box with an object, and that object (N,)."""
    if len(objects) == 0:
        return torch.zeros(len(boxes)), torch.zeros(len(boxes), dtype=torch.int64)
    best, nearest = box_ops.iou(boxes, objects).max(dim=1)
    return best, nearest


def _negatives(boxes: Tensor, num_objects: int, target: Target, num_classes: int, rule: CandidateRule) -> Tensor:
    overlaps = box_ops.iou(boxes, target.boxes)  # (N, M)
    negative_for = torch.ones(len(boxes), num_classes, dtype=torch.bool)
    for label in set(target.labels.tolist()):
        of_class = overlaps[:, target.labels == label]
        negative_for[:, label] = of_class.max(dim=1).values < rule.negative_iou
    if rule.max_negative_overlap is not None:
        negative_for &= _distinct(boxes, num_objects, rule.max_negative_overlap)[:, None]
    return negative_for


def _distinct(boxes: Tensor, num_objects: int, max_overlap: float) -> Tensor:
    """(N,) bool: the objects, and of the proposals those that no earlier, better one overlaps by more."""
    kept = torch.ones(len(boxes), dtype=torch.bool)
    proposals = boxes[num_objects:]
    order = torch.arange(len(proposals), 0, -1, dtype=torch.float32)
    kept[num_objects:] = False
    kept[num_objects + box_ops.nms(proposals, order, max_overlap)] = True
    return kept
