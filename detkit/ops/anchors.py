"""Anchors: the boxes of fixed sizes and ratios, centred on every cell of the feature map, that the RPN starts from."""

from collections.abc import Sequence

import torch
from torch import Tensor


def cell_anchors(sizes: Sequence[float], ratios: Sequence[float]) -> Tensor:
    """The anchors of one cell, centred on (0, 0): (A, 4), all ratios of the first size first.

    A size is the square root of the area in px, a ratio is height / width (Faster R-CNN, section 3.1.1). The papers'
    code rounds sides to whole pixels of a 16 px base box; the exact values are used here.
    """
    area_root = torch.tensor(sizes, dtype=torch.float64)[:, None]
    height_factor = torch.tensor(ratios, dtype=torch.float64).sqrt()[None]
    half_width = (area_root / height_factor / 2).flatten()
    half_height = (area_root * height_factor / 2).flatten()
    return torch.stack([-half_width, -half_height, half_width, half_height], dim=1).float()


def grid_anchors(cell: Tensor, height: int, width: int, stride: int, offset: float = 0.0) -> Tensor:
    """`cell` (A, 4) repeated at every cell's centre: (height * width * A, 4) px of the image, row by row.

    `offset`: px where the first cell begins (backbones/backbone.py).
    """
    x = (torch.arange(width, device=cell.device, dtype=torch.float32) + 0.5) * stride + offset
    y = (torch.arange(height, device=cell.device, dtype=torch.float32) + 0.5) * stride + offset
    centers = torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1).flip(-1)  # (height, width, 2) as x, y
    return (centers.repeat(1, 1, 2)[:, :, None] + cell).reshape(-1, 4)
