"""detectron2's Faster R-CNN on the C4 backbone (ResNet to conv4, conv5 on each region), from the names of its tensors.

The numbers that no tensor tells are those of configs/Base-RCNN-C4.yaml and of detectron2's defaults, which its model
zoo and almost every model trained from it have. Orders of anchors, offsets and classes are as in detkit; what differs
is that anchors stand on the cells' corners, and the pixel mean. (A box that clipping to the image leaves empty may be
among detectron2's detections; detkit drops it.)
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from detkit.backbones.backbone import Backbone
from detkit.backbones.resnet import resnet
from detkit.ops.anchors import cell_anchors
from detkit.weights.class_lists import class_names
from detkit.weights.imported import (
    Imported,
    ImportedBackbone,
    Wanted,
    WeightFile,
    classes_beside_background,
    rows,
    take,
)

MARK = "proposal_generator.rpn_head.conv.weight"
OBJECTNESS = "proposal_generator.rpn_head.objectness_logits"
CLASSIFIER = "roi_heads.box_predictor.cls_score"
REGRESSOR = "roi_heads.box_predictor.bbox_pred"
CELL_ANCHORS = "proposal_generator.anchor_generator.cell_anchors.0"
UNUSED = ("num_batches_tracked", CELL_ANCHORS, "pixel_mean", "pixel_std")
OTHER_MODELS = {  # how their names begin: what they are
    "backbone.body.": "a detector of torchvision, with FPN",
    "backbone.fpn_": "a detectron2 model with FPN",
    "backbone.bottom_up.": "a detectron2 model with FPN or a backbone of its own",
    "roi_heads.mask_head.": "a detectron2 Mask R-CNN",
    "roi_heads.keypoint_head.": "a detectron2 Keypoint R-CNN",
    "roi_heads.box_head.": "a detectron2 model with a box head of its own (FPN, DC5 or Cascade)",
    "head.cls_subnet.": "a detectron2 RetinaNet",
    "sem_seg_head.": "a detectron2 segmentation model",
}
PIXEL_MEAN, PIXEL_STD = (103.530, 116.280, 123.675), (1.0, 1.0, 1.0)  # blue, green, red
PIXELS = {"mean": list(PIXEL_MEAN[::-1]), "std": list(PIXEL_STD), "order": "bgr"}
SIZES, RATIOS = (32.0, 64.0, 128.0, 256.0, 512.0), (0.5, 1.0, 2.0)
Depth = Literal[50, 101, 152]
VOC_DATA = {  # the configs PascalVOC-Detection/faster_rcnn_R_50_C4 and COCO-Detection/faster_rcnn_R_50_C4_3x
    "kind": "voc",
    "root": "data/VOCdevkit",
    "train": ["VOC2007/trainval", "VOC2012/trainval"],
    "test": ["VOC2007/test"],
    "augment": {"horizontal_flip": 0.5, "scale_jitter": [0.6, 1.0]},
}
COCO_DATA = {
    "kind": "coco",
    "root": "data/coco",
    "train": ["train2017"],
    "test": ["val2017"],
    "augment": {"horizontal_flip": 0.5, "scale_jitter": [0.8, 1.0]},
}
VOC_TRAIN = {"steps": 18000, "schedule": {"kind": "step", "drops": [12000, 16000]}, "warmup_steps": 100}
COCO_TRAIN = {"steps": 270000, "schedule": {"kind": "step", "drops": [210000, 250000]}, "warmup_steps": 1000}
BLOCKS: dict[tuple[int, ...], Depth] = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152}


def convert(found: WeightFile) -> Imported | ImportedBackbone | None:
    """A C4 detector, or the ImageNet ResNet of detectron2's own names. Raises ValueError for its other models."""
    tensors = found.tensors
    if "stem.conv1.weight" in tensors:
        return _from_torchvision(tensors)
    other = next((what for start, what in OTHER_MODELS.items() for name in tensors if name.startswith(start)), None)
    if other is not None:
        raise ValueError(f"{other}, which detkit does not have; of detectron2 it reads Faster R-CNN with C4")
    if MARK not in tensors:
        return None
    _check_pixels(tensors)
    depth = _depth(tensors, lambda stage: f"{'roi_heads' if stage == 5 else 'backbone'}.res{stage}.")
    num_classes = classes_beside_background(tensors, CLASSIFIER)
    weights = take(tensors, _wanted(depth, tensors, num_classes), UNUSED)
    _check_anchors(tensors)
    classes = class_names(num_classes)
    kind = f"detectron2's Faster R-CNN R{depth}-C4 with {num_classes} classes"
    return Imported(kind, _config(depth, rows(tensors, MARK), classes), classes, weights)


def _from_torchvision(tensors: Mapping[str, Tensor]) -> ImportedBackbone:
    """torchvision's network as detectron2's convert-torchvision-to-d2.py renames it: stem, res2 ... res5."""
    depth = _depth(tensors, lambda stage: f"res{stage}.")
    backbone = _resnet(depth, "torchvision")
    shapes = dict(backbone.features.state_dict()) | dict(backbone.tail.state_dict())
    wanted = {ours: Wanted(_their_name(ours, "", ""), value.shape) for ours, value in shapes.items()}
    weights = take(tensors, wanted, (*UNUSED, "stem.fc.weight", "stem.fc.bias"))
    section = {"kind": "resnet", "depth": depth, "layout": "torchvision"}
    return ImportedBackbone(f"torchvision's ResNet-{depth} under detectron2's names", section, weights)


def _depth(tensors: Mapping[str, Tensor], prefix: Any) -> Depth:
    """`prefix`: from 2 ... 5 to what the names of that stage begin with."""
    blocks = []
    for stage in range(2, 6):
        start = prefix(stage)
        blocks.append(len({name[len(start) :].split(".")[0] for name in tensors if name.startswith(start)}))
    depth = BLOCKS.get(tuple(blocks))
    if depth is None:
        raise ValueError(f"its stages have {blocks} blocks; detkit's bottleneck ResNets have {[*map(list, BLOCKS)]}")
    return depth


def _resnet(depth: Depth, layout: Literal["torchvision", "msra"]) -> Backbone:
    """The network without memory: for its names and shapes."""
    with torch.device("meta"):
        return resnet(depth, layout, "frozen", 0, None)


def _wanted(depth: Depth, tensors: Mapping[str, Tensor], num_classes: int) -> dict[str, Wanted]:
    """By our name, where each tensor of the detector is found and its shape."""
    backbone = _resnet(depth, "msra")
    channels, dim = backbone.channels, backbone.tail_dim
    hidden, anchors = rows(tensors, MARK), len(SIZES) * len(RATIOS)
    features = {
        f"features.{name}": Wanted(_their_name(name, "backbone.", ""), value.shape)
        for name, value in backbone.features.state_dict().items()
    }
    tail = {
        f"head.tail.{name}": Wanted(_their_name(name, "", "roi_heads."), value.shape)
        for name, value in backbone.tail.state_dict().items()
    }
    deltas = "proposal_generator.rpn_head.anchor_deltas"
    layers = {
        "proposals.conv": (MARK.removesuffix(".weight"), (hidden, channels, 3, 3)),
        "proposals.objectness": (OBJECTNESS, (anchors, hidden, 1, 1)),
        "proposals.offsets": (deltas, (4 * anchors, hidden, 1, 1)),
        "head.classifier": (CLASSIFIER, (num_classes + 1, dim)),
        "head.regressor": (REGRESSOR, (4 * num_classes, dim)),
    }
    heads = {f"{ours}.weight": Wanted(f"{theirs}.weight", shape) for ours, (theirs, shape) in layers.items()}
    biases = {f"{ours}.bias": Wanted(f"{theirs}.bias", shape[:1]) for ours, (theirs, shape) in layers.items()}
    return features | tail | heads | biases


def _their_name(ours: str, before: str, before_conv5: str) -> str:
    """conv1.weight -> stem.conv1.weight, layer2.0.bn1.bias -> res3.0.conv1.norm.bias, downsample -> shortcut."""
    part, _, rest = ours.partition(".")
    if part in ("conv1", "bn1"):
        return f"{before}stem.conv1.{'norm.' if part == 'bn1' else ''}{rest}"
    stage = int(part.removeprefix("layer")) + 1
    block, layer, last = rest.split(".", 2)
    if layer == "downsample":
        index, _, last = last.partition(".")
        place = "shortcut" if index == "0" else "shortcut.norm"
    else:
        place = layer if layer.startswith("conv") else f"conv{layer.removeprefix('bn')}.norm"
    return f"{before_conv5 if stage == 5 else before}res{stage}.{block}.{place}.{last}"


def _check_pixels(tensors: Mapping[str, Tensor]) -> None:
    """Files of some ages hold the pixel statistics; others than those of the MSRA networks tell of another layout."""
    for name, expected in (("pixel_mean", PIXEL_MEAN), ("pixel_std", PIXEL_STD)):
        found = tensors[name].flatten().tolist() if name in tensors else expected
        if len(found) != 3 or any(abs(one - other) > 0.01 for one, other in zip(found, expected)):
            raise ValueError(
                f"its {name} is {[round(value, 3) for value in found[:4]]}, expected {list(expected)}: a model that "
                "was not started from detectron2's MSRA weights, whose strides and channel order the file does not tell"
            )


def _check_anchors(tensors: Mapping[str, Tensor]) -> None:
    expected = torch.from_numpy(cell_anchors(SIZES, RATIOS))
    found = tensors.get(CELL_ANCHORS)
    if found is not None and (found.shape != expected.shape or not torch.allclose(found.float(), expected, atol=1e-2)):
        raise ValueError(f"its anchors are not those of sizes {SIZES} and ratios {RATIOS}, which detectron2's C4 has")


def _config(depth: int, hidden: int, classes: tuple[str, ...]) -> dict[str, Any]:
    """What it is trained and tested with; data and schedule are PASCAL VOC's for 20 classes, else COCO's (3x)."""
    is_voc = len(classes) == 20
    rpn = {
        "channels": hidden,
        "sizes": list(SIZES),
        "ratios": list(RATIOS),
        "anchors": "corner",
        "across_border": True,
        "smooth_l1_beta": 0.0,
        "min_side": 0.0,
        "train_before_nms": 12000,
        "train_after_nms": 2000,
        "test_before_nms": 6000,
        "test_after_nms": 1000,
    }
    backbone = {"kind": "resnet", "depth": depth, "layout": "msra", "pixels": PIXELS, "weights": None}
    sgd = {"kind": "sgd", "momentum": 0.9, "weight_decay": 0.0001}
    return {
        "data": (VOC_DATA if is_voc else COCO_DATA) | {"classes": list(classes), "short_side": 800, "long_side": 1333},
        "model": {
            "kind": "faster_rcnn",
            "backbone": backbone,
            "pool": {"kind": "roi_align", "size": 14, "sampling": 0},
            "rpn": rpn,
            "head": {"batch_per_image": 512, "smooth_l1_beta": 0.0, "nms_iou": 0.5},
        },
        "train": (VOC_TRAIN if is_voc else COCO_TRAIN) | {"batch_size": 16, "lr": 0.02, "optimizer": sgd},
    }
