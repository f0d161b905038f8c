"""What a backbone is to a detector: from 8-bit RGB images to feature maps, and from pooled regions to vectors.

How pixels are normalised belongs to the weights, so it travels with them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Backbone:
    """A classification network cut in two. A value, not a base class: each network's file builds one."""

    preprocess: nn.Module  # images (B, 3, H, W) uint8 RGB, sizes (B, 2) -> what `features` was trained on
    features: nn.Module  # once an image: -> (B, channels, ~H / stride, ~W / stride)
    tail: nn.Module  # once a region: (R, channels, P, P) -> (R, tail_dim)
    stride: int  # px of the image a cell of the feature map
    channels: int
    pool_size: int  # P the published detectors use with it
    tail_dim: int
    offset: float = 0.0  # px where the first cell begins: px x lies at (x - offset) / stride cells (grid.py)


class Normalize(nn.Module):
    """Subtracts the mean and divides by the deviation of each channel; what is padding becomes 0."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], bgr: bool = False) -> None:
        """`mean` and `std` are in units of 0..255, in RGB order; `bgr`: the network wants blue first."""
        super().__init__()
        self.bgr = bgr
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor, sizes: Tensor) -> Tensor:
        """Images (B, 3, H, W) uint8 RGB of which the top left `sizes` (B, 2) px are image -> (B, 3, H, W) float32."""
        normal = (images.float() - self.mean) / self.std
        row = torch.arange(images.shape[2], device=images.device)
        column = torch.arange(images.shape[3], device=images.device)
        in_image = (row < sizes[:, :1])[:, :, None] & (column < sizes[:, 1:])[:, None, :]  # (B, H, W)
        normal = torch.where(in_image[:, None], normal, 0.0)
        return normal.flip(1) if self.bgr else normal


def imagenet_rgb() -> Normalize:
    """The statistics torchvision's classification weights are trained with."""
    return Normalize(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))


def caffe_bgr() -> Normalize:
    """Pixel means of the MSRA and Caffe ImageNet models (py-faster-rcnn: PIXEL_MEANS); no division."""
    return Normalize(mean=(122.7717, 115.9465, 102.9801), std=(1.0, 1.0, 1.0), bgr=True)


def half_rgb() -> Normalize:
    """Pixels from -1 to 1, as the Inception networks and timm's pre-activation ResNets are trained with."""
    return Normalize(mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5))


class AveragedTail(nn.Sequential):
    """Named modules one after another, then the mean over what they leave of a region: (R, C, P, P) -> (R, D)."""

    def forward(self, regions_RCPP: Tensor) -> Tensor:
        for module in self:
            regions_RCPP = module(regions_RCPP)
        return regions_RCPP.mean(dim=(2, 3))
