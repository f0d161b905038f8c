"""Faster R-CNN on VGG-16 out of checkpoints of simple-faster-rcnn-pytorch (chenyuntc), which follows ChainerCV.

Boxes are continuous and anchors exact, as in detkit; RoI pooling rounds the corner x2, y2 itself. Coordinates come as
y, x. The file does not say which pixels the network reads: torchvision's, or with `caffe_pretrain` in the file's name,
as the published one has it, those of caffe_normalize(), whose means for blue, green, red are those of red, green, blue.
Anchors are ranked by foreground's probability, as since 2018. What is said in py_faster_rcnn.py about proposals that
are too small holds here, too.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from detkit.backbones.backbone import Backbone
from detkit.backbones.vgg import CHANNELS, vgg
from detkit.weights.class_lists import class_names
from detkit.weights.imported import Imported, Wanted, WeightFile, take
from detkit.weights.py_faster_rcnn import (
    anchor_offsets,
    background_last,
    data,
    rpn_section,
    sizes_first,
    training,
    without_background,
)

KNOWN_BY = ("extractor.0.weight", "rpn.score.weight", "rpn.loc.weight", "head.cls_loc.weight", "head.score.weight")
CAFFE_PIXELS = {"mean": [102.9801, 115.9465, 122.7717], "std": [1.0, 1.0, 1.0], "order": "bgr"}  # by R, G, B
SUM_OF_DETECTIONS = 300 * 20  # each region in each class: they keep all


def convert(found: WeightFile) -> Imported | None:
    """The detector in `found`; None for other files. Raises ValueError naming the tensor that does not fit."""
    tensors = found.tensors
    if any(name not in tensors for name in KNOWN_BY):
        return None
    is_caffe = "caffe_pretrain" in found.path.name
    section = _backbone_section(tensors)
    if "rpn.conv1.weight" not in tensors:
        raise ValueError("tensor rpn.conv1.weight is missing")
    channels, anchors = len(tensors["rpn.conv1.weight"]), len(tensors["rpn.score.weight"]) // 2
    classes = class_names(len(tensors["head.score.weight"]) - 1)
    config = {
        "data": data(classes),
        "model": {
            "kind": "faster_rcnn",
            "backbone": section | {"weights": None, "pixels": CAFFE_PIXELS if is_caffe else None},
            "pool": {"kind": "roi_pool", "rounds": "corner"},
            "rpn": rpn_section(channels, anchors) | {"anchors": "centered"},
            "head": {"min_score": 0.05, "nms_iou": 0.3, "max_detections": SUM_OF_DETECTIONS},
        },
        "train": training(70_000, 50_000),
    }
    taken = take(tensors, _wanted(tensors, section, channels, anchors, len(classes)), unused=())
    pixels = "pixels of caffe_pretrain" if is_caffe else "pixels of torchvision"
    kind = f"Faster R-CNN on VGG-16 of simple-faster-rcnn-pytorch, {pixels}"
    return Imported(kind, config, classes, _in_our_order(taken))


def _backbone_section(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    last, fc6 = (tensors.get(name) for name in ("extractor.28.weight", "head.classifier.0.weight"))
    if last is None or fc6 is None or not last.ndim or not fc6.ndim or not 0 < len(last) <= CHANNELS[-1]:
        raise ValueError("expected VGG-16: extractor.28.weight of at most 512 channels and head.classifier.0.weight")
    width = len(last) / CHANNELS[-1]
    return {"kind": "vgg", "depth": 16, "layout": "torchvision", "norm": "none", "width": width, "fc_dim": len(fc6)}


def _wanted(
    tensors: Mapping[str, Tensor], section: Mapping[str, Any], channels: int, anchors: int, num_classes: int
) -> dict[str, Wanted]:
    with torch.device("meta"):
        backbone = vgg(16, "torchvision", "none", 0, section["fc_dim"], section["width"], None)
    wanted = {
        f"features.{name}": Wanted(f"extractor.{name}", v.shape) for name, v in backbone.features.state_dict().items()
    }
    fc7 = (
        "head.classifier.3" if "head.classifier.3.weight" in tensors else "head.classifier.2"
    )  # with use_drop, without
    return wanted | _layers(backbone, channels, anchors, num_classes, fc7)


def _layers(backbone: Backbone, channels: int, anchors: int, num_classes: int, fc7: str) -> dict[str, Wanted]:
    tail, dim = backbone.tail, backbone.tail_dim
    assert isinstance(tail.fc6, nn.Linear)
    found: dict[str, Wanted] = {}
    for ours, theirs, shape in (
        ("head.tail.fc6", "head.classifier.0", tuple(tail.fc6.weight.shape)),
        ("head.tail.fc7", fc7, (dim, dim)),
        ("proposals.conv", "rpn.conv1", (channels, backbone.channels, 3, 3)),
        ("proposals.objectness", "rpn.score", (2 * anchors, channels, 1, 1)),
        ("proposals.offsets", "rpn.loc", (4 * anchors, channels, 1, 1)),
        ("head.classifier", "head.score", (num_classes + 1, dim)),
        ("head.regressor", "head.cls_loc", (4 * (num_classes + 1), dim)),
    ):
        found |= {
            f"{ours}.weight": Wanted(f"{theirs}.weight", shape),
            f"{ours}.bias": Wanted(f"{theirs}.bias", shape[:1]),
        }
    return found


def _in_our_order(taken: Mapping[str, Tensor]) -> dict[str, Tensor]:
    weights = dict(taken)
    for part in ("weight", "bias"):
        scores = taken[f"proposals.objectness.{part}"].reshape(-1, 2, *taken[f"proposals.objectness.{part}"].shape[1:])
        weights[f"proposals.objectness.{part}"] = sizes_first(scores[:, 1] - scores[:, 0])
        weights[f"proposals.offsets.{part}"] = _x_first(anchor_offsets(taken[f"proposals.offsets.{part}"]))
        weights[f"head.classifier.{part}"] = background_last(taken[f"head.classifier.{part}"])
        weights[f"head.regressor.{part}"] = _x_first(without_background(taken[f"head.regressor.{part}"]))
    return weights


def _x_first(rows: Tensor) -> Tensor:
    """(4 N, ...) from dy, dx, dh, dw to dx, dy, dw, dh."""
    return rows.reshape(-1, 4, *rows.shape[1:])[:, [1, 0, 3, 2]].flatten(0, 1)
