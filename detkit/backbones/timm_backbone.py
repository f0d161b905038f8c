"""Any network of timm that has a map of stride 16 and is a chain of modules: Inception, DenseNet, Xception, SENet, ...

The chain is found by trying: the network's children, containers unrolled, are run one after another until the result
is that of the network itself. The last map of stride 16 ends the features; what follows is the tail. Where nothing
does (ViT), the tail is two fully connected layers; VGG has its own.
"""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from detkit.backbones.backbone import Backbone, Normalize
from detkit.backbones.chain import Chain, Named, first
from detkit.backbones.grid import Grid, GridTracer, frozen_modules
from detkit.backbones.norms import batch_norms, calibrate
from detkit.backbones.vgg import VGGTail
from detkit.backbones.weights import file_state, load

STRIDE = 16
CONV_POOL_SIZE = 14  # a tail of convolutions halves it to 7, as in ResNet
FC_POOL_SIZE = 7
PROBE_SIZE = (129, 165)  # px; odd at every stride, and large enough for Inception
CAN_BE_CUT = (
    "ResNet and its kin (resnet*, resnetv2*, wide_resnet*, resnext*, seresnet*, legacy_se*), vgg*, inception_v3, "
    "inception_v4, inception_resnet_v2, densenet*, xception*, vit_*_patch16_*, coatnet_0_rw_224"
)


@dataclass(frozen=True)
class Step:
    """A module of the chain and what comes out of it."""

    name: str
    module: nn.Module
    shape: torch.Size
    grid: Grid


def timm_backbone(
    name: str,
    weights: str | None,
    norm: Literal["frozen", "batch"] = "frozen",
    frozen_stages: int = 0,
    fc_dim: int = 1024,
) -> Backbone:
    """The network that timm calls `name` as a backbone, its preprocessing that of timm's weights.

    `weights`: "imagenet" (timm's, downloaded once), the path of a state dict with timm's names, or None for a random
    start. `norm`: whether batch norms keep their statistics (those of noise, after a random start) or are trained.
    `frozen_stages`: what works at stride 2 (1), at 4 (2), 8 (3), 16 (4), and before it, is never trained. `fc_dim`: of
    the two fully connected layers of a network that has no tail. Raises ValueError when timm is not installed or has no
    such network, when the network cannot be cut, and when the weights cannot be had or do not fit.
    """
    network = _network(name, weights)
    image = torch.randn(1, 3, *PROBE_SIZE)
    _check_size(name, network, image)
    if weights is None and norm == "frozen":
        calibrate(network, *PROBE_SIZE)
    steps = _steps(name, network.eval(), image)
    network.train()
    end = _end_of_features(name, steps)
    channels, grid = steps[end - 1].shape[1], steps[end - 1].grid
    chain = [(step.name, step.module) for step in steps]
    norms = batch_norms(network) if norm == "frozen" else []
    frozen = first(chain[:end], frozen_modules([step.grid for step in steps[:end]], frozen_stages))
    tail, pool_size = _tail(network, chain[end:], channels, fc_dim, norms)
    config = network.pretrained_cfg
    return Backbone(
        preprocess=Normalize([255 * mean for mean in config["mean"]], [255 * std for std in config["std"]]),
        features=Chain(chain[:end], frozen + norms),
        tail=tail,
        stride=STRIDE,
        channels=channels,
        pool_size=pool_size,
        tail_dim=_tail_dim(tail, channels, pool_size),
        offset=grid.offset,
    )


def _network(name: str, weights: str | None) -> Any:  # attributes of timm's networks are beyond a type checker
    """timm's network without its classifier, with its weights, able to take images of any size if it can be."""
    try:
        import timm
    except ImportError as error:
        raise ValueError(f"model.backbone.name: {name} needs timm: pip install 'detkit[timm]'") from error
    from detkit.backbones.timm_sizes import take_any_size

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=4)
        raise ValueError(f"model.backbone.name: timm {timm.__version__} has no {name}; near it are {near or 'none'}")
    is_vit = timm.models.is_model_in_modules(name, ["vision_transformer"])
    any_size: dict[str, Any] = {"dynamic_img_size": True, "dynamic_img_pad": True} if is_vit else {}
    try:
        network: Any = timm.create_model(name, pretrained=weights == "imagenet", num_classes=0, **any_size)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"the ImageNet weights of timm's {name} could not be had ({error}): fetch them elsewhere and set "
            "model.backbone.weights=FILE, or train from scratch with model.backbone.weights=null"
        ) from error
    if weights not in (None, "imagenet"):
        classifier = network.pretrained_cfg["classifier"]
        names = (classifier,) if isinstance(classifier, str) else tuple(classifier)
        load(network, file_state(str(weights)), str(weights), unused=(*(f"{n}." for n in names), "AuxLogits."))
    take_any_size(network)
    return network


@torch.no_grad()
def _check_size(name: str, network: Any, image: Tensor) -> None:
    try:
        network.eval().forward_features(image)
    except (RuntimeError, ValueError, AssertionError) as error:
        size = " x ".join(str(side) for side in network.pretrained_cfg["input_size"][1:])
        raise _cannot(name, f"does not take images of any size, only of {size} px or the like ({error})") from error


def _steps(name: str, network: Any, image: Tensor) -> list[Step]:
    """The modules that `image` runs through, one after another, up to the pooling and classifier."""
    from timm.models.vision_transformer import VisionTransformer

    from detkit.backbones.timm_sizes import PatchMap

    is_vit = isinstance(network, VisionTransformer)
    parts = [("vit", PatchMap(network))] if is_vit else list(_unrolled(network))
    steps, end = [], 0
    tracer = GridTracer(image)
    with torch.no_grad():
        goal = PatchMap(network)(image) if is_vit else network.forward_features(image)
        for part, module in parts:
            try:
                with tracer:
                    image = module(image)
                steps.append(Step(part, module, image.shape, tracer.grid_of(image)))
            except Exception:  # a module whose turn it is not fails in a way of its own, or returns no tensor
                break
            if image.shape == goal.shape and torch.allclose(image, goal, rtol=1e-4):
                end = len(steps)  # of several the last: blocks of a random start may begin as the identity
    if not end:
        raise _cannot(name, "is no chain of modules")
    return steps[:end]


def _unrolled(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        if type(child) in (nn.Sequential, nn.ModuleList):
            yield from _unrolled(child, f"{prefix}{name}_")
        else:
            yield f"{prefix}{name}", child


def _end_of_features(name: str, steps: list[Step]) -> int:
    """How many modules it takes to the end of the last map of the stride we want."""
    end = max((i + 1 for i, step in enumerate(steps) if step.grid.stride == STRIDE), default=0)
    if not end:
        strides = sorted({step.grid.stride for step in steps})
        raise _cannot(name, f"has no map of stride {STRIDE}, only of {strides}")
    shape = steps[end - 1].shape
    if len(shape) != 4 or any(abs(have - side / STRIDE) > 3 for have, side in zip(shape[2:], PROBE_SIZE, strict=True)):
        raise _cannot(name, f"makes no (B, C, H, W) of stride {STRIDE} but {tuple(shape)} of {PROBE_SIZE} px")
    return end


def _cannot(name: str, reason: str) -> ValueError:
    return ValueError(f"model.backbone.name: timm's {name} {reason}; networks that can be cut: {CAN_BE_CUT}")


def _tail(
    network: Any, rest: Named, channels: int, fc_dim: int, frozen_norms: list[nn.Module]
) -> tuple[nn.Module, int]:
    """The tail and the pool size it is for."""
    from timm.models.vgg import VGG

    if isinstance(network, VGG):
        fc: Any = network.pre_logits
        return _vgg_tail(fc.fc1, fc.fc2), FC_POOL_SIZE
    if not any(True for _, module in rest for _ in module.parameters()):
        return VGGTail(channels, FC_POOL_SIZE, fc_dim), FC_POOL_SIZE
    tail = [*rest, ("average", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten())]
    return Chain(tail, frozen_norms), CONV_POOL_SIZE


def _vgg_tail(fc6: nn.Conv2d, fc7: nn.Conv2d) -> VGGTail:
    """timm has fc6 and fc7 as convolutions."""
    tail = VGGTail(fc6.in_channels, FC_POOL_SIZE, fc7.out_channels)
    with torch.no_grad():
        for ours, theirs in ((tail.fc6, fc6), (tail.fc7, fc7)):
            ours.weight.copy_(theirs.weight.flatten(1))
            ours.bias.copy_(torch.as_tensor(theirs.bias))
    return tail


@torch.no_grad()
def _tail_dim(tail: nn.Module, channels: int, pool_size: int) -> int:
    dim = tail.eval()(torch.zeros(1, channels, pool_size, pool_size)).shape[1]
    tail.train()
    return int(dim)
