"""Pre-activation ResNet cut after conv4 (He et al. 2016b, figure 1b): norm and ReLU come before each convolution.

conv1 to conv4_x are the features, conv5_x with the last norm is the tail. Names are those of timm's resnetv2, whose
weight files fit: stem.conv, stages.0 (conv2_x) to stages.3 (conv5_x), norm. The 3x3 convolution has the stride.
"""

from collections import OrderedDict
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.backbones.backbone import AveragedTail, Backbone, half_rgb
from detkit.backbones.chain import Chain, first
from detkit.backbones.norms import Norm, norm_layer
from detkit.backbones.weights import file_state, load, no_imagenet, random_start

BLOCKS = {  # in conv2_x to conv5_x
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
WIDTHS = (64, 128, 256, 512)  # of the 3x3 convolutions; a bottleneck puts out four times as many
NormLayer = Callable[[int], nn.Module]


class Projection(nn.Module):
    """The shortcut where size or channels change: a 1x1 convolution."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel_size=1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.conv(x))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, of the networks below 50 layers."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, norm: NormLayer) -> None:
        super().__init__()
        self.norm1 = norm(in_channels)
        self.conv1 = nn.Conv2d(in_channels, width, kernel_size=3, stride=stride, padding=1, bias=False)
        self.norm2 = norm(width)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False)
        changes = stride != 1 or in_channels != width
        self.downsample = Projection(in_channels, width, stride) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.norm1(x))
        shortcut = x if self.downsample is None else self.downsample(active)
        return torch.as_tensor(shortcut + self.conv2(F.relu(self.norm2(self.conv1(active)))))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution, of the networks of 50 layers and more."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, norm: NormLayer) -> None:
        super().__init__()
        channels = width * self.expansion
        self.norm1 = norm(in_channels)
        self.conv1 = nn.Conv2d(in_channels, width, kernel_size=1, bias=False)
        self.norm2 = norm(width)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, stride=stride, padding=1, bias=False)
        self.norm3 = norm(width)
        self.conv3 = nn.Conv2d(width, channels, kernel_size=1, bias=False)
        changes = stride != 1 or in_channels != channels
        self.downsample = Projection(in_channels, channels, stride) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.norm1(x))
        shortcut = x if self.downsample is None else self.downsample(active)
        narrow = self.conv2(F.relu(self.norm2(self.conv1(active))))
        return torch.as_tensor(shortcut + self.conv3(F.relu(self.norm3(narrow))))


def preresnet(depth: int, norm: Norm, frozen_stages: int, weights: str | None) -> Backbone:
    """A pre-activation ResNet of 18, 34, 50, 101, 152 or 200 layers as a backbone.

    The first `frozen_stages` of conv1, conv2_x, conv3_x, conv4_x are never trained. `weights`: the path of a state dict
    with the names of timm's resnetv2, or None for a random start. Raises ValueError when they do not fit.
    """
    block = BasicBlock if depth < 50 else Bottleneck
    channels = [64] + [width * block.expansion for width in WIDTHS]
    stem = nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(3, channels[0], kernel_size=7, stride=2, padding=3, bias=False),
            pool=nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
        )
    )
    stages = [_stage(block, BLOCKS[depth][i], channels[i], WIDTHS[i], 2 if i else 1, norm) for i in range(4)]
    last_norm = norm_layer(norm)(channels[-1])
    network = nn.ModuleDict({"stem": stem, "stages": nn.Sequential(*stages), "norm": last_norm})
    if weights is None:
        random_start(network)
        _damp_residuals(network)
    elif weights == "imagenet":
        raise no_imagenet(
            "pre-activation ResNets",
            "take model.backbone.kind=timm model.backbone.name=resnetv2_50, give a file",
        )
    else:
        load(network, file_state(weights), weights, unused=("head.",))
    chain = list(zip(("stem", "stage1", "stage2", "stage3"), [stem, *stages[:3]], strict=True))
    return Backbone(
        preprocess=half_rgb(),
        features=Chain(chain, first(chain, frozen_stages)),
        tail=AveragedTail(OrderedDict(stage=stages[3], norm=last_norm, relu=nn.ReLU())),
        stride=16,
        channels=channels[3],
        pool_size=14,  # conv5_x halves it to 7
        tail_dim=channels[4],
    )


def _stage(
    block: type[BasicBlock] | type[Bottleneck], count: int, in_channels: int, width: int, stride: int, norm: Norm
) -> nn.Sequential:
    layer = norm_layer(norm)
    first = block(in_channels, width, stride, layer)
    others = [block(width * block.expansion, width, 1, layer) for _ in range(count - 1)]
    return nn.Sequential(OrderedDict(blocks=nn.Sequential(first, *others)))


def _damp_residuals(network: nn.Module) -> None:
    """Scale the last convolution of each block by 1 / sqrt(blocks), so that their sum does not grow with the depth."""
    blocks = [block for block in network.modules() if isinstance(block, BasicBlock | Bottleneck)]
    for block in blocks:
        last = block.conv3 if isinstance(block, Bottleneck) else block.conv2
        last.weight.data /= len(blocks) ** 0.5
