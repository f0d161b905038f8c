"""VGG cut after conv5_3 (Simonyan and Zisserman 2015, table 1), as Fast R-CNN uses it: fc6 and fc7 are the tail.

Weight files have torchvision's names, features.N and classifier.N. `layout` says for which weights the network is:
torchvision's, or the published Caffe models, which read BGR minus a mean and whose pooling rounds odd sizes up.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.backbones.backbone import Backbone, caffe_bgr, imagenet_rgb
from detkit.backbones.chain import Chain
from detkit.backbones.weights import State, file_state, imagenet_state, load, no_imagenet, random_start, renamed

CHANNELS = (64, 128, 256, 512, 512)  # of conv1_x to conv5_x
Depth = Literal[11, 13, 16, 19]
CONVOLUTIONS: dict[Depth, tuple[int, ...]] = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}  # in each
POOL_SIZE = 7  # Fast R-CNN, section 2.1
FC_DIM = 4096
PIXEL_STD = 58.0  # of ImageNet, in the units of 0..255 that Caffe's networks read
TAIL_NAMES = {"classifier.0.": "tail.fc6.", "classifier.3.": "tail.fc7."}


class VGGTail(nn.Module):
    """fc6, fc7, each with ReLU and dropout: (R, C, P, P) -> (R, D)."""

    def __init__(self, in_channels: int, pool_size: int, dim: int, fc7_dim: int | None = None) -> None:
        """`fc7_dim`: None for as many as fc6 has."""
        super().__init__()
        self.fc6 = nn.Linear(in_channels * pool_size**2, dim)
        self.fc7 = nn.Linear(dim, fc7_dim or dim)
        self.dropout = nn.Dropout(0.5)

    def forward(self, regions_RCPP: Tensor) -> Tensor:
        fc6_RD = self.dropout(F.relu(self.fc6(regions_RCPP.flatten(1))))
        return torch.as_tensor(self.dropout(F.relu(self.fc7(fc6_RD))))


def vgg(
    depth: Depth,
    layout: Literal["torchvision", "caffe"],
    norm: Literal["none", "batch"],
    frozen_stages: int,
    fc_dim: int,
    width: float,
    weights: str | None,
) -> Backbone:
    """VGG-11, 13, 16 or 19 as a backbone.

    The first `frozen_stages` of conv1_x ... conv5_x are never trained (2 in Fast R-CNN, section 4.5). `width` is the
    fraction of the published channels. `weights`: "imagenet" (torchvision's, downloaded once), the path of a state dict
    with torchvision's names, or None for a random start. Raises ValueError when they cannot be had or do not fit.
    """
    channels = [max(1, round(count * width)) for count in CHANNELS]
    stages = [_stage(depth, stage, channels, norm, ceil_mode=layout == "caffe") for stage in range(len(channels))]
    layers = [layer for stage in stages for layer in stage]
    frozen = [layer for stage in stages[:frozen_stages] for layer in stage]
    features = Chain([(str(i), layer) for i, layer in enumerate(layers)], frozen)
    tail = VGGTail(channels[-1], POOL_SIZE, fc_dim)
    network = nn.ModuleDict({"features": features, "tail": tail})
    if weights is None:
        random_start(network, PIXEL_STD if layout == "caffe" else 1.0)
    else:
        published = layout == "torchvision" and width == 1 and fc_dim == FC_DIM
        state = _imagenet_state(depth, norm, published) if weights == "imagenet" else file_state(weights)
        load(network, renamed(state, TAIL_NAMES), weights, unused=("classifier.",))
    return Backbone(
        preprocess=caffe_bgr() if layout == "caffe" else imagenet_rgb(),
        features=features,
        tail=tail,
        stride=16,
        channels=channels[-1],
        pool_size=POOL_SIZE,
        tail_dim=fc_dim,
    )


def _stage(depth: Depth, stage: int, channels: list[int], norm: str, ceil_mode: bool) -> list[nn.Module]:
    """The layers of one stage in torchvision's order; the last stage is without its pooling, which regions replace."""
    layers: list[nn.Module] = []
    for i in range(CONVOLUTIONS[depth][stage]):
        before = channels[stage] if i else (channels[stage - 1] if stage else 3)
        layers.append(nn.Conv2d(before, channels[stage], kernel_size=3, padding=1))
        if norm == "batch":
            layers.append(nn.BatchNorm2d(channels[stage]))
        layers.append(nn.ReLU(inplace=True))
    if stage < len(channels) - 1:
        layers.append(nn.MaxPool2d(kernel_size=2, stride=2, ceil_mode=ceil_mode))
    return layers


def _imagenet_state(depth: int, norm: str, published: bool) -> State:
    if not published:
        raise no_imagenet("VGG of layout caffe or of other widths than the published ones")
    return imagenet_state(f"vgg{depth}_bn" if norm == "batch" else f"vgg{depth}")
