"""faster-rcnn.pytorch in testing, straight from its definition: what an import is compared with.

Boxes are as there: x2, y2 are the last px inside. An image is not resized. Its padding of few proposals with boxes of
the first px is left out, as detkit leaves it out. What it has from py-faster-rcnn is that of caffe_reference.py.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tests.weights import caffe_reference as caffe
from tests.weights.simple_faster_rcnn_reference import vgg16

Array = NDArray[np.float64]
Weights = Mapping[str, Tensor]
RESNET50 = (3, 4, 6, 3)
CELLS, STRIDE = 7, 16
# Features (C, H, W), a region x1, y1, x2, y2 in cells -> (C, 7, 7)
Pool = Callable[[Array, Array], Array]


def detect(weights: Weights, image: NDArray[np.uint8], pool: str) -> caffe.Found:
    """`image` (H, W, 3) RGB; `pool`: one of POOLS, or "pool". Computed in the precision of the weights."""
    height, width = image.shape[:2]
    feature_map = extract(weights, image)
    rois = propose(weights, feature_map, height, width)
    regions = vectors(weights, feature_map, rois, pool)
    scores = linear(weights, "RCNN_cls_score", regions).softmax(dim=1).double().numpy()
    offsets = linear(weights, "RCNN_bbox_pred", regions).double().numpy()
    per_class = offsets.reshape(len(rois), -1, 4) * [0.1, 0.1, 0.2, 0.2]
    if per_class.shape[1] == 1:  # class_agnostic
        per_class = per_class.repeat(scores.shape[1], axis=1)
    moved = [caffe.clipped(caffe.moved(rois, per_class[:, k]), height, width) for k in range(scores.shape[1])]
    return caffe.best_of(scores, np.stack(moved, axis=1))


def extract(weights: Weights, image: NDArray[np.uint8]) -> Tensor:
    """The feature map (1, C, H, W)."""
    pixels = image[:, :, ::-1].astype(np.float32) - np.float32(caffe.PIXEL_MEANS)
    blob = torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous(memory_format=torch.channels_last)  # as detkit's
    blob = blob.to(next(iter(weights.values())).dtype)
    return vgg16(weights, "RCNN_base", blob) if "RCNN_top.3.weight" in weights else resnet_base(weights, blob)


def vectors(weights: Weights, feature_map: Tensor, rois: Array, pool: str) -> Tensor:
    """What the scores of each region are computed from, (R, D)."""
    if pool == "pool":
        pooled = caffe.roi_pool(feature_map[0].numpy(), rois, CELLS)
    else:
        features = feature_map[0].double().numpy()
        pooled = torch.from_numpy(np.stack([POOLS[pool](features, roi / STRIDE) for roi in rois])).to(feature_map.dtype)
    if "RCNN_top.3.weight" not in weights:
        pooled = pooled.contiguous(memory_format=torch.channels_last)
        return stage(weights, "RCNN_top.0", pooled, RESNET50[3], 2).mean(3).mean(2)
    hidden = linear(weights, "RCNN_top.0", pooled.flatten(1)).relu()
    return linear(weights, "RCNN_top.3", hidden).relu()


def linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def resnet_base(weights: Weights, x: Tensor) -> Tensor:
    x = F.conv2d(x, weights["RCNN_base.0.weight"], stride=2, padding=3)
    x = F.max_pool2d(norm(weights, "RCNN_base.1", x).relu(), 3, 2, padding=0, ceil_mode=True)
    for i in range(3):
        x = stage(weights, f"RCNN_base.{4 + i}", x, RESNET50[i], 1 if i == 0 else 2)
    return x


def stage(weights: Weights, name: str, x: Tensor, blocks: int, stride: int) -> Tensor:
    """Bottlenecks; the first of the stage halves the resolution in its first 1x1."""
    for i in range(blocks):
        block, step = f"{name}.{i}", stride if i == 0 else 1
        y = norm(weights, f"{block}.bn1", F.conv2d(x, weights[f"{block}.conv1.weight"], stride=step)).relu()
        y = norm(weights, f"{block}.bn2", F.conv2d(y, weights[f"{block}.conv2.weight"], padding=1)).relu()
        y = norm(weights, f"{block}.bn3", F.conv2d(y, weights[f"{block}.conv3.weight"]))
        if i == 0:
            shortcut = F.conv2d(x, weights[f"{block}.downsample.0.weight"], stride=step)
            x = norm(weights, f"{block}.downsample.1", shortcut)
        x = (x + y).relu()
    return x


def norm(weights: Weights, name: str, x: Tensor) -> Tensor:
    """BatchNorm2d in testing, as torch computes it: a scale and a shift of each channel."""
    mean, var, gain, bias = (
        weights[f"{name}.{part}"].view(-1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
    )
    scale = gain * (var + 1e-5).rsqrt()
    return x * scale + (bias - mean * scale)


def propose(weights: Weights, feature_map: Tensor, height: int, width: int) -> Array:
    """proposal_layer.py: all boxes, however small."""

    def conv(name: str, x: Tensor, padding: int = 0) -> Tensor:
        return F.conv2d(x, weights[f"RCNN_rpn.{name}.weight"], weights[f"RCNN_rpn.{name}.bias"], padding=padding)

    hidden = conv("RPN_Conv", feature_map, 1).relu()
    scores = conv("RPN_cls_score", hidden)
    _, twice, rows, columns = scores.shape
    scores = scores.reshape(1, 2, -1, columns).softmax(dim=1).reshape(1, twice, rows, columns)[0, twice // 2 :]
    offsets = conv("RPN_bbox_pred", hidden)[0].permute(1, 2, 0).reshape(-1, 4).double().numpy()
    cell = caffe.base_anchors([4, 8, 16, 32] if twice == 24 else [8, 16, 32])
    anchors = np.concatenate([cell + STRIDE * np.array([x, y, x, y]) for y in range(rows) for x in range(columns)])
    boxes = caffe.clipped(caffe.moved(anchors, offsets), height, width)
    ranks = scores.permute(1, 2, 0).flatten().double().numpy()
    best = np.argsort(-ranks, kind="stable")[:6000]
    return boxes[best][caffe.nms(boxes[best], ranks[best], 0.7)[:300]]


# Region pooling


def crop(features: Array, roi: Array) -> Array:
    """_affine_grid_gen and the sampler: as many samples as cells, the outermost on the region's edges."""
    return samples(features, np.linspace(roi[1], roi[3], CELLS), np.linspace(roi[0], roi[2], CELLS), faded)


def crop_with_max(features: Array, roi: Array) -> Array:
    """CROP_RESIZE_WITH_MAX_POOL: twice as many samples, of which the largest in each 2 x 2."""
    count = 2 * CELLS
    fine = samples(features, np.linspace(roi[1], roi[3], count), np.linspace(roi[0], roi[2], count), faded)
    return fine.reshape(len(fine), CELLS, 2, CELLS, 2).max(axis=(2, 4))


def corner_align(features: Array, roi: Array) -> Array:
    """RoIAlignAvg: roi_align.c with a row and a column more, and the mean of each 2 x 2."""
    bins = [max(roi[i + 2] - roi[i] + 1, 0) / CELLS for i in (0, 1)]  # x, y
    places = [roi[i] + np.arange(CELLS + 1) * bins[i] for i in (0, 1)]
    at = samples(features, places[1], places[0], continued)
    return (at[:, 1:, 1:] + at[:, 1:, :-1] + at[:, :-1, 1:] + at[:, :-1, :-1]) / 4


def benchmark_align(features: Array, roi: Array) -> Array:
    """ROIAlign_cuda.cu of the branch pytorch-1.0, with a sampling ratio of 0."""
    pooled = np.zeros((len(features), CELLS, CELLS))
    sides = [max(roi[i + 2] - roi[i], 1) for i in (0, 1)]
    counts = [math.ceil(side / CELLS) for side in sides]
    for i in range(CELLS):
        for j in range(CELLS):
            y = roi[1] + (i + (np.arange(counts[1]) + 0.5) / counts[1]) * sides[1] / CELLS
            x = roi[0] + (j + (np.arange(counts[0]) + 0.5) / counts[0]) * sides[0] / CELLS
            pooled[:, i, j] = samples(features, y, x, held).mean(axis=(1, 2))
    return pooled


POOLS: dict[str, Pool] = {
    "crop": crop,
    "crop, max": crop_with_max,
    "align": corner_align,
    "align of 1.0": benchmark_align,
}
# A place along one side of so many cells -> the cells it is between, and their parts in the value there
Between = Callable[[float, int], list[tuple[int, float]]]


def samples(features: Array, rows: Array, columns: Array, between: Between) -> Array:
    """(C, H, W) at each of the places: (C, len(rows), len(columns))."""
    found = np.zeros((len(features), len(rows), len(columns)))
    for i, y in enumerate(rows):
        for j, x in enumerate(columns):
            for row, in_row in between(y, features.shape[1]):
                for column, in_column in between(x, features.shape[2]):
                    found[:, i, j] += in_row * in_column * features[:, row, column]
    return found


def faded(place: float, side: int) -> list[tuple[int, float]]:
    """The bilinear sampler: cells outside are 0."""
    low = math.floor(place)
    parts = [(low, 1 - (place - low)), (low + 1, place - low)]
    return [(cell, part) for cell, part in parts if 0 <= cell < side]


def continued(place: float, side: int) -> list[tuple[int, float]]:
    """roi_align.c: 0 outside; the last two cells also stand for what is behind the last."""
    if place < 0 or place >= side:
        return []
    low = min(math.floor(place), side - 2)
    return [(low, 1 - (place - low)), (low + 1, place - low)]


def held(place: float, side: int) -> list[tuple[int, float]]:
    """maskrcnn-benchmark: beyond the outermost cells their values, for a cell; then 0."""
    if place < -1 or place > side:
        return []
    place = min(max(place, 0), side - 1)
    low = min(int(place), side - 1)
    return [(low, 1 - (place - low)), (min(low + 1, side - 1), place - low)]
