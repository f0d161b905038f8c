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
    boxes: Tensor  # (N, 4) px of the image as stored
    positive_of: Tensor  # (N,) int64: class of an object, -1 for all others
    negative_for: Tensor  # (N, C) bool
    regressed: Tensor  # (K,) int64: rows that learn to become their nearest object
    labels: Tensor  # (K,) int64: class of that object
    offsets: Tensor  # (K, 4): the way there


def candidates(proposals: Tensor, target: Target, num_classes: int, rule: CandidateRule) -> Candidates:
    """Proposals (N, 4) and objects, in the same pixels. Objects marked ignore (VOC difficult) teach nothing, and no box
    over them is a negative of their class. No box of the image is a negative of a class that is unknown in it: in a
    federated data set, nobody looked whether it shows one."""
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
    everywhere = torch.ones(len(boxes), dtype=torch.bool)  # where a class has no object, all is negative
    negative_for = _distinct(everywhere, boxes, num_objects, rule)[:, None].repeat(1, num_classes)
    for label in set(target.labels.tolist()):
        clear = overlaps[:, target.labels == label].max(dim=1).values < rule.negative_iou
        negative_for[:, label] = _distinct(clear, boxes, num_objects, rule)
    if target.unknown is not None:
        negative_for[:, target.unknown] = False
    return negative_for


def _distinct(negative: Tensor, boxes: Tensor, num_objects: int, rule: CandidateRule) -> Tensor:
    """Of the negatives (N,) bool those that no earlier one overlaps by more than the rule lets; objects all stay."""
    if rule.max_negative_overlap is None:
        return negative
    rows = negative[num_objects:].nonzero().flatten() + num_objects
    order = torch.arange(len(rows), 0, -1, dtype=torch.float32)
    kept = negative.clone()
    kept[rows] = False
    kept[rows[box_ops.nms(boxes[rows], order, rule.max_negative_overlap)]] = True
    return kept
