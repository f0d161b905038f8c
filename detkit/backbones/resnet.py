"""ResNet cut after conv4 (He et al. 2016, appendix A): conv1 to conv4_x are the features, conv5_x is the tail.

The network is torchvision's, so its weights and theirs have the same names: conv1, bn1, layer1 (conv2_x) to layer4
(conv5_x). `layout` says where a bottleneck halves the resolution: in its 3x3 convolution (torchvision) or in its first
1x1 (the published MSRA / Caffe models).
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

import torchvision
from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.ops import FrozenBatchNorm2d

from detkit.backbones.backbone import AveragedTail, Backbone, caffe_bgr, imagenet_rgb
from detkit.backbones.chain import Chain, first
from detkit.backbones.norms import Norm, norm_layer
from detkit.backbones.weights import State, file_state, imagenet_state, load, no_imagenet

Layout = Literal["torchvision", "msra"]
FirstPool = Literal["padded", "ceil"]
FEATURES = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3")
STAGE_ENDS = (0, 4, 5, 6, 7)  # of these, how many are in no stage, conv1, conv1 and conv2_x, ... through conv4_x


def resnet(
    depth: int, layout: Layout, norm: Norm, frozen_stages: int, weights: str | None, first_pool: FirstPool = "padded"
) -> Backbone:
    """A ResNet of 18, 34, 50, 101 or 152 layers as a backbone.

    `first_pool`: the pooling behind conv1 begins a cell before the map (torchvision), or with it and rounds its size up
    (Caffe's).

    `weights`: "imagenet" (torchvision's, downloaded once), the path of a state dict with torchvision's names, or None
    for a random start. Raises ValueError when they cannot be had or do not fit.
    """
    build: Callable[..., ResNet] = getattr(torchvision.models, f"resnet{depth}")
    network = build(norm_layer=norm_layer(norm))
    if layout == "msra":
        _stride_first(network)
    if first_pool == "ceil":
        network.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)
    if weights is not None:
        state = _imagenet_state(depth, layout, norm) if weights == "imagenet" else file_state(weights)
        load(network, state, weights, unused=("fc.",))
    elif norm == "frozen":
        _damp_residuals(network)
    chain = [(name, network.get_submodule(name)) for name in FEATURES]
    expansion = 4 if depth >= 50 else 1
    return Backbone(
        preprocess=caffe_bgr() if layout == "msra" else imagenet_rgb(),
        features=Chain(chain, first(chain, STAGE_ENDS[frozen_stages])),
        tail=AveragedTail(OrderedDict(layer4=network.layer4)),
        stride=16,
        channels=256 * expansion,
        pool_size=14,  # conv5_x halves it to 7
        tail_dim=512 * expansion,
    )


def _stride_first(network: ResNet) -> None:
    for block in network.modules():
        if isinstance(block, Bottleneck):
            block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride


def _damp_residuals(network: ResNet) -> None:
    """Scale the branch of each residual block by 1 / sqrt(blocks).

    Without ImageNet statistics a frozen norm does nothing, and each block would double the variance: 33 of them
    overflow. Scaled so, the whole network grows it by less than e.
    """
    blocks = [b for b in network.modules() if hasattr(b, "downsample") and hasattr(b, "bn2")]
    for block in blocks:
        last = block.bn3 if isinstance(block, Bottleneck) else block.bn2
        assert isinstance(last, FrozenBatchNorm2d)
        last.weight.fill_(len(blocks) ** -0.5)


def _imagenet_state(depth: int, layout: Layout, norm: Norm) -> State:
    if layout == "msra" or norm == "group":
        raise no_imagenet(f"layout {layout} with {norm} norm")
    return imagenet_state(f"resnet{depth}", "model.backbone.weights=null model.backbone.norm=group")
