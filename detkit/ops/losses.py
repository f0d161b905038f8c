"""The losses of the heads: of classes, and of box regression."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def without_unknown(logits: Tensor, labels: Tensor, unknown: Sequence[Tensor | None], counts: Sequence[int]) -> Tensor:
    """The logits (R, C + 1) with those of unknown classes out of the softmax of background regions: -inf.

    In a federated data set, what lies under a region without an object may well be of a class that nobody looked for in
    its image. Were it to learn "background" beside that class's logit, it would learn that the class is absent; taken
    out, the logit gets no gradient at all. A region that has an object learns against all classes: it is known what it
    is. `unknown` (C,) of each image, None where all classes are known; images have `counts` regions, one after another.
    """
    if all(one is None for one in unknown):
        return logits
    masks = [
        torch.zeros_like(part, dtype=torch.bool) if one is None else F.pad(one, (0, 1)).expand_as(part)
        for part, one in zip(torch.split(logits, list(counts)), unknown, strict=True)
    ]
    is_background = labels[:, None] == logits.shape[1] - 1
    return logits.masked_fill(torch.cat(masks) & is_background, -torch.inf)


def smooth_l1_sum(offsets: Tensor, goals: Tensor, beta: float) -> Tensor:
    """Smooth L1 (Fast R-CNN, equation 3), summed; quadratic below `beta`. (N, 4), (N, 4) -> scalar, 0 for N = 0."""
    return F.smooth_l1_loss(offsets, goals, beta=beta, reduction="sum")
