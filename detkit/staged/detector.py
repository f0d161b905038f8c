"""R-CNN and SPPNet at test time: proposals -> fc7 -> SVMs -> NMS -> box regression, one round (R-CNN, section 2.2)."""

from typing import Literal

import torch
from torch import Tensor, nn

from detkit.heads.roi_head import DetectionRule
from detkit.ops import boxes as box_ops
from detkit.ops.pooling import as_regions
from detkit.staged.bbox_regressor import BoxRegressors
from detkit.staged.region_network import RegionNetwork, RegionVectors
from detkit.staged.svm import LinearSVMs
from detkit.structures import Batch, Clock, Detections, Features, no_clock

Regressed = Literal["pool5", "fc7"]


class StagedDetector(nn.Module):
    """The network, the SVMs and the box regressors, as one module whose state is all that model.pt needs.

    A score is 1 / (1 + exp(-margin)): 0.5 where the SVM is undecided. It is no calibrated probability.
    """

    svm_weights: Tensor  # (C, D), feature scale folded in
    svm_bias: Tensor  # (C,)
    box_weights: Tensor  # (C, P, 4); P: length of pool5 or fc7
    box_bias: Tensor  # (C, 4)

    def __init__(
        self,
        network: RegionNetwork,
        num_classes: int,
        fc7_dim: int,
        regressed_dim: int,
        regressed: Regressed,
        rule: DetectionRule,
    ) -> None:
        super().__init__()
        self.network, self.num_classes, self.regressed, self.rule = network, num_classes, regressed, rule
        self.register_buffer("svm_weights", torch.zeros(num_classes, fc7_dim))
        self.register_buffer("svm_bias", torch.zeros(num_classes))
        self.register_buffer("box_weights", torch.zeros(num_classes, regressed_dim, 4))
        self.register_buffer("box_bias", torch.zeros(num_classes, 4))

    def load_fitted(self, svms: LinearSVMs, regressors: BoxRegressors) -> None:
        """Take over what the last two stages found."""
        self.svm_weights.copy_(svms.weights * svms.scale)
        self.svm_bias.copy_(svms.bias)
        self.box_weights.copy_(regressors.weights)
        self.box_bias.copy_(regressors.bias)

    @torch.no_grad()
    def detect(self, batch: Batch, clock: Clock = no_clock, min_score: float | None = None) -> list[Detections]:
        """As engine/inference.py has it; wants eval mode, as any inference."""
        if batch.proposals is None:
            raise ValueError(f"image {batch.image_ids[0]}: no proposals; make them with detkit make-proposals")
        with clock("convolution"):
            features = self.network.maps(batch)
        rule = self.rule.at_least(min_score)
        return [self._detect_one(batch, features, i, rule, clock) for i in range(len(batch))]

    def _detect_one(
        self, batch: Batch, features: Features, image: int, rule: DetectionRule, clock: Clock
    ) -> Detections:
        assert batch.proposals is not None
        boxes, size = batch.proposals[image], batch.sizes[image]
        if len(boxes) == 0:
            return Detections.empty()
        with clock("regions"):
            regions = as_regions([boxes])
            regions[:, 0] = image
            vectors = self.network.embed(features, regions)
            scores = (vectors.fc7 @ self.svm_weights.T + self.svm_bias).sigmoid()  # (N, C)
        with clock("nms"):
            rows, labels, kept = _select(boxes, scores, rule)
            refined = box_ops.clip(box_ops.decode(boxes[rows], self._offsets(vectors, rows, labels)), size)
            real = box_ops.long_enough(refined, 0)
            scale = (batch.original_sizes[image] / size).flip(0).repeat(2).to(refined.dtype)
            refined = refined * scale
        return Detections(refined[real].cpu(), kept[real].cpu(), labels[real].cpu())

    def _offsets(self, vectors: RegionVectors, rows: Tensor, labels: Tensor) -> Tensor:
        """(K, 4) offsets of the rows by the regressor of their labels."""
        inputs = (vectors.pool5 if self.regressed == "pool5" else vectors.fc7)[rows]
        return BoxRegressors(self.box_weights, self.box_bias).offsets(inputs, labels)


def _select(boxes: Tensor, scores: Tensor, rule: DetectionRule) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of the boxes that become detections, their labels and scores, best first: NMS before regression."""
    likely = scores > rule.min_score
    rows, labels = likely.nonzero(as_tuple=True)
    values = scores[likely]
    kept = box_ops.nms_by_class(boxes[rows], values, labels, rule.nms_iou)[: rule.max_detections]
    return rows[kept], labels[kept], values[kept]
