"""The region head (Fast R-CNN, section 2): pool each region, run the tail, score C classes and background, refine.

Shapes: B images, R regions of the batch, K regions an image, C classes (background is the last logit), D tail size.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.ops import boxes as box_ops
from detkit.ops.losses import smooth_l1_sum, without_unknown
from detkit.ops.matching import match, sample
from detkit.ops.pooling import RegionPool, as_regions
from detkit.structures import Batch, Features, Losses, Target


@dataclass(frozen=True)
class HeadTraining:
    """Which regions the head learns from. Ranges and defaults stand in config/models.py, under the same names."""

    batch_per_image: int
    foreground_fraction: float
    foreground_iou: float
    background_iou: tuple[float, float]  # [least, most)
    box_weight: float
    smooth_l1_beta: float  # offsets below it count quadratically; 0: L1


@dataclass(frozen=True)
class DetectionRule:
    """Which scored regions become detections."""

    min_score: float  # what becomes one scores more
    nms_iou: float
    max_detections: int

    def at_least(self, min_score: float | None) -> "DetectionRule":
        """The rule under which all of at least `min_score` become detections, and no others; None: the rule as it is.

        A higher limit changes no detection above it: NMS and the limit on detections go from the best down.
        """
        if min_score is None:
            return self
        return replace(self, min_score=float(np.nextafter(np.float32(min_score), np.float32(0))))


class RoIHead(nn.Module):
    box_std: Tensor

    def __init__(
        self,
        pool: RegionPool,
        tail: nn.Module,
        tail_dim: int,
        num_classes: int,
        class_agnostic: bool,
        box_std: tuple[float, float, float, float],
        training: HeadTraining,
        rule: DetectionRule,
        regions_at_once: int | None = None,
        inclusive: bool = False,
        global_context: bool = False,
    ) -> None:
        """`box_std`: offsets are learned divided by it; `class_agnostic`: one box a region instead of one a class.

        `regions_at_once`: regions that go through the tail together when detecting; None: all of a batch.
        `inclusive`: boxes are decoded and clipped as Fast R-CNN's code does (ops/boxes.py). `global_context`: the whole
        image goes through pool and tail as one more region, and its vector stands behind that of each region when
        it is scored (He et al. 2016, appendix B).
        """
        super().__init__()
        self.pool, self.tail = pool, tail
        self.num_classes, self.class_agnostic = num_classes, class_agnostic
        self.settings, self.rule, self.regions_at_once = training, rule, regions_at_once
        self.inclusive, self.global_context = inclusive, global_context
        self.register_buffer("box_std", torch.tensor(box_std), persistent=False)
        length = 2 * tail_dim if global_context else tail_dim
        self.classifier = nn.Linear(length, num_classes + 1)
        self.regressor = nn.Linear(length, 4 * (1 if class_agnostic else num_classes))
        nn.init.normal_(self.classifier.weight, std=0.01)  # Fast R-CNN, section 2.3
        nn.init.normal_(self.regressor.weight, std=0.001)
        nn.init.zeros_(self.classifier.bias)
        nn.init.zeros_(self.regressor.bias)

    def loss(self, features: Features, proposals: list[Tensor], batch: Batch) -> Losses:
        """Softmax loss over the sampled regions and smooth L1 over the foreground ones, both per sampled region.

        Background regions of federated data sets learn nothing about classes that are unknown in their image.
        """
        assert batch.targets is not None
        sampled = [
            self._sample(boxes, target, size)
            for boxes, target, size in zip(proposals, batch.targets, batch.sizes, strict=True)
        ]
        labels, box_targets = (torch.cat([d[i] for d in sampled]) for i in (1, 2))  # (R,) (R, 4)
        context = self.context(features, batch.sizes)
        logits, offsets = self.predict(features, as_regions([d[0] for d in sampled]), context)
        foreground = (labels < self.num_classes).nonzero().flatten()
        column = torch.zeros_like(labels) if self.class_agnostic else labels
        predicted = offsets[foreground, column[foreground]]
        unknown, counts = [target.unknown for target in batch.targets], [len(d[1]) for d in sampled]
        box = smooth_l1_sum(predicted, box_targets[foreground], self.settings.smooth_l1_beta)
        return {
            "head_class": F.cross_entropy(without_unknown(logits, labels, unknown, counts), labels),
            "head_box": (box + offsets.sum() * 0) / len(labels) * self.settings.box_weight,
        }

    def context(self, features: Features, sizes: Tensor) -> Tensor | None:
        """What the head knows of each image as a whole (B, D); None without global context. `sizes` (B, 2) px."""
        if not self.global_context:
            return None
        image = torch.arange(sizes.shape[0], device=sizes.device)[:, None]
        corner = torch.zeros_like(sizes)
        return self._embed(features, torch.cat([image, corner, sizes.flip(1)], dim=1).float())

    def predict(self, features: Features, regions_R5: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Logits (R, C + 1) and offsets divided by box_std (R, C or 1, 4); `context` as of the images' `context`."""
        vectors = self._embed(features, regions_R5)
        if context is not None:
            vectors = torch.cat([vectors, context[regions_R5[:, 0].long()]], dim=1)  # (R, 2 D)
        logits, offsets = self.classifier(vectors), self.regressor(vectors)
        return logits.float(), offsets.float().view(logits.shape[0], -1, 4)

    def score(self, features: Features, boxes_BK4: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        """Class probabilities (B, K, C + 1) and refined boxes (B, K, C or 1, 4) of the regions; `sizes` (B, 2) px."""
        batch, count, _ = boxes_BK4.shape
        image = torch.arange(batch, device=boxes_BK4.device, dtype=boxes_BK4.dtype).view(-1, 1, 1)
        regions = torch.cat([image.expand(-1, count, 1), boxes_BK4], dim=2).view(-1, 5)
        parts = (regions,) if self.regions_at_once is None else torch.split(regions, self.regions_at_once)
        context = self.context(features, sizes)
        scored = [self.predict(features, part, context) for part in parts]
        logits, offsets = (torch.cat(column) for column in zip(*scored, strict=True))
        refined = box_ops.decode(regions[:, None, 1:], offsets * self.box_std, self.inclusive)
        return logits.softmax(dim=1).view(batch, count, -1), refined.view(batch, count, -1, 4)

    def select(
        self, scores: Tensor, boxes: Tensor, real: Tensor, size: Tensor, rule: DetectionRule
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The detections of one image, best first: boxes (D, 4), scores (D,), labels (D,); a score of 0 is padding.

        `scores` (K, C + 1), `boxes` (K, C or 1, 4), `real` (K,) bool: which regions are no padding; `size` (2,) px.
        Pure tensor code whose output shape depends on no value.
        """
        return suppress(*self.candidates(scores, boxes, real, size), rule)

    def candidates(self, scores: Tensor, boxes: Tensor, real: Tensor, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The scored boxes of one image, as `select` takes them, one by one: (N, 4), (N,), (N,); N = K * C.

        They lie within the image; a score of 0 is padding.
        """
        scores = (scores[:, :-1] * real[:, None]).flatten()  # (K * C,)
        boxes = box_ops.clip(boxes.expand(-1, self.num_classes, -1).reshape(-1, 4), size, self.inclusive)
        labels = torch.arange(self.num_classes, device=scores.device).repeat(real.shape[0])
        return boxes, scores, labels

    def _embed(self, features: Features, regions_R5: Tensor) -> Tensor:
        """The tail's vectors (R, D)."""
        return torch.as_tensor(self.tail(self.pool(features, regions_R5).to(memory_format=torch.channels_last)))

    @torch.no_grad()
    def _sample(self, proposals: Tensor, target: Target, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (R_i, 4), labels (R_i,) with C for background, and offsets to their objects (R_i, 4), 0 without one.

        The objects themselves are among the candidates, so that there is foreground from the first step on. Where
        nothing can be learned from, the whole image (of `size` (2,) px) stands for background: a mean needs a region.
        """
        candidates = torch.cat([proposals, target.boxes[~target.ignore]])
        settings = self.settings
        match_labels, index = match(
            candidates, target, settings.foreground_iou, settings.background_iou, each_object_its_best=False
        )
        foreground, background = sample(match_labels, settings.batch_per_image, settings.foreground_fraction)
        if len(foreground) + len(background) == 0:
            candidates = torch.cat([torch.zeros_like(size), size.flip(0)]).to(proposals.dtype)[None]
            background = torch.zeros(1, dtype=torch.int64, device=candidates.device)
        sampled = torch.cat([foreground, background])
        labels = torch.full_like(sampled, self.num_classes)
        box_targets = candidates.new_zeros(len(sampled), 4)
        if len(foreground):
            objects = index[foreground]
            labels[: len(foreground)] = target.labels[objects]
            offsets = box_ops.encode(candidates[foreground], target.boxes[objects])
            box_targets[: len(foreground)] = offsets / self.box_std
        return candidates[sampled], labels, box_targets


def suppress(boxes: Tensor, scores: Tensor, labels: Tensor, rule: DetectionRule) -> tuple[Tensor, Tensor, Tensor]:
    """What the rule leaves of scored boxes (N, 4), (N,), (N,), as `RoIHead.select` gives it."""
    likely = ((scores > rule.min_score) & box_ops.long_enough(boxes, 0)).nonzero().flatten()
    kept = likely[box_ops.nms_by_class(boxes[likely], scores[likely], labels[likely], rule.nms_iou)]
    final = torch.zeros_like(scores)
    final[kept] = scores[kept]
    final, best = final.topk(min(rule.max_detections, final.shape[0]))
    return boxes[best], final, labels[best]
