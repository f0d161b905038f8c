"""What R-CNN and SPPNet compute of a region: the pooled last convolution ("pool5") and the vector behind it ("fc7").

Both have the parts of the fine-tuned detector, which is a TwoStageDetector without learned boxes. For R-CNN nothing is
computed once an image: the regions are warped crops, and the whole network is applied to each.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from detkit.ops.pooling import RegionPool
from detkit.structures import Batch, Features


class RegionVectors(NamedTuple):
    pool5: Tensor  # (R, channels * cells) float32
    fc7: Tensor  # (R, D) float32


class RegionTail(nn.Module):
    """A tail that can be left halfway: pooled region -> pool5 -> fc7."""

    def __init__(self, to_pool5: nn.Module, tail: nn.Module) -> None:
        """`to_pool5` leads from what the region pool gives to pool5: the convolutions for R-CNN, nothing for SPPNet."""
        super().__init__()
        self.to_pool5, self.tail = to_pool5, tail

    def forward(self, pooled: Tensor) -> Tensor:
        return torch.as_tensor(self.tail(self.to_pool5(pooled)))


class RegionNetwork(nn.Module):
    """The parts of a fine-tuned detector that features are taken from."""

    def __init__(
        self, preprocess: nn.Module, features: nn.Module, pool: RegionPool, tail: RegionTail, regions_at_once: int
    ) -> None:
        super().__init__()
        self.preprocess, self.features, self.pool, self.tail = preprocess, features, pool, tail
        self.regions_at_once = regions_at_once

    @torch.no_grad()
    def maps(self, batch: Batch) -> Features:
        """What is computed once an image; R-CNN: the images themselves."""
        images = self.preprocess(batch.images, batch.sizes).to(memory_format=torch.channels_last)
        features: Features = self.features(images)
        return features

    @torch.no_grad()
    def embed(self, features: Features, regions_R5: Tensor) -> RegionVectors:
        parts = [self._embed(features, part) for part in torch.split(regions_R5, self.regions_at_once)]
        return RegionVectors(torch.cat([p.pool5 for p in parts]), torch.cat([p.fc7 for p in parts]))

    def _embed(self, features: Features, regions_R5: Tensor) -> RegionVectors:
        pool5 = self.tail.to_pool5(self.pool(features, regions_R5).to(memory_format=torch.channels_last))
        return RegionVectors(pool5.flatten(1).float(), self.tail.tail(pool5).float())
