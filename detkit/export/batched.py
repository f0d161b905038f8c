"""Detecting as one function of tensors, for any number of images: what exporters are given to follow.

The steps are those of detectors/two_stage.py. Where it goes through the images one by one, which an exporter would
write down once for every image of its example, here all images go together. Every shape follows from the shapes of
the inputs, none from their values.

Shapes: B images, A anchors, K proposals, C classes, D detections.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.detectors.two_stage import TwoStageDetector
from detkit.heads.rpn import RPN
from detkit.ops import boxes as box_ops
from detkit.structures import Batch, Features

# NMS within each image: boxes (B, N, 4), scores (B, N), greatest IoU -> which are kept (B, N) bool. A box whose score
# is -inf is not kept and suppresses none.
Suppress = Callable[[Tensor, Tensor, float], Tensor]

# Of each input of BatchedDetector the sides that may differ from call to call, and their names.
AXES = ({0: "batch", 2: "height", 3: "width"}, {0: "batch"}, {0: "batch"}, {0: "batch", 1: "proposals"})


class BatchedDetector(nn.Module):
    """`TwoStageDetector.detect` as a function of tensors."""

    def __init__(self, detector: TwoStageDetector, suppress: Suppress) -> None:
        super().__init__()
        self.detector, self.suppress = detector, suppress

    def forward(
        self, images: Tensor, sizes: Tensor, original_sizes: Tensor, proposals: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (B, D, 4) px of the original images, scores (B, D) and labels (B, D), best first.

        `images` (B, 3, H, W) uint8 RGB, resized and padded; `sizes` (B, 2) int64, height and width of each without
        padding; `original_sizes` (B, 2) int64; `proposals` (B, N, 4) px of `images`, for a detector without an RPN:
        rows without area are padding. D is the config's max_detections; padding is 0 in all three.
        """
        features = self.detector.extract(Batch(images, sizes, original_sizes, ()))
        if proposals is None:
            regions, real = self._propose(features, sizes)
        else:
            regions, real = proposals, box_ops.long_enough(proposals, 0)
        scores, refined = self.detector.head.score(features, regions, sizes)
        boxes, scores, labels = self._select(scores, refined, real, sizes)
        scale = (original_sizes / sizes).flip(1).repeat(1, 2)  # (B, 4): x, y, x, y
        return boxes * scale[:, None].to(boxes.dtype), scores, labels

    def _propose(self, features: Features, sizes: Tensor) -> tuple[Tensor, Tensor]:
        """Proposals (B, K, 4) and which of them are real (B, K), as RPN.propose."""
        rpn = self.detector.proposals
        assert isinstance(rpn, RPN)
        rule = rpn.test_selection
        logits, offsets, anchors = rpn.predict(features if isinstance(features, Tensor) else features.base)
        scores, best = _best(logits, rule.before_nms, padding=-torch.inf)
        boxes = box_ops.decode(anchors[best], _rows(offsets, best), rpn.inclusive)
        boxes = box_ops.clip(boxes, sizes[:, None], rpn.inclusive)
        scores = torch.where(box_ops.long_enough(boxes, rule.min_side), scores, -torch.inf)
        scores = torch.where(self.suppress(boxes, scores, rule.nms_iou), scores, -torch.inf)
        scores, best = scores.topk(min(rule.after_nms, rule.before_nms), dim=1)
        return _rows(boxes, best), scores > -torch.inf

    def _select(self, scores: Tensor, boxes: Tensor, real: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The detections of each image, as RoIHead.select: (B, K, C + 1), (B, K, C or 1, 4), (B, K) bool, (B, 2)."""
        head = self.detector.head
        scores = (scores[:, :, :-1] * real[:, :, None]).flatten(1)  # (B, K * C)
        boxes = boxes.expand(-1, -1, head.num_classes, -1).flatten(1, 2)
        boxes = box_ops.clip(boxes, sizes[:, None], head.inclusive)
        labels = torch.arange(head.num_classes, device=scores.device).repeat(real.shape[1])
        likely = (scores > head.rule.min_score) & box_ops.long_enough(boxes, 0)
        kept = self.suppress(_apart(boxes, labels, likely), torch.where(likely, scores, -torch.inf), head.rule.nms_iou)
        scores, best = _best(torch.where(kept, scores, 0.0), head.rule.max_detections, padding=0.0)
        found = scores > 0
        return torch.where(found[:, :, None], _rows(boxes, best), 0.0), scores, torch.where(found, labels[best], 0)


def _best(scores: Tensor, count: int, padding: float) -> tuple[Tensor, Tensor]:
    """The `count` best of each image's scores (B, N), filled up with `padding`, and where they stand in (B, N)."""
    best, index = F.pad(scores, (0, count), value=padding).topk(count, dim=1)
    return best, index.clamp(max=scores.shape[1] - 1)


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """Of values (B, N, 4) the rows `index` (B, K) of each image."""
    return values.gather(1, index[:, :, None].expand(-1, -1, values.shape[2]))


def _apart(boxes: Tensor, labels: Tensor, likely: Tensor) -> Tensor:
    """Boxes (B, N, 4) moved apart by class as box_ops.nms_by_class does it, to the last bit."""
    values = torch.where(likely[:, :, None], boxes, 0.0)
    extent = values.amax(dim=(1, 2)).clamp(min=0) - values.amin(dim=(1, 2)).clamp(max=0) + 1  # (B,)
    return boxes + (labels.to(boxes.dtype) * extent[:, None])[:, :, None]
