"""From `model.backbone` to the network: the only place that matches on its `kind`."""

from dataclasses import replace
from pathlib import Path

import torch

from detkit.backbones.backbone import Backbone, Normalize
from detkit.backbones.preresnet import preresnet
from detkit.backbones.resnet import resnet
from detkit.backbones.timm_backbone import timm_backbone
from detkit.backbones.torchvision_backbone import torchvision_backbone
from detkit.backbones.vgg import vgg
from detkit.backbones.vgg_m import vgg_m
from detkit.backbones.zfnet import zfnet
from detkit.config.backbones import (
    VGG,
    VGGM,
    AnyBackbone,
    Pixels,
    PreResNet,
    ResNet,
    TimmBackbone,
    TorchvisionBackbone,
    ZFNet,
)
from detkit.engine.backbone_file import load_backbone, read_backbone


def build_backbone(section: AnyBackbone) -> Backbone:
    """The backbone with the weights the section names: published ones, a state dict, or those of a run of detkit."""
    name = section.weights
    weights = None if name is None or name == "imagenet" else read_backbone(Path(name))
    if name is None or weights is None:
        return _network(section)
    backbone = _network(section.model_copy(update={"weights": None}))
    load_backbone(backbone, weights, name)
    return backbone


def shape_of(section: AnyBackbone) -> Backbone:
    """The backbone without its weights, quickly: for its numbers. How timm's are cut is found by running them."""
    with torch.device("cpu" if isinstance(section, TimmBackbone) else "meta"):
        return _network(section.model_copy(update={"weights": None}))


def _network(section: AnyBackbone) -> Backbone:
    s = section
    match s:
        case ResNet():
            return _with_pixels(resnet(s.depth, s.layout, s.norm, s.frozen_stages, s.weights, s.first_pool), s.pixels)
        case VGG():
            network = vgg(s.depth, s.layout, s.norm, s.frozen_stages, s.fc_dim, s.width, s.weights)
            return _with_pixels(network, s.pixels)
        case ZFNet():
            return _with_pixels(zfnet(s.frozen_stages, s.fc_dim, s.width, s.weights), s.pixels)
        case VGGM():
            return vgg_m(s.frozen_stages, s.fc_dim, s.fc7_dim, s.width, s.weights)
        case PreResNet():
            return preresnet(s.depth, s.norm, s.frozen_stages, s.weights)
        case TimmBackbone():
            return timm_backbone(s.name, s.weights, s.norm, s.frozen_stages, s.fc_dim)
        case TorchvisionBackbone():
            return torchvision_backbone(s.name, s.weights, s.norm, s.frozen_stages)


def _with_pixels(backbone: Backbone, pixels: Pixels | None) -> Backbone:
    if pixels is None:
        return backbone
    return replace(backbone, preprocess=Normalize(pixels.mean, pixels.std, bgr=pixels.order == "bgr"))


def check_tail(section: AnyBackbone, size: int) -> None:
    """Raises ValueError unless the backbone's own tail takes regions of `size` cells a side, as conv5 does."""
    backbone = shape_of(section)
    try:
        device = next(backbone.tail.parameters()).device
        backbone.tail.eval()(torch.zeros(1, backbone.channels, size, size, device=device))
    except RuntimeError:
        raise ValueError(
            f"the fully connected layers of {section.kind} take regions of {backbone.pool_size} x {backbone.pool_size} "
            f"cells, not {size} x {size}: leave out the pool's size, or give the detector layers of its own (model.noc)"
        ) from None
