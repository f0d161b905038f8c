"""Faster R-CNN out of checkpoints of faster-rcnn.pytorch (jwyang): VGG-16 and the bottleneck ResNets of Caffe.

It follows py-faster-rcnn; what differs is that no proposal is too small, that regions are pooled in ways of its own,
to 7 x 7 cells on ResNets as well, and that ResNets keep their batch norms. Where NMS leaves fewer than 300 proposals,
it scores boxes of the first px in place of the others; detkit does not. What py_faster_rcnn.py says of the growth of a
box and of enlarged images holds here, too; there the last NMS is on boxes in px of the original.

The file tells how regions are pooled, or, an older one, nothing: then demo.py takes cfgs/vgg16.yml's way, which is also
that of the published models. It does not tell whether its `align` is that of the master branch or of pytorch-1.0, nor
whether `crop` was followed by max pooling: only with cfgs/res50.yml it was. Other sizes of images, such as the 800 px
of --ls, are not told either.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from detkit.backbones.backbone import Backbone
from detkit.backbones.resnet import resnet
from detkit.backbones.vgg import CHANNELS, vgg
from detkit.weights.class_lists import class_names
from detkit.weights.classification import BOTTLENECK
from detkit.weights.imported import Imported, Wanted, WeightFile, classes_beside_background, rows, take
from detkit.weights.py_faster_rcnn import (
    anchor_offsets,
    background_last,
    data,
    objectness,
    rpn_section,
    training,
    without_background,
)

CELLS = 7  # a side: POOLING_SIZE
CAFFE_PIXELS = {"mean": [122.7717, 115.9465, 102.9801], "std": [1.0, 1.0, 1.0], "order": "bgr"}  # by R, G, B
RPN_CONV, RPN_SCORES, RPN_BOXES = "RCNN_rpn.RPN_Conv", "RCNN_rpn.RPN_cls_score", "RCNN_rpn.RPN_bbox_pred"
CLASSIFIER, REGRESSOR = "RCNN_cls_score", "RCNN_bbox_pred"
UNUSED = ("num_batches_tracked",)
# The places of conv1, bn1, relu, maxpool, layer1, ... in a Sequential.
RESNET_PLACES = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6"}
OF_1_0 = {"kind": "roi_align", "size": CELLS, "sampling": 0, "pixel_centers": "integer"}


def convert(found: WeightFile) -> Imported | None:
    """The detector in `found`; None for other files. Raises ValueError naming what does not fit."""
    tensors = found.tensors
    if not any(name.startswith("RCNN_base.") for name in tensors):
        return None
    section = _backbone_section(tensors)
    name = "VGG-16" if section["kind"] == "vgg" else f"ResNet-{section['depth']}"
    channels, anchors = rows(tensors, f"{RPN_CONV}.bias"), rows(tensors, f"{RPN_SCORES}.bias") // 2
    classes = class_names(classes_beside_background(tensors, CLASSIFIER))
    is_agnostic = bool(found.settings.get("class_agnostic", rows(tensors, f"{REGRESSOR}.bias") == 4))
    pool, way, hint = _pooling(found.settings.get("pooling_mode", "align"), name)
    config = {
        "data": data(classes),
        "model": {
            "kind": "faster_rcnn",
            "backbone": section | {"weights": None},
            "pool": pool,
            "rpn": rpn_section(channels, anchors) | {"min_side": 0.0},
            "head": {"min_score": 0.05, "nms_iou": 0.3, "max_detections": 100, "class_agnostic": is_agnostic},
            "box_decoding": "inclusive",
        },
        "train": _training(section["kind"] == "vgg"),
    }
    wanted = _wanted(section, channels, anchors, len(classes), is_agnostic)
    weights = _in_our_order(take(tensors, wanted, UNUSED), is_agnostic)
    told = "" if "pooling_mode" in found.settings else ", which the file does not tell"
    kind = f"Faster R-CNN on {name} of faster-rcnn.pytorch, regions pooled by {way}{told}"
    return Imported(kind, config, classes, weights, hint)


def _pooling(mode: object, network: str) -> tuple[dict[str, Any], str, str]:
    """The pool section of a pooling_mode, how it is called, and the hint to the user."""
    match mode:
        case "pool":
            return {"kind": "roi_pool", "size": CELLS}, "pool", ""
        case "align":
            keys = " ".join(f"model.pool.{key}={value}" for key, value in OF_1_0.items())
            hint = f"if it was trained on the branch pytorch-1.0, import it with: {keys}"
            return {"kind": "corner_align", "size": CELLS}, "align as on its master branch", hint
        case "crop":
            is_pooled = network == "ResNet-50"
            hint = "if CROP_RESIZE_WITH_MAX_POOL was set otherwise, import it with: "
            section = {"kind": "roi_crop", "size": CELLS, "max_pool": is_pooled}
            way = f"crop {'with' if is_pooled else 'without'} max pooling, as in its config of that network"
            return section, way, f"{hint}model.pool.max_pool={str(not is_pooled).lower()}"
    raise ValueError(f"its pooling_mode is {mode!r:.40}, expected pool, align or crop")


def _training(is_vgg: bool) -> dict[str, Any]:
    """What cfgs/vgg16.yml, cfgs/res101.yml and the README's first rows say: VOC07, one image a step."""
    if is_vgg:
        return training(60_000, 50_000)
    recipe = training(70_000, 50_000)
    return recipe | {"optimizer": recipe["optimizer"] | {"weight_decay": 0.0001, "bias_rate": 1.0}}


def _backbone_section(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    if "RCNN_top.0.bias" in tensors:
        channels, fc_dim = rows(tensors, "RCNN_base.28.bias"), rows(tensors, "RCNN_top.0.bias")
        if not 0 < channels <= CHANNELS[-1]:
            raise ValueError(f"tensor RCNN_base.28.bias has {channels} channels; VGG-16 has {CHANNELS[-1]}")
        section = {"kind": "vgg", "depth": 16, "layout": "torchvision", "norm": "none", "pixels": CAFFE_PIXELS}
        return section | {"width": channels / CHANNELS[-1], "fc_dim": fc_dim}
    starts = [f"RCNN_base.{RESNET_PLACES[f'layer{i}']}." for i in (1, 2, 3)] + ["RCNN_top.0."]
    blocks = [len({name[len(start) :].split(".")[0] for name in tensors if name.startswith(start)}) for start in starts]
    depth = BOTTLENECK.get(tuple(blocks))
    if depth is None:
        raise ValueError(
            f"no VGG-16, and as a ResNet its stages have {blocks} blocks; of faster-rcnn.pytorch (jwyang) detkit reads "
            f"VGG-16 and the ResNets of {[*map(list, BOTTLENECK)]}"
        )
    return {"kind": "resnet", "depth": depth, "layout": "msra", "first_pool": "ceil", "norm": "frozen"}


def _backbone(section: Mapping[str, Any]) -> Backbone:
    """The network without memory: for its names and shapes."""
    with torch.device("meta"):
        if section["kind"] == "vgg":
            return vgg(16, "torchvision", "none", 0, section["fc_dim"], section["width"], None)
        return resnet(section["depth"], "msra", "frozen", 0, None, "ceil")


def _wanted(
    section: Mapping[str, Any], channels: int, anchors: int, num_classes: int, is_agnostic: bool
) -> dict[str, Wanted]:
    """By our name, where each tensor of the detector is found and its shape."""
    backbone = _backbone(section)
    found: dict[str, Wanted] = {}
    for name, value in backbone.features.state_dict().items():
        part, _, rest = name.partition(".")
        found[f"features.{name}"] = Wanted(f"RCNN_base.{RESNET_PLACES.get(part, part)}.{rest}", value.shape)
    for name, value in backbone.tail.state_dict().items():
        part, _, rest = name.partition(".")
        place = "3" if part == "fc7" else "0"  # fc6 and conv5 are the first
        found[f"head.tail.{name}"] = Wanted(f"RCNN_top.{place}.{rest}", value.shape)
    for ours, theirs, shape in (
        ("proposals.conv", RPN_CONV, (channels, backbone.channels, 3, 3)),
        ("proposals.objectness", RPN_SCORES, (2 * anchors, channels, 1, 1)),
        ("proposals.offsets", RPN_BOXES, (4 * anchors, channels, 1, 1)),
        ("head.classifier", CLASSIFIER, (num_classes + 1, backbone.tail_dim)),
        ("head.regressor", REGRESSOR, (4 if is_agnostic else 4 * (num_classes + 1), backbone.tail_dim)),
    ):
        found[f"{ours}.weight"] = Wanted(f"{theirs}.weight", shape)
        found[f"{ours}.bias"] = Wanted(f"{theirs}.bias", shape[:1])
    return found


def _in_our_order(taken: Mapping[str, Tensor], is_agnostic: bool) -> dict[str, Tensor]:
    weights = dict(taken)
    for part in ("weight", "bias"):
        scores = taken[f"proposals.objectness.{part}"]
        weights[f"proposals.objectness.{part}"] = objectness(scores.reshape(2, -1, *scores.shape[1:]))
        weights[f"proposals.offsets.{part}"] = anchor_offsets(taken[f"proposals.offsets.{part}"])
        weights[f"head.classifier.{part}"] = background_last(taken[f"head.classifier.{part}"])
        if not is_agnostic:
            weights[f"head.regressor.{part}"] = without_background(taken[f"head.regressor.{part}"])
    return weights
