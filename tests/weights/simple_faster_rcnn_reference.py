"""simple-faster-rcnn-pytorch in testing, straight from its definition, for an image at scale 1; boxes: y, x, y, x."""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]
CONVOLUTIONS = (2, 2, 3, 3, 3)


def detect(state: Mapping[str, Tensor], pixels: NDArray[np.uint8], caffe: bool) -> list[tuple[int, float, Array]]:
    """Class without background, score and box (4,) of each detection."""
    image = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)
    if caffe:
        blob = image.flip(0) - torch.tensor([122.7717, 115.9465, 102.9801]).view(3, 1, 1)
    else:
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        blob = (image / 255 - mean) / std
    feature_map = vgg16(state, "extractor", blob[None])
    size = pixels.shape[:2]
    rois = _propose(state, feature_map, size)
    regions = torch.from_numpy(rois[:, [1, 0, 3, 2]]).float()
    regions = torch.cat([torch.zeros(len(regions), 1), regions], dim=1)
    x = torchvision.ops.roi_pool(feature_map, regions, (7, 7), 1 / 16).flatten(1)
    for layer in ("head.classifier.0", "head.classifier.2"):
        x = F.linear(x, state[f"{layer}.weight"], state[f"{layer}.bias"]).relu()
    scores = F.linear(x, state["head.score.weight"], state["head.score.bias"]).softmax(dim=1).double().numpy()
    offsets = F.linear(x, state["head.cls_loc.weight"], state["head.cls_loc.bias"]).double().numpy()
    offsets = offsets.reshape(len(rois), -1, 4) * [0.1, 0.1, 0.2, 0.2]
    found = []
    for label in range(1, scores.shape[1]):
        boxes = np.clip(_moved(rois, offsets[:, label]), 0, [*size, *size])
        likely = scores[:, label] > 0.05
        boxes, probabilities = boxes[likely], scores[likely, label]
        found += [(label - 1, float(probabilities[i]), boxes[i]) for i in _nms(boxes, probabilities, 0.3)]
    return found


def vgg16(state: Mapping[str, Tensor], prefix: str, x: Tensor) -> Tensor:
    """torchvision's vgg16().features without its last pooling: sizes of odd maps are rounded down."""
    layer = 0
    for count in CONVOLUTIONS:
        if layer:
            x, layer = F.max_pool2d(x, 2, 2), layer + 1
        for _ in range(count):
            x = F.conv2d(x, state[f"{prefix}.{layer}.weight"], state[f"{prefix}.{layer}.bias"], padding=1).relu()
            layer += 2
    return x


def _propose(state: Mapping[str, Tensor], feature_map: Tensor, size: tuple[int, ...]) -> Array:
    def conv(name: str, x: Tensor, padding: int = 0) -> Tensor:
        return F.conv2d(x, state[f"rpn.{name}.weight"], state[f"rpn.{name}.bias"], padding=padding)

    hidden = conv("conv1", feature_map, 1).relu()
    rows, columns = hidden.shape[2:]
    scores = conv("score", hidden)[0].permute(1, 2, 0).reshape(-1, 2).softmax(dim=1)[:, 1].double().numpy()
    offsets = conv("loc", hidden)[0].permute(1, 2, 0).reshape(-1, 4).double().numpy()
    sides = [(16 * s * np.sqrt(r), 16 * s * np.sqrt(1 / r)) for r in (0.5, 1, 2) for s in (8, 16, 32)]
    cell = np.array([[8 - h / 2, 8 - w / 2, 8 + h / 2, 8 + w / 2] for h, w in sides])
    anchors = np.concatenate([cell + 16 * np.array([y, x, y, x]) for y in range(rows) for x in range(columns)])
    boxes = np.clip(_moved(anchors, offsets), 0, [*size, *size])
    large = (boxes[:, 2:] - boxes[:, :2] >= 16).all(axis=1)
    boxes, scores = boxes[large], scores[large]
    best = np.argsort(-scores, kind="stable")[:6000]
    return boxes[best][_nms(boxes[best], scores[best], 0.7)[:300]]


def _moved(boxes: Array, offsets: Array) -> Array:
    """loc2bbox."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    centers = boxes[:, :2] + sizes / 2 + offsets[:, :2] * sizes
    halves = np.exp(offsets[:, 2:]) * sizes / 2
    return np.concatenate([centers - halves, centers + halves], axis=1)


def _nms(boxes: Array, scores: Array, most: float) -> list[int]:
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        low, high = np.maximum(boxes[i, :2], boxes[kept, :2]), np.minimum(boxes[i, 2:], boxes[kept, 2:])
        common = np.maximum(high - low, 0).prod(axis=1)
        areas = [(b[..., 2:] - b[..., :2]).prod(axis=-1) for b in (boxes[i], boxes[kept])]
        if (common / (areas[0] + areas[1] - common) <= most).all():
            kept.append(int(i))
    return kept
