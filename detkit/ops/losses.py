"""The losses of box regression."""

import torch.nn.functional as F
from torch import Tensor


def smooth_l1_sum(offsets: Tensor, goals: Tensor, beta: float) -> Tensor:
    """Smooth L1 (Fast R-CNN, equation 3), summed; quadratic below `beta`. (N, 4), (N, 4) -> scalar, 0 for N = 0."""
    return F.smooth_l1_loss(offsets, goals, beta=beta, reduction="sum")
