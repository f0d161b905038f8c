"""Fast R-CNN and Faster R-CNN out of .caffemodel files of fast-rcnn and py-faster-rcnn: VGG-16, VGG_CNN_M_1024 and ZF.

The files are those that training leaves, in which box offsets are already multiplied by their deviation (snapshot() in
train.py): detkit's box_std is 1 for them. Fast R-CNN's code scores regions that round to the same cells once, and gives
them all the box of the first: detkit does not, and NMS leaves one of them all the same.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from detkit.weights.caffe_networks import CONTAINER, CaffeNetwork, outputs, recognise
from detkit.weights.class_lists import class_names
from detkit.weights.imported import Imported, Wanted, WeightFile, take
from detkit.weights.py_faster_rcnn import (
    anchor_offsets,
    background_last,
    data,
    objectness,
    rpn_section,
    training,
    without_background,
)

RPN_CONVS = ("rpn_conv/3x3", "rpn_conv1")  # VGG-16's name, ZF's
HEAD = {"box_std": [1.0, 1.0, 1.0, 1.0], "min_score": 0.05, "nms_iou": 0.3, "max_detections": 100}
SELECTIVE_SEARCH = {"kind": "selective_search", "mode": "fast", "count": 2000}


def convert(found: WeightFile) -> Imported | None:
    """The detector in `found`; None for other files. Raises ValueError naming the tensor that does not fit."""
    tensors = found.tensors
    if found.container != CONTAINER or "cls_score.0" not in tensors or "bbox_pred.0" not in tensors:
        return None
    network = recognise(tensors)
    if network is None:
        raise ValueError("a detector of an unknown network; known are those of VGG-16, VGG_CNN_M_1024 and ZF")
    classes = class_names(outputs(tensors, "cls_score", 2) - 1)
    rpn_conv = next((name for name in RPN_CONVS if f"{name}.0" in tensors), None)
    wanted = network.wanted() | _head(network, len(classes))
    if rpn_conv is None:
        system = "Fast R-CNN"
        model: dict[str, Any] = {"kind": "fast_rcnn", "proposals": SELECTIVE_SEARCH}
    else:
        system = "Faster R-CNN"
        channels, anchors = outputs(tensors, rpn_conv, 4), outputs(tensors, "rpn_cls_score", 4) // 2
        wanted |= _rpn(rpn_conv, network.backbone.channels, channels, anchors)
        model = {"kind": "faster_rcnn", "rpn": rpn_section(channels, anchors)}
    model |= {"backbone": network.section | {"weights": None}, "pool": {"kind": "roi_pool"}, "head": HEAD}
    config = {
        "data": data(classes),
        "model": model | {"box_decoding": "inclusive"},
        "train": training(70_000, 50_000) if rpn_conv else training(40_000, 30_000),
    }
    weights = _in_our_order(network.as_trained(take(tensors, wanted, unused=())))
    return Imported(f"{system} on {network.name}, of Caffe", config, classes, weights)


def _head(network: CaffeNetwork, num_classes: int) -> dict[str, Wanted]:
    rows = num_classes + 1
    dim = network.backbone.tail_dim
    return _layer("cls_score", "cls_score", (rows, dim)) | _layer("bbox_pred", "bbox_pred", (4 * rows, dim))


def _rpn(conv: str, in_channels: int, channels: int, anchors: int) -> dict[str, Wanted]:
    return (
        _layer("proposals.conv", conv, (channels, in_channels, 3, 3))
        | _layer("rpn_cls_score", "rpn_cls_score", (2 * anchors, channels, 1, 1))
        | _layer("rpn_bbox_pred", "rpn_bbox_pred", (4 * anchors, channels, 1, 1))
    )


def _layer(ours: str, theirs: str, shape: tuple[int, ...]) -> dict[str, Wanted]:
    return {f"{ours}.weight": Wanted(f"{theirs}.0", shape), f"{ours}.bias": Wanted(f"{theirs}.1", shape[:1])}


def _in_our_order(taken: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our names, the tail's among the head's, and the rows of the last layers in our order."""
    weights = {}
    for name, value in taken.items():
        layer, _, part = name.rpartition(".")
        match layer:
            case "rpn_cls_score":
                weights[f"proposals.objectness.{part}"] = objectness(value.reshape(2, -1, *value.shape[1:]))
            case "rpn_bbox_pred":
                weights[f"proposals.offsets.{part}"] = anchor_offsets(value)
            case "cls_score":
                weights[f"head.classifier.{part}"] = background_last(value)
            case "bbox_pred":
                weights[f"head.regressor.{part}"] = without_background(value)
            case _:
                weights[f"head.{name}" if name.startswith("tail.") else name] = value
    return weights
