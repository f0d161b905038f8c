"""ResNet cut after conv4 (He et al. 2016, appendix A): conv1 to conv4_x are the features, conv5_x is the tail.

The network is torchvision's, so its weights and theirs have the same names: conv1, bn1, layer1 (conv2_x) to layer4
(conv5_x). `layout` says where a bottleneck halves the resolution: in its 3x3 convolution (torchvision) or in its first
1x1 (the published MSRA / Caffe models).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal
from urllib.error import URLError

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.ops import FrozenBatchNorm2d

from detkit.backbones.backbone import Backbone
from detkit.backbones.preprocess import caffe_bgr, imagenet_rgb

Layout = Literal["torchvision", "msra"]
Norm = Literal["frozen", "batch", "group"]
GROUPS = 32  # Group Normalization, section 3


class ResNetFeatures(nn.Module):
    """conv1 to conv4_x: images (B, 3, H, W) -> (B, channels, ceil(H / 16), ceil(W / 16))."""

    def __init__(self, network: ResNet, frozen_stages: int) -> None:
        """The first `frozen_stages` of conv1, conv2_x, conv3_x, conv4_x are never trained."""
        super().__init__()
        self.conv1, self.bn1, self.relu, self.maxpool = network.conv1, network.bn1, network.relu, network.maxpool
        self.layer1, self.layer2, self.layer3 = network.layer1, network.layer2, network.layer3
        stages = [(self.conv1, self.bn1), (self.layer1,), (self.layer2,), (self.layer3,)]
        self._frozen = [module for stage in stages[:frozen_stages] for module in stage]
        for module in self._frozen:
            module.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:
        conv1 = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        return torch.as_tensor(self.layer3(self.layer2(self.layer1(conv1))))

    def train(self, mode: bool = True) -> "ResNetFeatures":
        super().train(mode)
        for module in self._frozen:
            module.eval()  # the running statistics of a frozen stage stay what they are, too
        return self


class ResNetTail(nn.Module):
    """conv5_x and average pooling: (R, C, P, P) -> (R, D)."""

    def __init__(self, network: ResNet) -> None:
        super().__init__()
        self.layer4 = network.layer4

    def forward(self, regions_RCPP: Tensor) -> Tensor:
        return torch.as_tensor(self.layer4(regions_RCPP).mean(dim=(2, 3)))


def resnet(depth: int, layout: Layout, norm: Norm, frozen_stages: int, weights: str | None) -> Backbone:
    """A ResNet of 18, 34, 50, 101 or 152 layers as a backbone.

    `weights`: "imagenet" (torchvision's, downloaded once), the path of a state dict with torchvision's names, or None
    for a random start. Raises ValueError when they cannot be had or do not fit.
    """
    build: Callable[..., ResNet] = getattr(torchvision.models, f"resnet{depth}")
    network = build(norm_layer=_norm_layer(norm))
    if layout == "msra":
        _stride_first(network)
    if weights is not None:
        _load(network, _imagenet_state(depth, layout, norm) if weights == "imagenet" else _file_state(weights), weights)
    elif norm == "frozen":
        _damp_residuals(network)
    expansion = 4 if depth >= 50 else 1
    return Backbone(
        preprocess=caffe_bgr() if layout == "msra" else imagenet_rgb(),
        features=ResNetFeatures(network, frozen_stages),
        tail=ResNetTail(network),
        stride=16,
        channels=256 * expansion,
        pool_size=14,  # conv5_x halves it to 7
        tail_dim=512 * expansion,
    )


def _norm_layer(norm: Norm) -> Callable[[int], nn.Module]:
    match norm:
        case "frozen":
            frozen: Callable[[int], nn.Module] = FrozenBatchNorm2d
            return frozen
        case "batch":
            return nn.BatchNorm2d
        case "group":
            return lambda channels: nn.GroupNorm(GROUPS, channels)


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


def _imagenet_state(depth: int, layout: Layout, norm: Norm) -> dict[str, Tensor]:
    if layout == "msra" or norm == "group":
        raise ValueError(
            f"weights: imagenet are torchvision's, which has none for layout {layout} with {norm} norm: "
            "give the path of a state dict, or null to train from scratch"
        )
    weights = torchvision.models.get_model_weights(f"resnet{depth}")["IMAGENET1K_V1"]
    try:
        return dict(weights.get_state_dict(progress=True, check_hash=True))
    except (URLError, OSError, RuntimeError) as error:
        raise ValueError(
            f"the ImageNet weights of resnet{depth} could not be downloaded from {weights.url} ({error}): fetch that "
            "file elsewhere and set model.backbone.weights=FILE, or train from scratch with "
            "model.backbone.weights=null model.backbone.norm=group"
        ) from error


def _file_state(path: str) -> dict[str, Tensor]:
    if not Path(path).is_file():
        raise ValueError(f"model.backbone.weights: no file {path}; allowed are a file, imagenet or null")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises errors of many kinds for a file that is not its own
        raise ValueError(f"{path}: not a state dict that torch can read safely ({type(error).__name__})") from error
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise ValueError(f"{path}: expected a dict of tensors by name, as torch.save(model.state_dict()) writes it")
    return state


def _load(network: ResNet, state: dict[str, Tensor], source: str) -> None:
    """Load all but the classifier `fc`, strictly; counters of batch norm that a frozen norm lacks do not matter."""
    own = network.state_dict()
    state = {k: v for k, v in state.items() if not k.startswith("fc.") and not k.endswith("num_batches_tracked")}
    missing = [k for k in own if k not in state and not k.startswith("fc.") and not k.endswith("num_batches_tracked")]
    unknown = [k for k in state if k not in own]
    misfit = [k for k in state if k in own and state[k].shape != own[k].shape]
    if missing or unknown or misfit:
        raise ValueError(
            f"{source}: not the weights of this network: {len(missing)} missing {missing[:3]}, "
            f"{len(unknown)} unknown {unknown[:3]}, {len(misfit)} of another shape {misfit[:3]}"
        )
    network.load_state_dict(state, strict=False)
