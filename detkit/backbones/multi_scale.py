"""Features at several image sizes, and features that are never trained: what SPPNet and NoC make of a backbone's."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.structures import Features, Pyramid


class MultiScale(nn.Module):
    """`network` applied to the images (B, 3, H, W) resized by each of `factors` (SPPNet, section 4.1)."""

    def __init__(self, network: nn.Module, factors: Sequence[float]) -> None:
        super().__init__()
        self.network, self.factors = network, tuple(sorted(factors))

    def forward(self, images: Tensor) -> Pyramid:
        return Pyramid(tuple(self.network(_resized(images, factor)) for factor in self.factors), self.factors)


class Frozen(nn.Module):
    """`network` as it is: not trained, and in eval mode whatever mode is asked for."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Features:
        with torch.no_grad():
            features: Features = self.network(images)
        return features

    def train(self, mode: bool = True) -> "Frozen":
        super().train(mode)
        self.network.eval()
        return self


def _resized(images: Tensor, factor: float) -> Tensor:
    if factor == 1:
        return images
    size = [max(1, round(side * factor)) for side in images.shape[2:]]
    return F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=factor < 1)
