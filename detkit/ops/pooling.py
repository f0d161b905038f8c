"""Region pooling: a (C, P, P) piece of the feature map for every region."""

from collections.abc import Sequence
from typing import Protocol

import torch
import torchvision
from torch import Tensor, nn


class RegionPool(Protocol):
    """features (B, C, H, W) and regions (R, 5), image index and box in px, -> (R, C, P, P)."""

    size: int  # P

    def __call__(self, features_BCHW: Tensor, regions_R5: Tensor) -> Tensor: ...


def as_regions(boxes: Sequence[Tensor]) -> Tensor:
    """The boxes (N_i, 4) of each image as one (R, 5) tensor whose first column is the image's index."""
    return torch.cat([torch.cat([b.new_full((len(b), 1), i), b], dim=1) for i, b in enumerate(boxes)])


class RoIMaxPool(nn.Module):
    """RoI max pooling (Fast R-CNN, section 2.1), its rounding as in the published Caffe code."""

    def __init__(self, size: int, stride: int) -> None:
        super().__init__()
        self.size, self.stride = size, stride

    def forward(self, features_BCHW: Tensor, regions_R5: Tensor) -> Tensor:
        # The Caffe code takes the last pixel inside the box where detkit's x2, y2 is the first one outside.
        inclusive = regions_R5 - regions_R5.new_tensor([0, 0, 0, 1, 1])
        return torch.as_tensor(torchvision.ops.roi_pool(features_BCHW, inclusive, self.size, 1 / self.stride))


class RoIAlign(nn.Module):
    """RoIAlign (Mask R-CNN, section 3): bilinear samples, no rounding, pixel centres at half coordinates."""

    def __init__(self, size: int, stride: int, sampling: int) -> None:
        super().__init__()
        self.size, self.stride, self.sampling = size, stride, sampling

    def forward(self, features_BCHW: Tensor, regions_R5: Tensor) -> Tensor:
        pooled = torchvision.ops.roi_align(
            features_BCHW, regions_R5, self.size, 1 / self.stride, self.sampling or -1, aligned=True
        )
        return torch.as_tensor(pooled)
