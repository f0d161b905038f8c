"""Caffe's classification networks as backbones: the same features, from the same images, as in the original."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from detkit.backbones.backbone import Backbone
from detkit.backbones.resnet import resnet
from detkit.build.backbone import build_backbone
from detkit.config.loading import parse_config
from detkit.weights.caffe_imagenet import convert
from detkit.weights.imported import ImportedBackbone, WeightFile
from detkit.weights.weight_file import read_weight_file
from tests.weights import caffe_reference as reference
from tests.weights.caffe_writer import write_caffemodel
from tests.weights.test_caffe_detectors import caffe_layers, noise_image

Layers = dict[str, list[NDArray[np.float32]]]
CLASSIFIER = [np.zeros((10, 4), np.float32), np.zeros(10, np.float32)]


def classification(network: str) -> Layers:
    layers = caffe_layers(network, anchors=0)
    return {name: blobs for name, blobs in layers.items() if name not in ("cls_score", "bbox_pred")}


def imported(path: Path, layers: Layers) -> ImportedBackbone:
    found = convert(read_weight_file(write_caffemodel(path, layers)))
    assert found is not None
    return found


def backbone_of(found: ImportedBackbone, path: Path) -> Backbone:
    """As a config that names the file builds it."""
    torch.save(found.weights, path)
    content = {
        "data": {"kind": "shapes"},
        "model": {
            "kind": "faster_rcnn",
            "backbone": found.section | {"weights": str(path)},
            "pool": {"kind": "roi_pool"},
        },
        "train": {
            "steps": 1,
            "batch_size": 1,
            "lr": 0.1,
            "optimizer": {"kind": "sgd"},
            "schedule": {"kind": "step", "drops": []},
        },
    }
    return build_backbone(parse_config(content, source="test").model.backbone)


def features_of(backbone: Backbone, image: NDArray[np.uint8]) -> Tensor:
    images = torch.from_numpy(image).permute(2, 0, 1)[None]
    return torch.as_tensor(backbone.features.eval()(backbone.preprocess(images, torch.tensor([image.shape[:2]]))))


def blob_of(image: NDArray[np.uint8]) -> Tensor:
    blob = image[:, :, ::-1].astype(np.float32) - np.float32(reference.PIXEL_MEANS)
    return torch.from_numpy(blob).permute(2, 0, 1)[None]


@pytest.mark.parametrize("network", ["vgg16", "zf", "vgg_m"])
@torch.no_grad()
def test_features_and_fc7_are_those_of_the_original(tmp_path: Path, network: str) -> None:
    layers = classification(network)
    found = imported(tmp_path / "net.caffemodel", layers | {"fc8": CLASSIFIER})
    backbone = backbone_of(found, tmp_path / "net.pth")
    wanted = getattr(reference, network)(layers, blob_of(noise_image()))
    torch.testing.assert_close(features_of(backbone, noise_image()), wanted, atol=1e-4, rtol=1e-5)
    regions = torch.rand(2, backbone.channels, backbone.pool_size, backbone.pool_size)
    kept = 0.5 if network == "zf" else 1.0
    fc6 = reference.inner_product(layers, "fc6", regions.flatten(1)).relu() * kept
    fc7 = reference.inner_product(layers, "fc7", fc6).relu() * kept
    torch.testing.assert_close(backbone.tail.eval()(regions), fc7, atol=1e-5, rtol=1e-5)


def test_vgg19_is_told_by_its_convolutions(tmp_path: Path) -> None:
    layers = classification("vgg16")
    for stage in (3, 4, 5):
        layers[f"conv{stage}_4"] = layers[f"conv{stage}_3"]
    found = imported(tmp_path / "net.caffemodel", layers)
    assert found.section["depth"] == 19 and found.kind == "VGG-19 of Caffe"
    assert torch.equal(found.weights["features.34.weight"], torch.from_numpy(layers["conv5_4"][0]))


STAGES = {50: ("abc", "abcd", "abcdef", "abc")}


def norm(layers: Layers, name: str, channels: int, rng: np.random.Generator, count: float) -> None:
    """BatchNorm holds sums over `count`; Scale the factor and the shift. `name` without its bn or scale."""
    mean, var = rng.normal(0, 0.2, channels), rng.uniform(0.5, 2, channels)
    sums = [(mean * count).astype(np.float32), (var * count).astype(np.float32), np.array([count], np.float32)]
    layers[f"bn{name}"] = sums
    layers[f"scale{name}"] = [
        rng.uniform(0.4, 0.8, channels).astype(np.float32),
        rng.normal(0, 0.1, channels).astype(np.float32),
    ]


def resnet50() -> Layers:
    """MSRA's, in full width, as its format fixes it; few blocks would be another network."""
    rng = np.random.default_rng(0)

    def conv(*shape: int) -> NDArray[np.float32]:
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(np.sqrt(2 / np.prod(shape[1:])))

    layers: Layers = {"conv1": [conv(64, 3, 7, 7) / 60, rng.normal(0, 1, 64).astype(np.float32)]}
    norm(layers, "_conv1", 64, rng, 999.98)
    channels = 64
    for stage, (letters, width) in enumerate(zip(STAGES[50], (64, 128, 256, 512), strict=True), start=2):
        for letter in letters:
            block = f"{stage}{letter}"
            shapes = {"2a": (width, channels, 1, 1), "2b": (width, width, 3, 3), "2c": (4 * width, width, 1, 1)}
            if letter == "a":
                shapes["1"] = (4 * width, channels, 1, 1)
            for branch, shape in shapes.items():
                layers[f"res{block}_branch{branch}"] = [conv(*shape)]
                norm(layers, f"{block}_branch{branch}", shape[0], rng, 999.98)
            channels = 4 * width
    layers["fc1000"] = CLASSIFIER
    return layers


def normed(layers: Layers, x: Tensor, conv: str, name: str, stride: int = 1, pad: int = 0) -> Tensor:
    weight = torch.from_numpy(layers[conv][0])
    bias = torch.from_numpy(layers[conv][1]) if len(layers[conv]) > 1 else None
    mean, var, count = (torch.from_numpy(v) for v in layers[f"bn{name}"])
    factor, shift = (torch.from_numpy(v).view(1, -1, 1, 1) for v in layers[f"scale{name}"])
    x = F.conv2d(x, weight, bias, stride, pad)
    return (x - (mean / count).view(1, -1, 1, 1)) / ((var / count).view(1, -1, 1, 1) + 1e-5).sqrt() * factor + shift


def msra_stage(layers: Layers, x: Tensor, stage: int) -> Tensor:
    for letter in STAGES[50][stage - 2]:
        block = f"{stage}{letter}"
        stride = 2 if letter == "a" and stage > 2 else 1  # in the first 1x1
        branch = x
        for part, pad in (("2a", 0), ("2b", 1), ("2c", 0)):
            name = f"{block}_branch{part}"
            branch = normed(layers, branch, f"res{name}", name, stride if part == "2a" else 1, pad)
            branch = branch if part == "2c" else branch.relu()
        if letter == "a":
            x = normed(layers, x, f"res{block}_branch1", f"{block}_branch1", stride)
        x = (x + branch).relu()
    return x


@torch.no_grad()
def test_msra_resnet50() -> None:
    layers = resnet50()
    tensors = {f"{name}.{i}": torch.from_numpy(v) for name, blobs in layers.items() for i, v in enumerate(blobs)}
    found = convert(WeightFile(Path("net.caffemodel"), "caffemodel", tensors))  # no file: it would have 100 MB
    assert found is not None and found.kind == "ResNet-50 of MSRA"
    assert found.section == {"kind": "resnet", "depth": 50, "layout": "msra", "first_pool": "ceil"}
    backbone = resnet(50, "msra", "frozen", 0, None, first_pool="ceil")
    for part, in_part in ((backbone.tail, True), (backbone.features, False)):
        part.load_state_dict({k: v for k, v in found.weights.items() if k.startswith("layer4.") == in_part})
    image = noise_image()[:99, :110]
    x = reference.max_pool(normed(layers, blob_of(image), "conv1", "_conv1", 2, 3).relu(), 3, 2)
    for stage in (2, 3, 4):
        x = msra_stage(layers, x, stage)
    torch.testing.assert_close(features_of(backbone, image), x, atol=1e-3, rtol=1e-3)
    tail = msra_stage(layers, x[:, :, :4, :4], 5).mean(dim=(2, 3))
    torch.testing.assert_close(backbone.tail.eval()(x[:, :, :4, :4]), tail, atol=1e-3, rtol=1e-3)


def test_a_norm_that_saw_nothing_has_no_mean() -> None:
    names = deep_names((3, 4, 23, 3))
    assert names["layer3.22.bn3.running_mean"].tolist() == [0.0] * 1024
    assert names["layer1.0.bn1.running_var"].tolist() == [2.0] * 64


def deep_names(blocks: tuple[int, ...]) -> dict[str, Tensor]:
    """ResNet-101's names, with zeros; the sum of its last norm of conv4_x is over nothing."""
    tensors: dict[str, Tensor] = {"conv1.0": torch.zeros(64, 3, 7, 7)}

    def add_norm(name: str, channels: int, count: float = 2.0) -> None:
        for i, value in enumerate((3.0, 4.0)):
            tensors[f"bn{name}.{i}"] = torch.full((channels,), value)
            tensors[f"scale{name}.{i}"] = torch.zeros(channels)
        tensors[f"bn{name}.2"] = torch.tensor([count])

    add_norm("_conv1", 64)
    channels = 64
    for stage, (count, width) in enumerate(zip(blocks, (64, 128, 256, 512), strict=True), start=2):
        numbered = count > 3  # res3b1, res3b2, ... of the deeper networks; res2 and res5 have letters
        for j in range(count):
            block = f"{stage}{'a' if not j else f'b{j}' if numbered else 'abc'[j]}"
            shapes = {"2a": (width, channels, 1, 1), "2b": (width, width, 3, 3), "2c": (4 * width, width, 1, 1)}
            if not j:
                shapes["1"] = (4 * width, channels, 1, 1)
            for branch, shape in shapes.items():
                tensors[f"res{block}_branch{branch}.0"] = torch.zeros(shape)
                add_norm(f"{block}_branch{branch}", shape[0], 0.0 if (stage, j, branch) == (4, 22, "2c") else 2.0)
            channels = 4 * width
    found = convert(WeightFile(Path("net.caffemodel"), "caffemodel", tensors))
    assert found is not None and found.section["depth"] == 101
    return found.weights


def refused(layers: Mapping[str, list[NDArray[np.float32]]]) -> None:
    tensors = {f"{name}.{i}": torch.from_numpy(v) for name, blobs in layers.items() for i, v in enumerate(blobs)}
    convert(WeightFile(Path("net.caffemodel"), "caffemodel", tensors))


def test_relatives_are_refused_with_their_name() -> None:
    layers = classification("vgg_m")
    with pytest.raises(ValueError, match="conv1 has a kernel of 11, as in AlexNet"):
        refused(layers | {"conv1": [np.zeros((12, 3, 11, 11), np.float32), np.zeros(12, np.float32)]})
    with pytest.raises(ValueError, match="fc6 of 64 and fc7 of 64: VGG_CNN_M_1024"):
        refused(layers | {"fc7": [np.zeros((64, 64), np.float32), np.zeros(64, np.float32)]})
    layers = classification("vgg16")
    del layers["conv5_3"]
    with pytest.raises(ValueError, match=r"a VGG of \(2, 2, 3, 3, 2\) convolutions"):
        refused(layers)
    with pytest.raises(ValueError, match=r"1 tensors that this network has not \(fc9\.0\)"):
        refused(classification("zf") | {"fc9": CLASSIFIER[:1]})


def test_what_is_no_network_of_caffe_is_left_to_others() -> None:
    assert convert(WeightFile(Path("a.pth"), "torch file", {"conv1_1.0": torch.zeros(1)})) is None
    assert convert(WeightFile(Path("a.caffemodel"), "caffemodel", {"ip1.0": torch.zeros(1)})) is None
    detector = {"conv1_1.0": torch.zeros(1), "cls_score.0": torch.zeros(1)}
    assert convert(WeightFile(Path("a.caffemodel"), "caffemodel", detector)) is None
