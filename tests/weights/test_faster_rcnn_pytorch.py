"""Checkpoints of faster-rcnn.pytorch: detections as there with each of its poolings, and files unlike it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

import detkit
from detkit.commands.import_weights import import_weights
from detkit.config.loading import parse_config
from detkit.detectors.two_stage import TwoStageDetector
from detkit.weights.class_lists import COCO_CLASSES, VOC_CLASSES
from detkit.weights.faster_rcnn_pytorch import OF_1_0, convert
from detkit.weights.imported import Imported, WeightFile
from tests.weights import faster_rcnn_pytorch_reference as reference
from tests.weights.simple_faster_rcnn_reference import CONVOLUTIONS
from tests.weights.test_caffe_detectors import assert_same_detections, caffe_layers, noise_image

Weights = dict[str, Tensor]
NAMES = {
    "fc6": "RCNN_top.0",
    "fc7": "RCNN_top.3",
    "rpn_conv/3x3": "RCNN_rpn.RPN_Conv",
    "rpn_cls_score": "RCNN_rpn.RPN_cls_score",
    "rpn_bbox_pred": "RCNN_rpn.RPN_bbox_pred",
    "cls_score": "RCNN_cls_score",
    "bbox_pred": "RCNN_bbox_pred",
}
BLOCKS = {50: reference.RESNET50, 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
TO_1_0 = [f"model.pool.{key}={value}" for key, value in OF_1_0.items()]


def vgg16(**kinds: int) -> Weights:
    """A VGG-16 of an eighth of the channels whose random weights find things."""
    names, layer = dict(NAMES), 0
    for stage, count in enumerate(CONVOLUTIONS, start=1):
        for i in range(1, count + 1):
            names[f"conv{stage}_{i}"] = f"RCNN_base.{layer}"
            layer += 2
        layer += 1
    weights: Weights = {}
    for name, (weight, bias) in caffe_layers("vgg16", **kinds).items():
        weights |= {f"{names[name]}.weight": torch.from_numpy(weight), f"{names[name]}.bias": torch.from_numpy(bias)}
    return weights


def resnet_shapes(depth: int, num_classes: int) -> dict[str, tuple[int, ...]]:
    """Of all tensors of a ResNet's checkpoint."""
    shapes: dict[str, tuple[int, ...]] = {}

    def conv(name: str, norm: str, channels: int, inputs: int, kernel: int) -> None:
        shapes[f"{name}.weight"] = (channels, inputs, kernel, kernel)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{norm}.{part}"] = (channels,)

    conv("RCNN_base.0", "RCNN_base.1", 64, 3, 7)
    inputs, width = 64, 64
    for stage, count in zip(("base.4", "base.5", "base.6", "top.0"), BLOCKS[depth], strict=True):
        for i in range(count):
            block = f"RCNN_{stage}.{i}"
            if i == 0:
                conv(f"{block}.downsample.0", f"{block}.downsample.1", 4 * width, inputs, 1)
            conv(f"{block}.conv1", f"{block}.bn1", width, inputs, 1)
            conv(f"{block}.conv2", f"{block}.bn2", width, width, 3)
            conv(f"{block}.conv3", f"{block}.bn3", 4 * width, width, 1)
            inputs = 4 * width
        width *= 2
    for name, shape in {
        "RCNN_rpn.RPN_Conv": (512, 1024, 3, 3),
        "RCNN_rpn.RPN_cls_score": (24, 512, 1, 1),
        "RCNN_rpn.RPN_bbox_pred": (48, 512, 1, 1),
        "RCNN_cls_score": (num_classes + 1, 2048),
        "RCNN_bbox_pred": (4 * num_classes + 4, 2048),
    }.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return shapes


def blank(depth: int) -> Weights:
    """A checkpoint of VOC, of zeros that take no memory."""
    zeros = {name: torch.zeros(()).expand(shape) for name, shape in resnet_shapes(depth, 20).items()}
    return zeros | {"RCNN_base.1.num_batches_tracked": torch.tensor(7)}


def resnet50(num_classes: int, image: NDArray[np.uint8]) -> Weights:
    """Random weights whose activations stay of one size and whose outputs in `image` tell regions apart."""
    generator = torch.Generator().manual_seed(0)
    gains = {"RCNN_base.1.": 1 / 60, "downsample.1.": 0.7, "bn3.": 0.3}  # the first: pixels go up to 255
    weights: Weights = {}
    for name, shape in resnet_shapes(50, num_classes).items():
        fan_in = torch.Size(shape[1:]).numel()
        if len(shape) > 1:
            weights[name] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
        elif name.endswith(("bias", "running_mean")):
            weights[name] = torch.randn(shape, generator=generator) * 0.1
        else:
            gain = 1.0 if name.endswith("var") else next((g for part, g in gains.items() if part in name), 1.0)
            weights[name] = (0.8 + 0.4 * torch.rand(shape, generator=generator)) * gain
    return spread(weights, image)


def spread(w: Weights, image: NDArray[np.uint8]) -> Weights:
    """With the four last layers such that their outputs in `image` are about 0, and of one size.

    Offsets are small: float32 computes this network to about 1e-5 of its outputs, which is seen in boxes of 512 px.
    """

    def scaled(name: str, inputs: Tensor, std: float) -> Weights:
        weight = w[f"{name}.weight"]
        outputs = F.linear(inputs, weight.flatten(1))
        factor = std / outputs.std(dim=0)
        new = weight * factor.view(-1, *[1] * (weight.ndim - 1))
        return {f"{name}.weight": new, f"{name}.bias": -outputs.mean(dim=0) * factor}

    features = reference.extract(w, image)
    conv = F.conv2d(features, w["RCNN_rpn.RPN_Conv.weight"], w["RCNN_rpn.RPN_Conv.bias"], padding=1)
    cells = conv.relu()[0].flatten(1).T
    w = w | scaled("RCNN_rpn.RPN_cls_score", cells, 2.0) | scaled("RCNN_rpn.RPN_bbox_pred", cells, 0.05)
    rois = reference.propose(w, features, *image.shape[:2])[:24]
    regions = reference.vectors(w, features, rois, "align")
    return w | scaled("RCNN_cls_score", regions, 1.2) | scaled("RCNN_bbox_pred", regions, 0.5)


def checkpoint(folder: Path, weights: Weights, **settings: Any) -> Path:
    path = folder / "faster_rcnn_1_6_10021.pth"
    optimizer = {"state": {}, "param_groups": [{"lr": 0.001, "params": [0]}]}
    torch.save({"session": 1, "epoch": 7, "model": weights, "optimizer": optimizer} | settings, path)
    return path


def detector(path: Path, overrides: Sequence[str] = ()) -> TwoStageDetector:
    out = path.with_name("model.pt")
    import_weights(path, out, overrides=overrides)
    found = detkit.load(out, device="cpu").detector
    assert isinstance(found, TwoStageDetector)
    return found


def converted(weights: Weights, **settings: str | bool) -> Imported:
    found = convert(WeightFile(Path("a.pth"), "torch file with 'model'", weights, settings))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("mode", "overrides", "pool"),
    [
        ("pool", [], "pool"),
        ("align", [], "align"),
        ("align", TO_1_0, "align of 1.0"),
        ("crop", [], "crop"),
        ("crop", ["model.pool.max_pool=true"], "crop, max"),
    ],
)
def test_detections_are_those_of_the_original(tmp_path: Path, mode: str, overrides: list[str], pool: str) -> None:
    weights, image = vgg16(), noise_image()
    wanted = reference.detect(weights, image, pool)
    assert len(set(wanted.labels.tolist())) >= 3 and len(wanted.labels) > 15
    path = checkpoint(tmp_path, weights, pooling_mode=mode, class_agnostic=False)
    assert_same_detections(detector(path, overrides), image, wanted, None)


def test_the_poolings_differ() -> None:
    weights, image = vgg16(), noise_image()
    features = reference.extract(weights, image)
    rois = reference.propose(weights, features, *image.shape[:2])
    pooled = [reference.vectors(weights, features, rois, pool) for pool in ("pool", *reference.POOLS)]
    for i, one in enumerate(pooled):
        assert all(float((one - other).abs().mean()) > 0.01 for other in pooled[:i])


@pytest.mark.parametrize("is_told", [True, False])
def test_one_box_for_all_classes(tmp_path: Path, is_told: bool) -> None:
    weights, image = vgg16(num_classes=80, anchors=12, seed=3), noise_image()
    for part in ("weight", "bias"):
        weights[f"RCNN_bbox_pred.{part}"] = weights[f"RCNN_bbox_pred.{part}"][4:8].clone()
    wanted = reference.detect(weights, image, "align")
    assert len(wanted.labels) > 5
    settings = {"pooling_mode": "align", "class_agnostic": True} if is_told else {}
    assert_same_detections(detector(checkpoint(tmp_path, weights, **settings)), image, wanted, None)


def test_resnet_50(tmp_path: Path) -> None:
    image = np.ascontiguousarray(
        noise_image()[:102, :152]
    )  # 51 x 76 cells behind conv1: of one kind each for its pooling
    with torch.no_grad():
        weights = resnet50(4, image)
        exact = {name: weight.double() for name, weight in weights.items()}
        wanted = reference.detect(exact, image, "align")
    assert len(set(wanted.labels.tolist())) >= 3 and len(wanted.labels) > 15
    path = checkpoint(tmp_path, weights, pooling_mode="align", class_agnostic=False)
    # So deep a network in float32 is up to 1.8e-4 px off float64: detkit 0.7e-4, the reference itself 1.8e-4.
    assert_same_detections(detector(path), image, wanted, None, box_tolerance=5e-4)


@pytest.mark.parametrize(("depth", "max_pool"), [(50, True), (101, False), (152, False)])
def test_resnets_by_their_blocks(depth: int, max_pool: bool) -> None:
    found = converted(blank(depth), pooling_mode="crop")
    assert found.classes == VOC_CLASSES
    model = parse_config(found.config, "imported").model.model_dump()
    assert model["pool"] == {"kind": "roi_crop", "size": 7, "max_pool": max_pool}  # cfgs/res50.yml leaves its default
    backbone = model["backbone"]
    assert (backbone["depth"], backbone["layout"], backbone["first_pool"]) == (depth, "msra", "ceil")
    way = "with" if max_pool else "without"
    assert f"on ResNet-{depth} of faster-rcnn.pytorch, regions pooled by crop {way} max pooling" in found.kind
    assert found.hint.endswith(f"model.pool.max_pool={str(not max_pool).lower()}")


def test_what_the_file_does_not_tell_is_said(tmp_path: Path) -> None:
    """Older ones do not hold the pooling mode: demo.py then takes that of cfgs/vgg16.yml."""
    weights = vgg16(num_classes=80, anchors=12)
    path, out = checkpoint(tmp_path, weights), tmp_path / "model.pt"
    lines = import_weights(path, out).splitlines()
    assert lines[0] == (
        f"{path} (torch file with 'model'): Faster R-CNN on VGG-16 of faster-rcnn.pytorch, regions pooled by align as "
        "on its master branch, which the file does not tell"
    )
    assert lines[1] == (
        "if it was trained on the branch pytorch-1.0, import it with: model.pool.kind=roi_align model.pool.size=7 "
        "model.pool.sampling=0 model.pool.pixel_centers=integer"
    )
    saved = detkit.load(out, device="cpu")
    assert saved.classes == COCO_CLASSES
    assert saved.config.model.model_dump()["pool"] == {"kind": "corner_align", "size": 7}
    told = converted(weights, pooling_mode="pool")
    assert told.kind.endswith("regions pooled by pool") and told.hint == ""


@pytest.mark.parametrize(
    ("changed", "settings", "message"),
    [
        ({}, {"pooling_mode": "mean"}, "its pooling_mode is 'mean', expected pool, align or crop"),
        ({}, {"class_agnostic": True}, r"RCNN_bbox_pred\.weight is \(84, 48\), expected \(4, 48\)"),
        ({"RCNN_base.5.weight": (3,)}, {}, r"RCNN_base\.5\.weight is \(3,\), expected \(16, 8, 3, 3\)"),
        ({"RCNN_base.28.bias": (600,)}, {}, r"RCNN_base\.28\.bias has 600 channels; VGG-16 has 512"),
        ({"RCNN_base.28.bias": ()}, {}, r"1 tensors missing \(RCNN_base\.28\.bias\)"),
        ({"RCNN_rpn.RPN_cls_score.bias": (14,)}, {}, "7 anchors a cell; known are"),
        ({"RCNN_cls_score.bias": (1,)}, {}, "no class beside the background"),
        ({"REID_feat_net.weight": (3,)}, {}, r"1 tensors that this network has not \(REID_feat_net\.weight\)"),
    ],
)
def test_what_does_not_fit_is_named(
    changed: dict[str, tuple[int, ...]], settings: dict[str, str | bool], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        converted(vgg16() | {name: torch.zeros(shape) for name, shape in changed.items()}, **settings)


def test_other_networks_are_refused() -> None:
    with pytest.raises(ValueError, match=r"its stages have \[1, 0, 0, 0\] blocks; of faster-rcnn\.pytorch \(jwyang\)"):
        converted({"RCNN_base.4.0.conv1.weight": torch.zeros(1)})
    assert convert(WeightFile(Path("a.pth"), "torch file", {"RCNN_cls_score.weight": torch.zeros(3)})) is None
