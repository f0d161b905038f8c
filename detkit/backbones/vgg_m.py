"""VGG_CNN_M_1024, "M" in the Fast R-CNN paper: the middle one of three (Chatfield et al. 2014, table 1), fc7 of 1024.

The layers are those of fast-rcnn's models/VGG_CNN_M_1024: conv1 and the poolings have no padding, response
normalisation works across channels, as in AlexNet. Weight files have Caffe's names: conv1.weight ... fc7.bias.
"""

from torch import nn

from detkit.backbones.backbone import Backbone
from detkit.backbones.vgg import VGGTail
from detkit.backbones.zfnet import caffe_backbone

CHANNELS = (96, 256, 512, 512, 512)  # of conv1 to conv5
POOL_SIZE = 6
STAGE_ENDS = (0, 4, 8, 10, 12, 14)  # how many modules are in no stage, in conv1, in conv1 and conv2, ...


def vgg_m(frozen_stages: int, fc_dim: int, fc7_dim: int, width: float, weights: str | None) -> Backbone:
    """VGG_CNN_M_1024 as a backbone; the first `frozen_stages` of conv1 ... conv5 are never trained.

    `width` is the fraction of the published channels. `weights`: the path of a state dict, or None for a random start.
    Raises ValueError when they do not fit.
    """
    channels = [max(1, round(count * width)) for count in CHANNELS]
    tail = VGGTail(channels[-1], POOL_SIZE, fc_dim, fc7_dim)
    # The first cell is centred on px 17.5, not 8, for lack of padding; fast-rcnn pools from it as if it were not, and
    # so do the published weights: the offset stays 0.
    num_frozen = STAGE_ENDS[frozen_stages]
    return caffe_backbone("VGG_CNN_M_1024", _layers(channels), num_frozen, tail, fc7_dim, POOL_SIZE, weights)


def _layers(channels: list[int]) -> list[tuple[str, nn.Module]]:
    conv1, conv2, conv3, conv4, conv5 = channels
    return [
        ("conv1", nn.Conv2d(3, conv1, kernel_size=7, stride=2)),
        ("relu1", nn.ReLU(inplace=True)),
        ("norm1", nn.LocalResponseNorm(size=5, alpha=5e-4, beta=0.75, k=2.0)),
        ("pool1", nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)),  # Caffe rounds up
        ("conv2", nn.Conv2d(conv1, conv2, kernel_size=5, stride=2, padding=1)),
        ("relu2", nn.ReLU(inplace=True)),
        ("norm2", nn.LocalResponseNorm(size=5, alpha=5e-4, beta=0.75, k=2.0)),
        ("pool2", nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)),
        ("conv3", nn.Conv2d(conv2, conv3, kernel_size=3, padding=1)),
        ("relu3", nn.ReLU(inplace=True)),
        ("conv4", nn.Conv2d(conv3, conv4, kernel_size=3, padding=1)),
        ("relu4", nn.ReLU(inplace=True)),
        ("conv5", nn.Conv2d(conv4, conv5, kernel_size=3, padding=1)),
        ("relu5", nn.ReLU(inplace=True)),
    ]
