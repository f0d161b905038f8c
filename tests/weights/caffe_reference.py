"""Fast R-CNN and py-faster-rcnn in testing, straight from their definitions: what an import is compared with.

Boxes here are as there: x2, y2 are the last px inside. An image is not resized, so that its scale is 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]
Layers = Mapping[str, Sequence[NDArray[np.float32]]]
PIXEL_MEANS = (102.9801, 115.9465, 122.7717)  # blue, green, red
VGG16 = ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3))  # stage, convolutions
STRIDE = 16


@dataclass(frozen=True)
class Found:
    """Detections, best first."""

    boxes: Array  # (N, 4)
    scores: Array
    labels: NDArray[np.int64]  # 0 is the first class that is not background


def detect(network: str, layers: Layers, image: NDArray[np.uint8], proposals: Array | None = None) -> Found:
    """`network`: "vgg16", "zf" or "vgg_m"; `image` (H, W, 3) RGB; `proposals` (N, 4) for Fast R-CNN."""
    height, width = image.shape[:2]
    blob = torch.from_numpy(image[:, :, ::-1].astype(np.float32) - np.float32(PIXEL_MEANS)).permute(2, 0, 1)[None]
    feature_map = {"vgg16": vgg16, "zf": zf, "vgg_m": vgg_m}[network](layers, blob)
    rois = propose(layers, feature_map, height, width) if proposals is None else proposals
    cells = 7 if network == "vgg16" else 6
    pooled = roi_pool(feature_map[0].numpy(), rois, cells)
    kept = 0.5 if network == "zf" else 1.0  # dropout_param: scale_train: false
    fc6 = inner_product(layers, "fc6", pooled.flatten(1)).relu() * kept
    fc7 = inner_product(layers, "fc7", fc6).relu() * kept
    scores = inner_product(layers, "cls_score", fc7).softmax(dim=1).double().numpy()
    offsets = inner_product(layers, "bbox_pred", fc7).double().numpy()
    boxes = np.stack(
        [clipped(moved(rois, offsets[:, 4 * k : 4 * k + 4]), height, width) for k in range(scores.shape[1])], axis=1
    )
    return best_of(scores, boxes)


def best_of(scores: Array, boxes: Array, min_score: float = 0.05, nms_iou: float = 0.3, most: int = 100) -> Found:
    """Scores (R, C + 1), background first, and boxes (R, C + 1, 4)."""
    rows = []
    for label in range(1, scores.shape[1]):
        likely = np.flatnonzero(scores[:, label] > min_score)
        kept = likely[nms(boxes[likely, label], scores[likely, label], nms_iou)]
        rows += [(scores[i, label], label - 1, boxes[i, label]) for i in kept]
    rows = sorted(rows, key=lambda row: -row[0])[:most]
    labels = np.array([row[1] for row in rows], np.int64)
    return Found(np.array([row[2] for row in rows]).reshape(-1, 4), np.array([row[0] for row in rows]), labels)


def convolve(layers: Layers, name: str, x: Tensor, stride: int = 1, pad: int = 0) -> Tensor:
    weight, bias = (torch.from_numpy(values) for values in layers[name])
    return F.conv2d(x, weight, bias, stride, pad)


def inner_product(layers: Layers, name: str, x: Tensor) -> Tensor:
    weight, bias = (torch.from_numpy(values) for values in layers[name])
    return x @ weight.T + bias


def max_pool(x: Tensor, kernel: int, stride: int, pad: int = 0) -> Tensor:
    """Caffe's: sizes are rounded up, and a window that begins behind the image is left out."""
    counts = []
    for side in x.shape[2:]:
        count = -(-(side + 2 * pad - kernel) // stride) + 1
        counts.append(count - (pad > 0 and (count - 1) * stride >= side + pad))
    need = [(count - 1) * stride + kernel for count in counts]
    right, below = (max(0, need[i] - x.shape[2 + i] - pad) for i in (1, 0))
    padded = F.pad(x, (pad, right, pad, below), value=-torch.inf)
    rows, columns = ((counts[i] - 1) * stride + 1 for i in (0, 1))
    windows = [
        padded[:, :, i : i + rows : stride, j : j + columns : stride] for i in range(kernel) for j in range(kernel)
    ]
    return torch.stack(windows).amax(dim=0)


def within_channel_norm(x: Tensor) -> Tensor:
    """LRN, WITHIN_CHANNEL, of 3 x 3 neighbours, alpha 5e-5, beta 0.75."""
    padded = F.pad(x.square(), (1, 1, 1, 1))
    height, width = x.shape[2:]
    total = sum(padded[:, :, i : i + height, j : j + width] for i in range(3) for j in range(3))
    return x / (1 + 5e-5 / 9 * total) ** 0.75


def across_channel_norm(x: Tensor) -> Tensor:
    """LRN of 5 channels, alpha 5e-4, beta 0.75, k 2."""
    channels = x.shape[1]
    squares = x.square()
    total = torch.stack([squares[:, max(0, i - 2) : min(channels, i + 3)].sum(dim=1) for i in range(channels)], dim=1)
    return x / (2 + 5e-4 / 5 * total) ** 0.75


def vgg16(layers: Layers, x: Tensor) -> Tensor:
    for stage, count in VGG16:
        x = max_pool(x, 2, 2) if stage > 1 else x
        for i in range(1, count + 1):
            x = convolve(layers, f"conv{stage}_{i}", x, pad=1).relu()
    return x


def zf(layers: Layers, x: Tensor) -> Tensor:
    x = max_pool(within_channel_norm(convolve(layers, "conv1", x, 2, 3).relu()), 3, 2, 1)
    x = max_pool(within_channel_norm(convolve(layers, "conv2", x, 2, 2).relu()), 3, 2, 1)
    for name in ("conv3", "conv4", "conv5"):
        x = convolve(layers, name, x, pad=1).relu()
    return x


def vgg_m(layers: Layers, x: Tensor) -> Tensor:
    x = max_pool(across_channel_norm(convolve(layers, "conv1", x, 2, 0).relu()), 3, 2)
    x = max_pool(across_channel_norm(convolve(layers, "conv2", x, 2, 1).relu()), 3, 2)
    for name in ("conv3", "conv4", "conv5"):
        x = convolve(layers, name, x, pad=1).relu()
    return x


def base_anchors(scales: Sequence[float]) -> Array:
    """generate_anchors.py: boxes about the middle of [0, 15], the ratios' sides rounded and then multiplied."""
    rows = []
    for ratio in (0.5, 1.0, 2.0):
        width = np.round(np.sqrt(16 * 16 / ratio))
        height = np.round(width * ratio)
        for scale in scales:
            w, h = (width * scale - 1) / 2, (height * scale - 1) / 2
            rows.append([7.5 - w, 7.5 - h, 7.5 + w, 7.5 + h])
    return np.array(rows)


def propose(layers: Layers, feature_map: Tensor, height: int, width: int) -> Array:
    """proposal_layer.py in testing, with the scores of rpn_cls_prob_reshape."""
    conv = next(name for name in ("rpn_conv/3x3", "rpn_conv1") if name in layers)
    hidden = convolve(layers, conv, feature_map, pad=1).relu()
    scores = convolve(layers, "rpn_cls_score", hidden)
    _, twice, rows, columns = scores.shape
    scores = scores.reshape(1, 2, -1, columns).softmax(dim=1).reshape(1, twice, rows, columns)[0, twice // 2 :]
    offsets = convolve(layers, "rpn_bbox_pred", hidden)[0].permute(1, 2, 0).reshape(-1, 4).double().numpy()
    cell = base_anchors([4, 8, 16, 32] if twice == 24 else [8, 16, 32])
    anchors = np.concatenate([cell + STRIDE * np.array([x, y, x, y]) for y in range(rows) for x in range(columns)])
    boxes = clipped(moved(anchors, offsets), height, width)
    order_scores = scores.permute(1, 2, 0).flatten().double().numpy()
    large = ((boxes[:, 2:] - boxes[:, :2] + 1) >= 16).all(axis=1)
    boxes, order_scores = boxes[large], order_scores[large]
    best = np.argsort(-order_scores, kind="stable")[:6000]
    boxes, order_scores = boxes[best], order_scores[best]
    return boxes[nms(boxes, order_scores, 0.7)[:300]]


def moved(boxes: Array, offsets: Array) -> Array:
    """bbox_transform_inv."""
    sizes = boxes[:, 2:] - boxes[:, :2] + 1
    centers = boxes[:, :2] + 0.5 * sizes + offsets[:, :2] * sizes
    halves = 0.5 * np.exp(offsets[:, 2:]) * sizes
    return np.concatenate([centers - halves, centers + halves], axis=1)


def clipped(boxes: Array, height: int, width: int) -> Array:
    return np.clip(boxes, 0, [width - 1, height - 1] * 2)


def nms(boxes: Array, scores: Array, most: float) -> NDArray[np.int64]:
    areas = (boxes[:, 2:] - boxes[:, :2] + 1).prod(axis=1)
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        first, order = order[0], order[1:]
        kept.append(first)
        low = np.maximum(boxes[first, :2], boxes[order, :2])
        high = np.minimum(boxes[first, 2:], boxes[order, 2:])
        common = np.maximum(0, high - low + 1).prod(axis=1)
        order = order[common / (areas[first] + areas[order] - common) <= most]
    return np.array(kept, np.int64)


def roi_pool(feature_map: NDArray[np.float32], rois: Array, cells: int) -> Tensor:
    """roi_pooling_layer.cpp with its float32 arithmetic: (C, H, W) and (R, 4) -> (R, C, cells, cells)."""
    channels, height, width = feature_map.shape
    pooled = np.zeros((len(rois), channels, cells, cells), np.float32)
    for r, roi in enumerate(rois.astype(np.float32)):
        x1, y1, x2, y2 = (int(np.floor(value * np.float32(1 / STRIDE) + np.float32(0.5))) for value in roi)
        bin_h, bin_w = (
            np.float32(max(y2 - y1 + 1, 1)) / np.float32(cells),
            np.float32(max(x2 - x1 + 1, 1)) / np.float32(cells),
        )
        for i in range(cells):
            top, bottom = edges(i, bin_h, y1, height)
            for j in range(cells):
                left, right = edges(j, bin_w, x1, width)
                if top < bottom and left < right:
                    pooled[r, :, i, j] = feature_map[:, top:bottom, left:right].max(axis=(1, 2))
    return torch.from_numpy(pooled)


def edges(i: int, size: np.float32, start: int, limit: int) -> tuple[int, int]:
    low, high = int(np.floor(np.float32(i) * size)), int(np.ceil(np.float32(i + 1) * size))
    return min(max(low + start, 0), limit), min(max(high + start, 0), limit)
