"""Region pooling: a piece of fixed size for every region, cut from what was computed once an image.

R regions of the batch, C channels, P cells a side. A region is (image index, x1, y1, x2, y2), its box in px of the
batch's images; px x lies at (x - offset) / stride of the feature map (backbones/backbone.py).
"""

import math
from collections.abc import Sequence
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from detkit.ops import boxes as box_ops
from detkit.structures import Features, Pyramid

Combine = Literal["nearest", "maxout"]
Rounds = Literal["last_px", "corner"]
PixelCenters = Literal["half", "integer"]


class RegionPool(Protocol):
    """features (B, C, H, W) and regions (R, 5) -> (R, C, P, P); the pyramid pool gives (R, C, cells, 1)."""

    cells: int  # numbers a channel: P * P

    def __call__(self, features: Features, regions_R5: Tensor) -> Tensor: ...


def as_regions(boxes: Sequence[Tensor]) -> Tensor:
    """The boxes (N_i, 4) of each image as one (R, 5) tensor whose first column is the image's index."""
    return torch.cat([torch.cat([b.new_full((len(b), 1), i), b], dim=1) for i, b in enumerate(boxes)])


class RoIMaxPool(nn.Module):
    """RoI max pooling (Fast R-CNN, section 2.1), its rounding as in the published Caffe code."""

    def __init__(self, size: int, stride: int, offset: float = 0.0, rounds: Rounds = "last_px") -> None:
        """`rounds`: of x2, y2 the last px inside, as the Caffe code does, or the corner (simple-faster-rcnn)."""
        super().__init__()
        self.size, self.cells, self.stride, self.offset = size, size * size, stride, offset
        self.rounds = rounds

    def forward(self, features: Features, regions_R5: Tensor) -> Tensor:
        regions = shifted(regions_R5, self.offset)
        if self.rounds == "last_px":
            regions = to_last_px(regions)
        return _max_pooled(one_map(features), regions, self.size, 1 / self.stride)


class RoIAlign(nn.Module):
    """RoIAlign (Mask R-CNN, section 3): bilinear samples, no rounding."""

    def __init__(
        self, size: int, stride: int, sampling: int, offset: float = 0.0, pixel_centers: PixelCenters = "half"
    ) -> None:
        """`pixel_centers`: where they lie, at half coordinates, or at whole ones, as maskrcnn-benchmark has it.

        There a box reaches from the centre of its first px to that of its last, and covers a cell at least.
        """
        super().__init__()
        self.size, self.cells, self.stride, self.offset = size, size * size, stride, offset
        self.sampling, self.pixel_centers = sampling, pixel_centers

    def forward(self, features: Features, regions_R5: Tensor) -> Tensor:
        is_half = self.pixel_centers == "half"
        regions = shifted(regions_R5, self.offset) if is_half else to_last_px(shifted(regions_R5, self.offset))
        pooled = torchvision.ops.roi_align(
            one_map(features), regions, self.size, 1 / self.stride, self.sampling or -1, aligned=is_half
        )
        return torch.as_tensor(pooled)


class WarpedCrop(nn.Module):
    """The image itself under each box, warped to a square with some context around it (R-CNN, appendix A).

    Its features are the preprocessed images, where what lies outside an image is 0, the mean: as in the paper.
    Pieces larger than the crop are averaged, smaller ones interpolated.
    """

    def __init__(self, side: int, context: int) -> None:
        """`side` of the crop and the `context` on each side of the box in it, both in px of the crop."""
        super().__init__()
        self.side, self.cells, self.growth = side, side * side, side / (side - 2 * context)

    def forward(self, features: Features, regions_R5: Tensor) -> Tensor:
        images = F.pad(one_map(features), (1, 1, 1, 1))  # for a pixel beyond its map roi_align repeats the last one
        center = (regions_R5[:, 1:3] + regions_R5[:, 3:]) / 2 + 1
        half = (regions_R5[:, 3:] - regions_R5[:, 1:3]) / 2 * self.growth
        regions = torch.cat([regions_R5[:, :1], center - half, center + half], dim=1)
        return torch.as_tensor(torchvision.ops.roi_align(images, regions, self.side, 1.0, -1, aligned=True))


class PyramidPool(nn.Module):
    """Spatial pyramid pooling of regions (SPPNet, section 2.2 and appendix A): the maximum in each bin of each level.

    A box covers the cells from floor(x1 / S) + 1 to ceil(x2 / S) - 1, both inside, as the paper states it; a box that
    would cover none gets the cell at its centre.
    """

    def __init__(self, levels: Sequence[int], stride: int, offset: float = 0.0) -> None:
        """`levels`: bins a side of each level, (6, 3, 2, 1) in the paper."""
        super().__init__()
        self.levels, self.stride, self.offset = tuple(levels), stride, offset
        self.cells = sum(level * level for level in levels)

    def forward(self, features: Features, regions_R5: Tensor) -> Tensor:
        feature_map = one_map(features)
        cells = self._covered(regions_R5, feature_map)
        pooled = [_max_pooled(feature_map, cells, level, 1.0).flatten(2) for level in self.levels]
        return torch.cat(pooled, dim=2)[..., None]

    def _covered(self, regions_R5: Tensor, feature_map: Tensor) -> Tensor:
        """First and last cell of each box (R, 5): index of the image, then x, y, x, y."""
        boxes = (regions_R5[:, 1:] - self.offset) / self.stride
        first, last = boxes[:, :2].floor() + 1, boxes[:, 2:].ceil() - 1
        middle = ((boxes[:, :2] + boxes[:, 2:]) / 2).floor()
        is_empty = last < first
        limit = boxes.new_tensor([feature_map.shape[3] - 1, feature_map.shape[2] - 1])
        first = torch.minimum(torch.where(is_empty, middle, first), limit).clamp(min=0)
        last = torch.minimum(torch.where(is_empty, middle, last), limit).clamp(min=0)
        return torch.cat([regions_R5[:, :1], first, last], dim=1)


def _max_pooled(feature_map: Tensor, regions_R5: Tensor, size: int, scale: float) -> Tensor:
    """roi_pool in the regions' type, the only one it takes on a CPU: autocast gives maps in bfloat16. (R, C, P, P)"""
    pooled = torchvision.ops.roi_pool(feature_map.to(regions_R5.dtype), regions_R5, size, scale)
    return torch.as_tensor(pooled).to(feature_map.dtype)


class PyramidLevels(nn.Module):
    """Pools each region from the feature map of the image size at which it is nearest `region_side` px.

    "nearest": from that one map (SPPNet, section 4.1). "maxout": from the two adjacent maps around it, of which the
    larger value is taken element by element (NoC, section 3.3).
    """

    def __init__(self, pool: RegionPool, combine: Combine, region_side: float) -> None:
        super().__init__()
        self.pool, self.cells = pool, pool.cells
        self.combine, self.region_side = combine, region_side

    def forward(self, features: Features, regions_R5: Tensor) -> Tensor:
        assert isinstance(features, Pyramid)
        side = box_ops.area(regions_R5[:, 1:]).clamp(min=1).sqrt()  # (R,) px
        factors = torch.tensor(features.factors, device=side.device)
        sides = side[:, None] * factors  # (R, S)
        if self.combine == "nearest" or len(factors) == 1:
            return self._pool_each(features, regions_R5, (sides**2 - self.region_side**2).abs().argmin(dim=1))
        # The pair of neighbours whose geometric mean comes nearest: the two that the wanted size lies between.
        between = (sides[:, :-1] * sides[:, 1:]).log() - 2 * math.log(self.region_side)
        lower = between.abs().argmin(dim=1)
        return torch.maximum(
            self._pool_each(features, regions_R5, lower), self._pool_each(features, regions_R5, lower + 1)
        )

    def _pool_each(self, features: Pyramid, regions_R5: Tensor, level: Tensor) -> Tensor:
        """Regions pooled at their `level` (R,), in the order given."""
        parts, places = [], []
        for i, (feature_map, factor) in enumerate(zip(features.maps, features.factors, strict=True)):
            here = (level == i).nonzero().flatten()
            scaled = torch.cat([regions_R5[here, :1], regions_R5[here, 1:] * factor], dim=1)
            parts.append(self.pool(feature_map, scaled))
            places.append(here)
        return torch.cat(parts)[torch.cat(places).argsort()]


def shifted(regions_R5: Tensor, offset: float) -> Tensor:
    """The regions seen from where the first cell begins, `offset` px into the image."""
    return regions_R5 - regions_R5.new_tensor([0, offset, offset, offset, offset]) if offset else regions_R5


def to_last_px(regions_R5: Tensor) -> Tensor:
    """Regions whose x2, y2 are the last pixel inside, as in Caffe's code, where detkit's are the first one outside."""
    return regions_R5 - regions_R5.new_tensor([0, 0, 0, 1, 1])


def one_map(features: Features) -> Tensor:
    """The features of a detector that looks at images in one size."""
    assert isinstance(features, Tensor)
    return features
