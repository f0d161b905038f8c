"""ImageNet classification networks to backbones: torchvision's, timm's, and MSRA's ResNets as Detectron keeps them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from detkit.weights.imported import ImportedBackbone, WeightFile, as_weights

Layers = dict[tuple[int, ...], int]

BASIC: Layers = {(2, 2, 2, 2): 18, (3, 4, 6, 3): 34}  # blocks of the four stages: layers
BOTTLENECK: Layers = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152}
PRE_BOTTLENECK: Layers = BOTTLENECK | {(3, 24, 36, 3): 200}
VGG = {8: 11, 10: 13, 13: 16, 16: 19}  # convolutions: layers
MSRA_BRANCHES = {"branch2a": ("conv1", "bn1"), "branch2b": ("conv2", "bn2"), "branch2c": ("conv3", "bn3")}
# Detectron's pickles also have the classifier, and a bias of conv1 that its own network and detectron2's leave out.
MSRA_UNUSED = ("fc1000_w", "fc1000_b", "pred_w", "pred_b", "conv1_b")
NORM_EPSILON = 1e-5  # torchvision's FrozenBatchNorm2d: a variance of 1 - epsilon divides by exactly 1


def convert(found: WeightFile) -> ImportedBackbone | None:
    """The backbone, by the names of the tensors; whether all of them fit is found where it is loaded."""
    names = found.tensors
    if "conv1_w" in names and "res_conv1_bn_s" in names:
        return _msra(names)
    if "conv1.weight" in names and "layer1.0.conv1.weight" in names:
        return _resnet(names)
    if "features.0.weight" in names and "classifier.0.weight" in names:
        return _vgg(names)
    if "stem.conv.weight" in names and "stages.0.blocks.0.norm1.running_mean" in names:
        return _preresnet(names)
    return None


def timm_network(found: WeightFile, name: str) -> ImportedBackbone:
    """The network that timm calls `name`."""
    section = {"kind": "timm", "name": name}
    return ImportedBackbone(f"timm's {name}", section, _all(found.tensors))


def _resnet(tensors: Mapping[str, Tensor]) -> ImportedBackbone:
    table = BOTTLENECK if "layer1.0.conv3.weight" in tensors else BASIC
    depth = _depth(table, [f"layer{stage}." for stage in range(1, 5)], tensors)
    section: dict[str, Any] = {"kind": "resnet", "depth": depth, "layout": "torchvision"}
    return ImportedBackbone(f"torchvision's ResNet-{depth}", section, _all(tensors))


def _vgg(tensors: Mapping[str, Tensor]) -> ImportedBackbone:
    convolutions = [name for name, value in tensors.items() if name.startswith("features.") and value.ndim == 4]
    depth = VGG.get(len(convolutions))
    if depth is None:
        raise ValueError(f"a VGG of {len(convolutions)} convolutions; detkit has those with {sorted(VGG)}")
    norm = "batch" if "features.1.running_mean" in tensors else "none"
    section = {"kind": "vgg", "depth": depth, "layout": "torchvision", "norm": norm}
    kind = f"torchvision's VGG-{depth}" + (" with batch norm" if norm == "batch" else "")
    return ImportedBackbone(kind, section, _all(tensors))


def _preresnet(tensors: Mapping[str, Tensor]) -> ImportedBackbone:
    table = PRE_BOTTLENECK if "stages.0.blocks.0.conv3.weight" in tensors else BASIC
    depth = _depth(table, [f"stages.{stage}.blocks." for stage in range(4)], tensors)
    return ImportedBackbone(
        f"timm's pre-activation ResNet-{depth}", {"kind": "preresnet", "depth": depth}, _all(tensors)
    )


def _msra(tensors: Mapping[str, Tensor]) -> ImportedBackbone:
    """Detectron's R-50.pkl and R-101.pkl: batch norm is folded to a scale (_s) and a bias (_b)."""
    stages = [{n.split("_")[1] for n in tensors if n.startswith(f"res{stage}_")} for stage in range(2, 6)]
    depth = BOTTLENECK.get(tuple(len(blocks) for blocks in stages))
    if depth is None:
        raise ValueError(f"its stages have {[len(blocks) for blocks in stages]} blocks, expected {[*BOTTLENECK]}")
    weights: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name in MSRA_UNUSED:
            continue
        weights[_msra_name(name)] = as_weights(tensor, name)
        if name.endswith("_bn_s"):
            norm = _msra_name(name).removesuffix("weight")
            weights[f"{norm}running_mean"] = torch.zeros(tensor.shape)
            weights[f"{norm}running_var"] = torch.full(tensor.shape, 1 - NORM_EPSILON)
    section = {"kind": "resnet", "depth": depth, "layout": "msra"}
    return ImportedBackbone(f"the MSRA ResNet-{depth} in Detectron's names", section, weights)


def _msra_name(name: str) -> str:
    """res2_0_branch2a_w -> layer1.0.conv1.weight, res2_0_branch1_bn_s -> layer1.0.downsample.1.weight."""
    if name == "conv1_w":
        return "conv1.weight"
    place, _, last = name.rpartition("_")
    is_norm = place.endswith("_bn")
    ending = {"w": "weight", "s": "weight", "b": "bias"}.get(last, last)
    if place == "res_conv1_bn":
        return f"bn1.{ending}"
    stage, block, branch = [*place.removesuffix("_bn").split("_"), "", ""][:3]
    layer = MSRA_BRANCHES.get(branch, ("downsample.0", "downsample.1"))[is_norm]
    if not stage[3:].isdigit() or branch not in (*MSRA_BRANCHES, "branch1"):
        raise ValueError(f"tensor {name} is of no ResNet that detkit has")
    return f"layer{int(stage[3:]) - 1}.{block}.{layer}.{ending}"


def _depth(table: Layers, prefixes: list[str], tensors: Mapping[str, Tensor]) -> int:
    blocks = tuple(
        len({name.removeprefix(prefix).split(".")[0] for name in tensors if name.startswith(prefix)})
        for prefix in prefixes
    )
    if blocks not in table:
        raise ValueError(
            f"a network of {list(blocks)} blocks, detkit has {[list(known) for known in table]}; if it is one of "
            "timm's, give its name with --name"
        )
    return table[blocks]


def _all(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: as_weights(tensor, name) for name, tensor in tensors.items()}
