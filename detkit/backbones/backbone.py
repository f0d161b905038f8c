"""What a backbone is to a detector: four modules' worth of network and the numbers that describe their shapes."""

from dataclasses import dataclass

from torch import nn


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
