"""The two-stage detector: Fast R-CNN and Faster R-CNN are this class with another source of proposals.

image -> preprocess -> features -> proposals -> region head -> NMS -> detections
"""

import torch
from torch import Tensor, nn

from detkit.backbones.backbone import Backbone
from detkit.heads.proposals import ProposalSource
from detkit.heads.roi_head import RoIHead
from detkit.structures import Batch, Clock, Detections, Features, Losses, no_clock


class TwoStageDetector(nn.Module):
    def __init__(self, backbone: Backbone, proposals: ProposalSource, head: RoIHead) -> None:
        super().__init__()
        self.preprocess, self.features = backbone.preprocess, backbone.features
        self.proposals, self.head = proposals, head

    def forward(self, batch: Batch) -> Losses:
        """The losses of a batch with targets, whether in training mode or not."""
        features = self.extract(batch)
        proposals, losses = self.proposals.learn(features, batch)
        return losses | self.head.loss(features, proposals, batch)

    @torch.no_grad()
    def detect(self, batch: Batch, clock: Clock = no_clock, min_score: float | None = None) -> list[Detections]:
        """As engine/inference.py has it; wants eval mode, as any inference."""
        boxes, scores, labels = self.detect_padded(batch, clock, min_score)
        scale = (batch.original_sizes / batch.sizes).flip(1).repeat(1, 2)  # (B, 4): x, y, x, y
        boxes = boxes * scale[:, None].to(boxes.dtype)
        return [
            Detections(boxes[i, real].cpu(), scores[i, real].cpu(), labels[i, real].cpu())
            for i, real in enumerate(scores > 0)
        ]

    def detect_padded(
        self, batch: Batch, clock: Clock = no_clock, min_score: float | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The tensor core of `detect`: boxes (B, D, 4) px of the resized images, scores (B, D), labels (B, D).

        Always D = max_detections rows an image; a score of 0 marks padding. torch.export can follow it.
        """
        with clock("convolution"):
            features = self.extract(batch)
        with clock("proposals"):
            proposals, real = self.proposals.propose(features, batch)
        with clock("regions"):
            scores, boxes = self.head.score(features, proposals, batch.sizes)
        with clock("nms"):
            rule = self.head.rule.at_least(min_score)
            chosen = [self.head.select(scores[i], boxes[i], real[i], batch.sizes[i], rule) for i in range(len(batch))]
            found_boxes, found_scores, found_labels = zip(*chosen, strict=True)
            return torch.stack(found_boxes), torch.stack(found_scores), torch.stack(found_labels)

    def extract(self, batch: Batch) -> Features:
        """What is computed once an image."""
        images = self.preprocess(batch.images, batch.sizes).to(memory_format=torch.channels_last)
        features: Features = self.features(images)
        return features
