"""ZF, the fast network of SPPNet ("ZF-5"), Fast and Faster R-CNN (Zeiler and Fergus 2014), cut after conv5.

The layers are those of py-faster-rcnn's models/pascal_voc/ZF and of SPP_net's ZF model: every layer is padded, so that
the map begins with the image, and response normalisation works within a channel, over 3x3 neighbours - not across
channels as in AlexNet. Weight files have Caffe's names: conv1.weight ... conv5.bias, fc6.weight ... fc7.bias.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from detkit.backbones.backbone import Backbone, caffe_bgr
from detkit.backbones.chain import Chain, first
from detkit.backbones.vgg import PIXEL_STD, VGGTail
from detkit.backbones.weights import file_state, load, no_imagenet, random_start, renamed

CHANNELS = (96, 256, 384, 384, 256)  # of conv1 to conv5
POOL_SIZE = 6
STAGE_ENDS = (0, 4, 8, 10, 12, 14)  # how many modules are in no stage, in conv1, in conv1 and conv2, ...


class WithinChannelNorm(nn.Module):
    """Each value over (1 + alpha * mean of the squares of its 3x3 neighbours) ** beta; beyond the border they are 0."""

    def __init__(self, alpha: float = 5e-5, beta: float = 0.75) -> None:
        super().__init__()
        self.alpha, self.beta = alpha, beta

    def forward(self, x_BCHW: Tensor) -> Tensor:
        mean_square = F.avg_pool2d(x_BCHW.square(), kernel_size=3, stride=1, padding=1)
        return x_BCHW * (1 + self.alpha * mean_square) ** -self.beta


def zfnet(frozen_stages: int, fc_dim: int, width: float, weights: str | None) -> Backbone:
    """ZF as a backbone; the first `frozen_stages` of conv1 ... conv5 are never trained.

    `width` is the fraction of the published channels. `weights`: the path of a state dict, or None for a random start.
    Raises ValueError when they do not fit.
    """
    channels = [max(1, round(count * width)) for count in CHANNELS]
    tail = VGGTail(channels[-1], POOL_SIZE, fc_dim)
    return caffe_backbone("ZF", _layers(channels), STAGE_ENDS[frozen_stages], tail, fc_dim, POOL_SIZE, weights)


def caffe_backbone(
    name: str,
    layers: list[tuple[str, nn.Module]],
    num_frozen: int,
    tail: VGGTail,
    tail_dim: int,
    pool_size: int,
    weights: str | None,
) -> Backbone:
    """Caffe's conv1 ... conv5, fc6 and fc7 of stride 16: the first `num_frozen` of the layers are never trained.

    `weights`: the path of a state dict with Caffe's names, or None for a random start; ValueError when they do not fit.
    """
    features = Chain(layers, first(layers, num_frozen))
    network = nn.ModuleDict({"features": features, "tail": tail})
    if weights is None:
        random_start(network, PIXEL_STD)
    elif weights == "imagenet":
        raise no_imagenet(name)
    else:
        state = renamed(file_state(weights), {"conv": "features.conv", "fc": "tail.fc"})
        load(network, state, weights, unused=("tail.fc8.",))
    return Backbone(
        preprocess=caffe_bgr(),
        features=features,
        tail=tail,
        stride=16,
        channels=tail.fc6.in_features // pool_size**2,
        pool_size=pool_size,
        tail_dim=tail_dim,
    )


def _layers(channels: list[int]) -> list[tuple[str, nn.Module]]:
    conv1, conv2, conv3, conv4, conv5 = channels
    return [
        ("conv1", nn.Conv2d(3, conv1, kernel_size=7, stride=2, padding=3)),
        ("relu1", nn.ReLU(inplace=True)),
        ("norm1", WithinChannelNorm()),
        ("pool1", nn.MaxPool2d(kernel_size=3, stride=2, padding=1, ceil_mode=True)),  # Caffe rounds up
        ("conv2", nn.Conv2d(conv1, conv2, kernel_size=5, stride=2, padding=2)),
        ("relu2", nn.ReLU(inplace=True)),
        ("norm2", WithinChannelNorm()),
        ("pool2", nn.MaxPool2d(kernel_size=3, stride=2, padding=1, ceil_mode=True)),
        ("conv3", nn.Conv2d(conv2, conv3, kernel_size=3, padding=1)),
        ("relu3", nn.ReLU(inplace=True)),
        ("conv4", nn.Conv2d(conv3, conv4, kernel_size=3, padding=1)),
        ("relu4", nn.ReLU(inplace=True)),
        ("conv5", nn.Conv2d(conv4, conv5, kernel_size=3, padding=1)),
        ("relu5", nn.ReLU(inplace=True)),
    ]
