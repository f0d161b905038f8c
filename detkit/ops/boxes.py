"""Geometry of boxes: areas, overlaps, offsets, clipping, suppression.

Boxes are (x1, y1, x2, y2) as structures.py states them. N, M: numbers of boxes.
"""

import math

import torch
from torch import Tensor

MAX_LOG_SCALE = math.log(1000 / 16)  # a box grows at most by this factor (px of image / stride; py-faster-rcnn)


def area(boxes: Tensor) -> Tensor:
    """(..., 4) -> (...) px^2; 0 for inverted boxes."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)


def intersection(one: Tensor, other: Tensor) -> Tensor:
    """(N, 4), (M, 4) -> (N, M) px^2."""
    top_left = torch.maximum(one[:, None, :2], other[:, :2])
    bottom_right = torch.minimum(one[:, None, 2:], other[:, 2:])
    return (bottom_right - top_left).clamp(min=0).prod(-1)


def iou(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union: (N, 4), (M, 4) -> (N, M) in 0..1; 0 where both boxes are empty."""
    common = intersection(one, other)
    union = area(one)[:, None] + area(other) - common
    return common / union.clamp(min=torch.finfo(union.dtype).tiny)


def encode(references: Tensor, boxes: Tensor) -> Tensor:
    """Offsets (tx, ty, tw, th) that lead from references to boxes (R-CNN, appendix C): (N, 4), (N, 4) -> (N, 4)."""
    center, size = _center_size(references)
    goal_center, goal_size = _center_size(boxes)
    return torch.cat([(goal_center - center) / size, torch.log(goal_size / size)], dim=-1)


def decode(references: Tensor, offsets: Tensor, inclusive: bool = False) -> Tensor:
    """The boxes that offsets lead to from references: (..., 4), (..., 4) -> (..., 4); growth held at MAX_LOG_SCALE.

    `inclusive`: as py-faster-rcnn decodes. There x2, y2 are the last px inside, and widths x2 - x1 + 1: encoded offsets
    are the same, but x2 = centre + width / 2 comes out a px further than it went in.
    """
    center, size = _center_size(references)
    new_center = center + offsets[..., :2] * size
    half = 0.5 * size * torch.exp(offsets[..., 2:].clamp(max=MAX_LOG_SCALE))
    boxes = torch.cat([new_center - half, new_center + half], dim=-1)
    return boxes + boxes.new_tensor([0, 0, 1, 1]) if inclusive else boxes


def clip(boxes: Tensor, size: Tensor, inclusive: bool = False) -> Tensor:
    """(..., 4) cut to images of `size` (..., 2) = height, width in px, of which there may be one for all boxes.

    `inclusive`: as py-faster-rcnn, of whose boxes the first and the last px lie in the image, so that none is empty.
    """
    limit = torch.cat([size.flip(-1), size.flip(-1)], dim=-1).to(boxes.dtype)  # width, height, width, height
    if inclusive:
        least = boxes.new_tensor([0, 0, 1, 1])
        return torch.minimum(torch.maximum(boxes, least), limit - least.flip(0))
    return torch.minimum(boxes.clamp(min=0), limit)


def long_enough(boxes: Tensor, min_side: float) -> Tensor:
    """(..., 4) -> (...) bool: both sides are at least `min_side` px, and the box is not empty."""
    sides = boxes[..., 2:] - boxes[..., :2]
    return ((sides >= min_side) & (sides > 0)).all(dim=-1)


def nms(boxes: Tensor, scores: Tensor, max_iou: float) -> Tensor:
    """Indices (K,) of the boxes that no better one overlaps by more than `max_iou`, best first."""
    import torchvision  # twice as slow to import as torch, which scoring needs from here without it

    return torch.as_tensor(torchvision.ops.nms(boxes, scores, max_iou))


def nms_by_class(boxes: Tensor, scores: Tensor, labels: Tensor, max_iou: float) -> Tensor:
    """`nms` within each class: boxes of different classes are moved apart so that one call serves all."""
    # With a 0 appended there is a largest value also without a box: a branch on that torch.export could not follow.
    values = torch.cat([boxes.flatten(), boxes.new_zeros(1)])
    apart = labels.to(boxes.dtype) * (values.max() - values.min() + 1)
    return nms(boxes + apart[:, None], scores, max_iou)


def _center_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    size = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + 0.5 * size, size
