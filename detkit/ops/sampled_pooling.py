"""The two region poolings of faster-rcnn.pytorch that no other system has: bilinear samples on a grid of its own.

In both, cells have their centres at whole coordinates, and a region reaches from its first px to the last inside.
Shapes as in pooling.py: R regions, C channels, P cells a side; G samples a side.
"""

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from detkit.ops.pooling import one_map, shifted, to_last_px
from detkit.structures import Features


class RoICrop(nn.Module):
    """Samples from edge to edge of the region, the outermost on its edges: `crop` there, a spatial transformer.

    Outside the feature map there is 0, towards which its outermost cells fade.
    """

    def __init__(self, size: int, stride: int, max_pool: bool, offset: float = 0.0) -> None:
        """`size` P cells a side; `max_pool`: the largest of 2 x 2 samples in each cell, instead of one sample."""
        super().__init__()
        self.size, self.cells, self.stride, self.offset = size, size * size, stride, offset
        self.max_pool = max_pool

    def forward(self, features: Features, regions_R5: Tensor) -> Tensor:
        framed = F.pad(one_map(features), (1, 1, 1, 1))  # roi_align repeats the outermost cell for one cell more
        first, last = _corners(regions_R5, self.stride, self.offset)
        count = 2 * self.size if self.max_pool else self.size
        if count == 1:
            first = last = (first + last) / 2
        step = (last - first) / max(count - 1, 1)
        samples_RCGG = _sample(framed, regions_R5[:, :1], first + 1, step, count)
        return F.max_pool2d(samples_RCGG, 2) if self.max_pool else samples_RCGG


class CornerAlign(nn.Module):
    """The mean of four samples in each bin, taken at its corners: `align` on the master branch there.

    Bins divide the region's length and one cell more. Up to a cell beyond the middles of the last row and column their
    values go on as between the last two; further out, and before the first ones, there is 0.
    """

    def __init__(self, size: int, stride: int, offset: float = 0.0) -> None:
        """`size` P cells a side."""
        super().__init__()
        self.size, self.cells, self.stride, self.offset = size, size * size, stride, offset

    def forward(self, features: Features, regions_R5: Tensor) -> Tensor:
        feature_map = one_map(features)
        first, last = _corners(regions_R5, self.stride, self.offset)
        step = (last - first + 1).clamp(min=0) / self.size
        count = self.size + 1
        samples_RCGG = _sample(_continued(feature_map), regions_R5[:, :1], first, step, count)
        index = torch.arange(count, device=first.device)
        x, y = (first[:, i, None] + index * step[:, i, None] for i in (0, 1))  # (R, G) each
        in_x, in_y = (x >= 0) & (x < feature_map.shape[3]), (y >= 0) & (y < feature_map.shape[2])
        inside_R1GG = (in_y[:, :, None] & in_x[:, None, :])[:, None]
        return F.avg_pool2d(samples_RCGG * inside_R1GG, kernel_size=2, stride=1)


def _corners(regions_R5: Tensor, stride: int, offset: float) -> tuple[Tensor, Tensor]:
    """x, y of the first and the last px of each region, (R, 2) each, in cells."""
    cells = to_last_px(shifted(regions_R5, offset))[:, 1:] / stride
    return cells[:, :2], cells[:, 2:]


def _sample(feature_map: Tensor, image_R1: Tensor, first: Tensor, step: Tensor, count: int) -> Tensor:
    """Bilinear values at first + i * step (R, 2) cells, i < count, along x and along y: (R, C, count, count).

    They are the middles of as many bins of RoIAlign, one sample in each; its cells' middles are at half coordinates.
    """
    low = first - step / 2 + 0.5
    regions = torch.cat([image_R1, low, low + count * step], dim=1)
    return torch.as_tensor(torchvision.ops.roi_align(feature_map, regions, count, 1.0, 1, aligned=True))


def _continued(feature_map: Tensor) -> Tensor:
    """With one more row and column, as far from the last as that is from the one before it; none where it is alone."""
    rows = torch.cat([feature_map, 2 * feature_map[:, :, -1:] - feature_map[:, :, -2:-1]], dim=2)
    return torch.cat([rows, 2 * rows[..., -1:] - rows[..., -2:-1]], dim=3)
