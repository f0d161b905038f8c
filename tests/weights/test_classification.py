"""ImageNet classification networks: which network a file is told to be, and that it computes what it did there."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from detkit.build.backbone import build_backbone
from detkit.commands.import_weights import import_weights
from detkit.config.backbones import ResNet
from detkit.weights.classification import convert, timm_network
from detkit.weights.imported import WeightFile

DETECTRON_STAGES = {2: 3, 3: 4, 4: 6, 5: 3}


def network(name: str) -> nn.Module:
    """torchvision's, without numbers."""
    with torch.device("meta"):
        made: nn.Module = getattr(torchvision.models, name)(weights=None)
    return made


def told(tensors: dict[str, Tensor]) -> tuple[str, dict[str, Any]] | None:
    """Kind and section, of tensors without numbers too."""
    zeros = {name: torch.zeros(()).expand(value.shape) for name, value in tensors.items()}
    made = convert(WeightFile(Path("weights.pth"), "torch file", zeros))
    return None if made is None else (made.kind, made.section)


@pytest.mark.parametrize(
    ("name", "kind", "section"),
    [
        ("resnet18", "torchvision's ResNet-18", {"kind": "resnet", "depth": 18, "layout": "torchvision"}),
        ("resnet50", "torchvision's ResNet-50", {"kind": "resnet", "depth": 50, "layout": "torchvision"}),
    ],
)
def test_resnets(name: str, kind: str, section: dict[str, Any]) -> None:
    assert told(network(name).state_dict()) == (kind, section)


@pytest.mark.parametrize(
    ("name", "kind", "depth", "norm"),
    [("vgg16", "torchvision's VGG-16", 16, "none"), ("vgg11_bn", "torchvision's VGG-11 with batch norm", 11, "batch")],
)
def test_vggs(name: str, kind: str, depth: int, norm: str) -> None:
    state = {n: v if v.numel() < 1e7 else v[:1] for n, v in network(name).state_dict().items()}
    assert told(state) == (kind, {"kind": "vgg", "depth": depth, "layout": "torchvision", "norm": norm})


def test_timms_preactivation_resnet() -> None:
    import timm

    with torch.device("meta"):
        state = timm.create_model("resnetv2_50").state_dict()
    assert told(state) == ("timm's pre-activation ResNet-50", {"kind": "preresnet", "depth": 50})


def test_others_are_left_to_other_converters() -> None:
    assert told({"conv.weight": torch.zeros(1)}) is None
    assert told(network("alexnet").state_dict()) is None


def test_other_depths_are_told() -> None:
    state = {n: v for n, v in network("resnet50").state_dict().items() if not n.startswith("layer3.5.")}
    with pytest.raises(ValueError, match=r"a network of \[3, 4, 5, 3\] blocks, .*--name"):
        told(state)
    state = {
        n: v for n, v in network("vgg16").state_dict().items() if n in ("features.0.weight", "classifier.0.weight")
    }
    with pytest.raises(ValueError, match=r"a VGG of 1 convolutions; detkit has those with \[8, 10, 13, 16\]"):
        told(state)


def test_a_network_by_timms_name() -> None:
    made = timm_network(WeightFile(Path("a.pth"), "torch file", {"a": torch.ones(2)}), "resnext50_32x4d")
    assert made.section == {"kind": "timm", "name": "resnext50_32x4d"} and made.weights["a"].tolist() == [1, 1]


# MSRA's networks in Detectron's names


@pytest.fixture(scope="module")
def detectron_state() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def conv(name: str, norm: str, channels: int, inputs: int, kernel: int, gain: float = 1.0) -> dict[str, Tensor]:
        std = (2 / (inputs * kernel**2)) ** 0.5
        return {
            f"{name}_w": torch.randn(channels, inputs, kernel, kernel, generator=generator) * std,
            f"{norm}_bn_s": (0.8 + 0.4 * torch.rand(channels, generator=generator)) * gain,
            f"{norm}_bn_b": torch.randn(channels, generator=generator) * 0.1,
        }

    state = conv("conv1", "res_conv1", 64, 3, 7)
    inputs, width = 64, 64
    for stage, count in DETECTRON_STAGES.items():
        for i in range(count):
            name = f"res{stage}_{i}_branch"
            if i == 0:
                state |= conv(f"{name}1", f"{name}1", 4 * width, inputs, 1)
            state |= conv(f"{name}2a", f"{name}2a", width, inputs, 1)
            state |= conv(f"{name}2b", f"{name}2b", width, width, 3)
            state |= conv(f"{name}2c", f"{name}2c", 4 * width, width, 1, gain=0.2)
            inputs = 4 * width
        width *= 2
    return state | {"fc1000_w": torch.zeros(1000, 2048), "fc1000_b": torch.zeros(1000), "conv1_b": torch.zeros(64)}


def detectron_features(w: dict[str, Tensor], images: Tensor) -> Tensor:
    """conv1 to conv4_x from Detectron's definition: affine layers, stride in the first 1x1 convolution."""

    def affine(x: Tensor, name: str) -> Tensor:
        return x * w[f"{name}_bn_s"][:, None, None] + w[f"{name}_bn_b"][:, None, None]

    x = F.relu(affine(F.conv2d(images, w["conv1_w"], stride=2, padding=3), "res_conv1"))
    x = F.max_pool2d(x, 3, 2, 1)
    for stage in (2, 3, 4):
        for i in range(DETECTRON_STAGES[stage]):
            name, stride = f"res{stage}_{i}_branch", 2 if i == 0 and stage > 2 else 1
            shortcut = x if i else affine(F.conv2d(x, w[f"{name}1_w"], stride=stride), f"{name}1")
            inner = F.relu(affine(F.conv2d(x, w[f"{name}2a_w"], stride=stride), f"{name}2a"))
            inner = F.relu(affine(F.conv2d(inner, w[f"{name}2b_w"], padding=1), f"{name}2b"))
            x = F.relu(shortcut + affine(F.conv2d(inner, w[f"{name}2c_w"]), f"{name}2c"))
    return x


def test_detectrons_resnet_computes_the_same(detectron_state: dict[str, Tensor], tmp_path: Path) -> None:
    content = {name: value.numpy() for name, value in detectron_state.items()}
    (tmp_path / "R-50.pkl").write_bytes(pickle.dumps({"blobs": content}, protocol=2))
    out = tmp_path / "backbone.pt"
    message = import_weights(tmp_path / "R-50.pkl", out)
    assert "the MSRA ResNet-50 in Detectron's names" in message
    assert f"model.backbone.depth=50 model.backbone.layout=msra model.backbone.weights={out}" in message
    backbone = build_backbone(ResNet(kind="resnet", depth=50, layout="msra", weights=str(out)))
    images = torch.randn(1, 3, 64, 48, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, ours = detectron_features(detectron_state, images), backbone.features.eval()(images)
    assert float(expected.std()) > 0.1
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "message"),
    [("res9_branch", "res9_branch is of no ResNet"), ("gn_s", "gn_s is of no ResNet"), ("lr", "lr is of no ResNet")],
)
def test_strange_names_in_detectrons_file(detectron_state: dict[str, Tensor], name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        told(detectron_state | {name: torch.zeros(1)})


def test_another_number_of_blocks_in_detectrons_file(detectron_state: dict[str, Tensor]) -> None:
    state = {n: v for n, v in detectron_state.items() if not n.startswith("res4_5")}
    with pytest.raises(ValueError, match=r"its stages have \[3, 4, 5, 3\] blocks"):
        told(state)
