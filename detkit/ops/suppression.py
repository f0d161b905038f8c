"""What may take the place of plain NMS, or follow it: scores lowered instead of boxes dropped, and boxes averaged.

N scored boxes, K of them kept.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from detkit.ops import boxes as box_ops

Decay = Callable[[Tensor], Tensor]  # IoU with a better box -> factor on the score, both (N,)


def linear_decay(ious: Tensor, min_iou: float) -> Tensor:
    """1 - IoU from `min_iou` on, else 1 (Soft-NMS, Bodla et al. 2017; there `min_iou` is 0.3)."""
    return torch.where(ious >= min_iou, 1 - ious, torch.ones_like(ious))


def gaussian_decay(ious: Tensor, sigma: float = 0.5) -> Tensor:
    """exp(-IoU^2 / sigma) (Soft-NMS; sigma is the paper's)."""
    return torch.exp(-(ious**2) / sigma)


def soft_nms(boxes: Tensor, scores: Tensor, decay: Decay, min_score: float) -> tuple[Tensor, Tensor]:
    """Indices (K,) of boxes (N, 4) of one class, best first, and their lowered scores (K,), all above `min_score`.

    Again and again the best box is taken, and the scores of the others multiplied by `decay` of their IoU with it
    (Soft-NMS, figure 2). Of equally good boxes the first goes first. `min_score` is at least 0.
    """
    ious = box_ops.iou(boxes, boxes).cpu()  # one step after another, on few numbers: no work for a GPU
    left = scores.to("cpu", copy=True)
    kept, lowered = list[int](), list[float]()
    for _ in range(len(scores)):
        best = int(left.argmax())
        if not left[best] > min_score:
            break
        kept.append(best)
        lowered.append(float(left[best]))
        left *= decay(ious[best])
        left[best] = 0
    indices = torch.tensor(kept, dtype=torch.int64, device=boxes.device)
    return indices, torch.tensor(lowered, dtype=scores.dtype, device=boxes.device)


def soft_nms_by_class(
    boxes: Tensor, scores: Tensor, labels: Tensor, decay: Decay, min_score: float
) -> tuple[Tensor, Tensor]:
    """`soft_nms` within each class: indices (K,) and scores (K,) of all classes together, best first."""
    kept, lowered = [labels.new_zeros(0)], [scores.new_zeros(0)]
    for label in sorted(set(labels.tolist())):
        members = (labels == label).nonzero().flatten()
        rows, values = soft_nms(boxes[members], scores[members], decay, min_score)
        kept.append(members[rows])
        lowered.append(values)
    ordered, places = torch.cat(lowered).sort(descending=True, stable=True)
    return torch.cat(kept)[places], ordered


def vote(kept: tuple[Tensor, Tensor], boxes: Tensor, scores: Tensor, labels: Tensor, min_iou: float) -> Tensor:
    """Each box that is kept, `(boxes (K, 4), labels (K,))`, as the mean of its neighbours: (K, 4).

    Neighbours are those of all `boxes` (N, 4) of its class that overlap it by at least `min_iou`, weighted by their
    scores (Gidaris & Komodakis 2015, "bounding box voting"; 0.5 there). A box without any stays as it is.
    """
    kept_boxes, kept_labels = kept
    near = (box_ops.iou(kept_boxes, boxes) >= min_iou) & (kept_labels[:, None] == labels)
    weights = near * scores  # (K, N)
    total = weights.sum(dim=1, keepdim=True)
    return torch.where(total > 0, weights @ boxes / total.clamp(min=torch.finfo(total.dtype).tiny), kept_boxes)
