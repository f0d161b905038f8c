"""Which of the networks of Fast and Faster R-CNN's Caffe models the layers of a file are: by names and shapes.

A file's weights are "layer.0", its biases "layer.1". Widths are read from the shapes, so that a network made narrower
is known, too; all other shapes follow from the network.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from detkit.backbones import vgg_m as m
from detkit.backbones import zfnet as zf
from detkit.backbones.backbone import Backbone
from detkit.backbones.vgg import CHANNELS, CONVOLUTIONS, vgg
from detkit.weights.imported import Wanted

CONVS = tuple(f"conv{i}" for i in range(1, 6))  # of ZF and VGG_CNN_M
CONTAINER = "caffemodel"  # of WeightFile


@dataclass(frozen=True)
class CaffeNetwork:
    name: str
    section: dict[str, Any]  # model.backbone, without `weights`
    backbone: Backbone  # without numbers: its shapes
    layers: dict[str, str]  # the file's layer of each of ours, "features.0": "conv1_1"
    dropout_at_test: float = 1.0  # what fc6 and fc7 are multiplied by in testing

    def wanted(self) -> dict[str, Wanted]:
        """By our names, such as features.0.weight and tail.fc6.bias."""
        parts = {"features": self.backbone.features, "tail": self.backbone.tail}
        shapes = {
            f"{part}.{name}": v.shape for part, module in parts.items() for name, v in module.state_dict().items()
        }
        found = {}
        for name, shape in shapes.items():
            layer, _, kind = name.rpartition(".")
            found[name] = Wanted(f"{self.layers[layer]}.{('weight', 'bias').index(kind)}", tuple(shape))
        return found

    def as_trained(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights with what the network does in testing alone put into fc6 and fc7.

        The ZF models leave activations as they are in training and halve them in testing (dropout_param: scale_train:
        false); detkit doubles them in training. Halving what goes into the ReLU is the same, exactly.
        """
        halved = ("tail.fc6.", "tail.fc7.")
        factor = self.dropout_at_test
        scaled = {name: value * factor for name, value in weights.items() if name.startswith(halved) and factor != 1}
        return dict(weights) | scaled


def recognise(tensors: Mapping[str, Tensor]) -> CaffeNetwork | None:
    """VGG-11 to 19, ZF or VGG_CNN_M_1024; None for what has other names. Raises ValueError for a relative of them."""
    if "conv1_1.0" in tensors:
        return _vgg(tensors)
    if all(f"{layer}.0" in tensors for layer in (*CONVS, "fc6", "fc7")):
        return _five_convolutions(tensors)
    return None


def _vgg(tensors: Mapping[str, Tensor]) -> CaffeNetwork:
    names = [[f"conv{s}_{i}" for i in range(1, 10) if f"conv{s}_{i}.0" in tensors] for s in range(1, 6)]
    counts = tuple(len(stage) for stage in names)
    depth = next((depth for depth, known in CONVOLUTIONS.items() if known == counts), None)
    if depth is None:
        raise ValueError(f"a VGG of {counts} convolutions in its stages; known are {sorted(CONVOLUTIONS.values())}")
    width, fc_dim = _width(tensors, "conv5_1", CHANNELS[-1]), outputs(tensors, "fc6", 2)
    section = {"kind": "vgg", "depth": depth, "layout": "caffe", "norm": "none", "width": width, "fc_dim": fc_dim}
    with torch.device("meta"):
        backbone = vgg(depth, "caffe", "none", 0, fc_dim, width, None)
    ours = [name for name, module in backbone.features.named_children() if isinstance(module, nn.Conv2d)]
    theirs = [name for stage in names for name in stage]
    layers = {f"features.{our}": their for our, their in zip(ours, theirs, strict=True)}
    return CaffeNetwork(f"VGG-{depth}", section, backbone, layers | _fcs())


def _five_convolutions(tensors: Mapping[str, Tensor]) -> CaffeNetwork:
    """ZF has fewer channels in conv5 than in conv3; of VGG_CNN_M and S only M_1024 has a narrow fc7."""
    kernel = tensors["conv1.0"].shape[-1] if tensors["conv1.0"].ndim == 4 else 0
    if kernel != 7:
        raise ValueError(
            f"conv1 has a kernel of {kernel}, as in AlexNet or CaffeNet: of networks of five convolutions ZF and "
            "VGG_CNN_M_1024 can be imported, whose kernel is 7"
        )
    layers = {f"features.{name}": name for name in CONVS} | _fcs()
    conv3, conv5 = outputs(tensors, "conv3", 4), outputs(tensors, "conv5", 4)
    fc6, fc7 = outputs(tensors, "fc6", 2), outputs(tensors, "fc7", 2)
    if conv5 < conv3:
        width = _width(tensors, "conv3", zf.CHANNELS[2])
        with torch.device("meta"):
            backbone = zf.zfnet(0, fc6, width, None)
        section: dict[str, Any] = {"kind": "zfnet", "width": width, "fc_dim": fc6}
        return CaffeNetwork("ZF", section, backbone, layers, dropout_at_test=0.5)
    if fc6 != 4 * fc7:
        raise ValueError(
            f"fc6 of {fc6} and fc7 of {fc7}: VGG_CNN_M_1024 has 4096 and 1024; VGG_CNN_S and the other M, whose "
            "weights do not tell which of them they are of, cannot be imported"
        )
    width = _width(tensors, "conv3", m.CHANNELS[2])
    with torch.device("meta"):
        backbone = m.vgg_m(0, fc6, fc7, width, None)
    section = {"kind": "vgg_m", "width": width, "fc_dim": fc6, "fc7_dim": fc7}
    return CaffeNetwork("VGG_CNN_M_1024", section, backbone, layers)


def _fcs() -> dict[str, str]:
    return {"tail.fc6": "fc6", "tail.fc7": "fc7"}


def outputs(tensors: Mapping[str, Tensor], layer: str, axes: int) -> int:
    """How many channels the layer puts out. Raises ValueError where its weights have another number of axes."""
    weights = tensors.get(f"{layer}.0")
    if weights is None:
        raise ValueError(f"tensor {layer}.0 is missing")
    if weights.ndim != axes or not weights.shape[0]:
        raise ValueError(f"tensor {layer}.0 is {tuple(weights.shape)}, expected {axes} axes")
    return weights.shape[0]


def _width(tensors: Mapping[str, Tensor], layer: str, published: int) -> float:
    channels = outputs(tensors, layer, 4)
    if channels > published:
        raise ValueError(
            f"{layer} has {channels} channels; the published network has {published}, and fewer are allowed"
        )
    return channels / published
