"""Which object each candidate box (anchor or proposal) is for, and which candidates a step learns from.

N: candidates of one image, M: its objects. A candidate's match label is FOREGROUND, BACKGROUND or UNUSED.
"""

import torch
from torch import Tensor

from detkit.ops import boxes as box_ops
from detkit.structures import Target

FOREGROUND, BACKGROUND, UNUSED = 1, 0, -1
MAX_INSIDE_IGNORED = 0.7  # part of a candidate inside an ignored region (py-faster-rcnn, COCO: TRAIN.CROWD_THRESH)


def match(
    candidates: Tensor,
    target: Target,
    foreground_iou: float,
    background_iou: tuple[float, float],
    each_object_its_best: bool,
) -> tuple[Tensor, Tensor]:
    """Match labels (N,) int64 and the index (N,) of each candidate's object (of any where it is not foreground).

    Foreground: the best IoU with an object is at least `foreground_iou`. Background: it lies in
    [background_iou[0], background_iou[1]). With `each_object_its_best`, the candidates that overlap an object most are
    foreground for it whatever the IoU (Faster R-CNN, section 3.1.2), provided they touch it. A candidate that would be
    background but covers an ignored object (VOC difficult, COCO crowd) is unused: it may well be right.
    """
    wanted = ~target.ignore
    if not bool(wanted.any()) or len(candidates) == 0:
        best, index = candidates.new_zeros(len(candidates)), candidates.new_zeros(len(candidates), dtype=torch.int64)
    else:
        overlaps = box_ops.iou(candidates, target.boxes[wanted])  # (N, M)
        best, index = overlaps.max(dim=1)
        if each_object_its_best:
            best, index = _claim(overlaps, best, index)
    match_labels = torch.full_like(index, UNUSED)
    match_labels[(best >= background_iou[0]) & (best < background_iou[1])] = BACKGROUND
    covers_ignored = _covers_ignored(candidates, target.boxes[target.ignore], foreground_iou)
    match_labels[(match_labels == BACKGROUND) & covers_ignored] = UNUSED
    match_labels[best >= foreground_iou] = FOREGROUND
    where_wanted = wanted.nonzero().flatten()
    return match_labels, where_wanted[index] if len(where_wanted) else index


def _claim(overlaps: Tensor, best: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Give each object the candidates that overlap it most (all that tie), by raising their best IoU to 1.

    A candidate that is the best of several objects goes to the one it overlaps most.
    """
    most = overlaps.max(dim=0).values  # (M,)
    claims = (overlaps == most) & (most > 0)  # (N, M)
    strongest = torch.where(claims, overlaps, -1.0).max(dim=1)
    claimed = strongest.values >= 0
    return torch.where(claimed, 1.0, best), torch.where(claimed, strongest.indices, index)


def _covers_ignored(candidates: Tensor, ignored: Tensor, foreground_iou: float) -> Tensor:
    """(N,) bool: overlaps an ignored box as a detection of it would, or lies mostly inside one."""
    if len(ignored) == 0:
        return torch.zeros(len(candidates), dtype=torch.bool, device=candidates.device)
    common = box_ops.intersection(candidates, ignored)
    inside = common / box_ops.area(candidates)[:, None].clamp(min=1e-6)
    return ((box_ops.iou(candidates, ignored) >= foreground_iou) | (inside >= MAX_INSIDE_IGNORED)).any(dim=1)


def sample(match_labels: Tensor, count: int, foreground_fraction: float) -> tuple[Tensor, Tensor]:
    """Indices of the foreground and of the background candidates to learn from, drawn at random.

    At most `count` together, at most `foreground_fraction` of `count` foreground; background fills what is left.
    """
    foreground = (match_labels == FOREGROUND).nonzero().flatten()
    background = (match_labels == BACKGROUND).nonzero().flatten()
    num_foreground = min(len(foreground), round(count * foreground_fraction))
    num_background = min(len(background), count - num_foreground)
    return _draw(foreground, num_foreground), _draw(background, num_background)


def _draw(indices: Tensor, count: int) -> Tensor:
    return indices[torch.randperm(len(indices), device=indices.device)[:count]]
