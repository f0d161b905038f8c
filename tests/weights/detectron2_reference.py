"""detectron2's Faster R-CNN R50-C4 in testing, written from its definition in plain torch; and random weights for it.

None of detkit's code is used. Sources: detectron2's configs/Base-RCNN-C4.yaml, modeling/anchor_generator.py,
box_regression.py, proposal_generator/proposal_utils.py, roi_heads/fast_rcnn.py, as described in its documentation.
"""

import math

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

Weights = dict[str, Tensor]
BLOCKS = {2: 3, 3: 4, 4: 6, 5: 3}  # of ResNet-50
STRIDE = 16


def random_weights(num_classes: int, seed: int) -> Weights:
    """Weights whose activations stay of one size."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, std: float) -> Tensor:
        return torch.randn(*shape, generator=generator) * std

    def conv(name: str, channels: int, inputs: int, kernel: int, gain: float = 1.0) -> Weights:
        around = 0.8 + 0.4 * torch.rand(channels, generator=generator)
        return {
            f"{name}.weight": normal(channels, inputs, kernel, kernel, std=math.sqrt(2 / (inputs * kernel**2))),
            f"{name}.norm.weight": around * gain,
            f"{name}.norm.bias": normal(channels, std=0.1),
            f"{name}.norm.running_mean": normal(channels, std=0.1),
            f"{name}.norm.running_var": 0.8 + 0.4 * torch.rand(channels, generator=generator),
        }

    weights = conv("backbone.stem.conv1", 64, 3, 7, gain=1 / 60)  # pixels go up to 255
    inputs, width = 64, 64
    for stage, count in BLOCKS.items():
        prefix = f"roi_heads.res{stage}" if stage == 5 else f"backbone.res{stage}"
        for i in range(count):
            if i == 0:
                weights |= conv(f"{prefix}.{i}.shortcut", 4 * width, inputs, 1, gain=0.7)
            weights |= conv(f"{prefix}.{i}.conv1", width, inputs, 1)
            weights |= conv(f"{prefix}.{i}.conv2", width, width, 3)
            weights |= conv(f"{prefix}.{i}.conv3", 4 * width, width, 1, gain=0.3)
            inputs = 4 * width
        width *= 2
    rpn, box = "proposal_generator.rpn_head", "roi_heads.box_predictor"
    shapes = {
        f"{rpn}.conv": (1024, 1024, 3, 3),
        f"{rpn}.objectness_logits": (15, 1024, 1, 1),
        f"{rpn}.anchor_deltas": (60, 1024, 1, 1),
        f"{box}.cls_score": (num_classes + 1, 2048),
        f"{box}.bbox_pred": (4 * num_classes, 2048),
    }
    for name, shape in shapes.items():
        weights |= {f"{name}.weight": normal(*shape, std=0.01), f"{name}.bias": torch.zeros(shape[0])}
    return weights


def spread(weights: Weights, image: Tensor) -> Weights:
    """The weights with the four last layers such that their outputs in `image` are about 0, and tell regions apart."""
    w = dict(weights)
    features = _features(w, _pixels(image))
    rpn, box = "proposal_generator.rpn_head", "roi_heads.box_predictor"
    hidden = F.relu(F.conv2d(features, w[f"{rpn}.conv.weight"], w[f"{rpn}.conv.bias"], padding=1))
    cells = hidden[0].flatten(1).T
    w |= _spread(w, f"{rpn}.objectness_logits", cells, std=2.0) | _spread(w, f"{rpn}.anchor_deltas", cells, std=0.2)
    some = _vectors(w, features, _proposals(w, features, *image.shape[1:])[:24])
    return w | _spread(w, f"{box}.cls_score", some, std=2.0) | _spread(w, f"{box}.bbox_pred", some, std=1.0)


def _spread(w: Weights, name: str, inputs: Tensor, std: float) -> Weights:
    weight = w[f"{name}.weight"]
    outputs = F.linear(inputs, weight.flatten(1))
    factor = std / outputs.std(dim=0)
    scaled = weight * factor.view(-1, *[1] * (weight.ndim - 1))
    return {f"{name}.weight": scaled, f"{name}.bias": -outputs.mean(dim=0) * factor}


def detect(weights: Weights, image: Tensor, num_classes: int) -> tuple[Tensor, Tensor, Tensor, int]:
    """Boxes, scores and classes in `image` (3, H, W), uint8 RGB at the size the network reads, best first.

    And how many boxes NMS took out.
    """
    height, width = image.shape[1:]
    features = _features(weights, _pixels(image))
    proposals = _proposals(weights, features, height, width)
    scores, boxes = _heads(weights, features, proposals, num_classes)
    return _detections(scores, boxes, height, width)


def _pixels(image: Tensor) -> Tensor:
    """Blue first, minus the mean; laid out in memory as detkit's, so that both add in the same order."""
    mean = torch.tensor([103.530, 116.280, 123.675])
    return (image.flip(0).float() - mean[:, None, None])[None].to(memory_format=torch.channels_last)


def _conv(w: Weights, name: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    """A convolution and FrozenBatchNorm2d: its statistics make a scale and a shift of each channel."""
    x = F.conv2d(x, w[f"{name}.weight"], stride=stride, padding=padding)
    scale = w[f"{name}.norm.weight"] * (w[f"{name}.norm.running_var"] + 1e-5).rsqrt()
    shift = w[f"{name}.norm.bias"] - w[f"{name}.norm.running_mean"] * scale
    return x * scale[:, None, None] + shift[:, None, None]


def _stage(w: Weights, name: str, x: Tensor, count: int, stride: int) -> Tensor:
    """Bottlenecks; the first strides in its first 1x1 convolution (STRIDE_IN_1X1)."""
    for i in range(count):
        step = stride if i == 0 else 1
        shortcut = _conv(w, f"{name}.{i}.shortcut", x, step) if i == 0 else x
        inner = F.relu(_conv(w, f"{name}.{i}.conv1", x, step))
        inner = F.relu(_conv(w, f"{name}.{i}.conv2", inner, padding=1))
        x = F.relu(_conv(w, f"{name}.{i}.conv3", inner) + shortcut)
    return x


def _features(w: Weights, pixels: Tensor) -> Tensor:
    x = F.relu(_conv(w, "backbone.stem.conv1", pixels, stride=2, padding=3))
    x = F.max_pool2d(x, kernel_size=3, stride=2, padding=1)
    for stage in (2, 3, 4):
        x = _stage(w, f"backbone.res{stage}", x, BLOCKS[stage], 1 if stage == 2 else 2)
    return x


def _anchors(rows: int, columns: int) -> Tensor:
    found = []
    for row in range(rows):
        for column in range(columns):
            for size in (32, 64, 128, 256, 512):
                for ratio in (0.5, 1.0, 2.0):
                    width = math.sqrt(size**2 / ratio)
                    height = ratio * width
                    x, y = column * STRIDE, row * STRIDE
                    found.append([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
    return torch.tensor(found)


def _apply(deltas: Tensor, boxes: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """Box2BoxTransform.apply_deltas: deltas (N, K * 4), boxes (N, 4) -> (N, K, 4)."""
    deltas = deltas.view(len(boxes), -1, 4)
    width, height = (boxes[:, 2] - boxes[:, 0])[:, None], (boxes[:, 3] - boxes[:, 1])[:, None]
    x, y = boxes[:, :1] + 0.5 * width, boxes[:, 1:2] + 0.5 * height
    dx, dy = deltas[..., 0] / weights[0], deltas[..., 1] / weights[1]
    limit = math.log(1000.0 / 16)
    dw, dh = (deltas[..., 2] / weights[2]).clamp(max=limit), (deltas[..., 3] / weights[3]).clamp(max=limit)
    x, y, width, height = dx * width + x, dy * height + y, dw.exp() * width, dh.exp() * height
    return torch.stack([x - 0.5 * width, y - 0.5 * height, x + 0.5 * width, y + 0.5 * height], dim=-1)


def _clip(boxes: Tensor, height: int, width: int) -> Tensor:
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack([x1.clamp(0, width), y1.clamp(0, height), x2.clamp(0, width), y2.clamp(0, height)], dim=-1)


def _proposals(w: Weights, features: Tensor, height: int, width: int) -> Tensor:
    rpn = "proposal_generator.rpn_head"
    hidden = F.relu(F.conv2d(features, w[f"{rpn}.conv.weight"], w[f"{rpn}.conv.bias"], padding=1))
    logits = F.conv2d(hidden, w[f"{rpn}.objectness_logits.weight"], w[f"{rpn}.objectness_logits.bias"])
    deltas = F.conv2d(hidden, w[f"{rpn}.anchor_deltas.weight"], w[f"{rpn}.anchor_deltas.bias"])
    rows, columns = features.shape[2:]
    logits = logits[0].permute(1, 2, 0).flatten()
    deltas = deltas[0].view(15, 4, rows, columns).permute(2, 3, 0, 1).reshape(-1, 4)
    boxes = _apply(deltas, _anchors(rows, columns), (1.0, 1.0, 1.0, 1.0))[:, 0]
    logits, order = logits.sort(descending=True)
    boxes, logits = _clip(boxes[order[:6000]], height, width), logits[:6000]
    nonempty = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    boxes, logits = boxes[nonempty], logits[nonempty]
    return boxes[torchvision.ops.nms(boxes, logits, 0.7)[:1000]]


def _vectors(w: Weights, features: Tensor, proposals: Tensor) -> Tensor:
    regions = torchvision.ops.roi_align(features, [proposals], (14, 14), 1 / STRIDE, sampling_ratio=0, aligned=True)
    regions = regions.to(memory_format=torch.channels_last)
    return _stage(w, "roi_heads.res5", regions, BLOCKS[5], 2).mean(dim=[2, 3])


def _heads(w: Weights, features: Tensor, proposals: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    box, vectors = "roi_heads.box_predictor", _vectors(w, features, proposals)
    scores = F.linear(vectors, w[f"{box}.cls_score.weight"], w[f"{box}.cls_score.bias"]).softmax(dim=1)
    deltas = F.linear(vectors, w[f"{box}.bbox_pred.weight"], w[f"{box}.bbox_pred.bias"])
    return scores[:, :num_classes], _apply(deltas, proposals, (10.0, 10.0, 5.0, 5.0))


def _detections(scores: Tensor, boxes: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor, int]:
    boxes = _clip(boxes, height, width)
    region, label = (scores > 0.05).nonzero(as_tuple=True)
    boxes, scores = boxes[region, label], scores[region, label]
    kept = torchvision.ops.batched_nms(boxes, scores, label, 0.5)
    best = kept[:100]
    return boxes[best], scores[best], label[best], len(scores) - len(kept)
