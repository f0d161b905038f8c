"""Region proposal network (Ren et al. 2015, section 3.1): a score and a box offset for every anchor, then NMS.

Shapes: B images, A anchors a cell, N = H * W * A anchors an image, K proposals kept, M objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.ops import boxes as box_ops
from detkit.ops.anchors import Placing, placed_anchors
from detkit.ops.losses import smooth_l1_sum
from detkit.ops.matching import match, sample
from detkit.structures import Batch, Features, Losses, Pyramid, Target


@dataclass(frozen=True)
class Anchors:
    sizes: Sequence[float]  # px, square root of the area
    ratios: Sequence[float]  # height / width
    stride: int  # px between cells
    offset: float  # px where the first cell begins
    placing: Placing


@dataclass(frozen=True)
class RPNTraining:
    """Which anchors the RPN learns from. Ranges and defaults stand in config/models.py, under the same names."""

    positive_iou: float
    negative_iou: float
    batch_per_image: int
    positive_fraction: float
    across_border: bool  # also anchors that leave the image; the paper leaves them out
    box_weight: float
    smooth_l1_beta: float  # offsets below it count quadratically; 0: L1


@dataclass(frozen=True)
class Selection:
    """Which proposals are passed on."""

    before_nms: int
    after_nms: int
    nms_iou: float
    min_side: float  # px


class RPN(nn.Module):
    """A ProposalSource that is learned."""

    cell: Tensor

    def __init__(
        self,
        in_channels: int,
        channels: int,
        anchors: Anchors,
        training: RPNTraining,
        train: Selection,
        test: Selection,
        inclusive: bool = False,
    ) -> None:
        """`inclusive`: proposals are decoded and clipped as py-faster-rcnn does (ops/boxes.py)."""
        super().__init__()
        self.inclusive = inclusive
        self.stride, self.offset = anchors.stride, anchors.offset
        self.settings, self.train_selection, self.test_selection = training, train, test
        cell = torch.from_numpy(placed_anchors(anchors.sizes, anchors.ratios, anchors.placing, anchors.stride))
        self.register_buffer("cell", cell, persistent=False)
        self.conv = nn.Conv2d(in_channels, channels, kernel_size=3, padding=1)
        # One logit for the paper's two scores: softmax over (a, b) is the sigmoid of a - b.
        self.objectness = nn.Conv2d(channels, len(self.cell), kernel_size=1)
        self.offsets = nn.Conv2d(channels, 4 * len(self.cell), kernel_size=1)
        for layer in (self.conv, self.objectness, self.offsets):
            nn.init.normal_(layer.weight, std=0.01)  # section 3.1.3
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def learn(self, features: Features, batch: Batch) -> tuple[list[Tensor], Losses]:
        assert batch.targets is not None
        logits, offsets, anchors = self.predict(_base(features))
        with torch.no_grad():
            boxes, scores = self._select(logits.detach(), offsets.detach(), anchors, batch.sizes, self.train_selection)
        proposals = [b[s > -torch.inf] for b, s in zip(boxes, scores, strict=True)]
        return proposals, self._loss(logits, offsets, anchors, batch)

    def loss(self, features: Features, batch: Batch) -> Losses:
        """The losses alone: for training the RPN by itself (section 3.2, steps 1 and 3)."""
        assert batch.targets is not None
        return self._loss(*self.predict(_base(features)), batch)

    def propose(self, features: Features, batch: Batch) -> tuple[Tensor, Tensor]:
        boxes, scores = self.rank(features, batch.sizes, self.test_selection)
        return boxes, scores > -torch.inf

    def rank(self, features: Features, sizes: Tensor, selection: Selection) -> tuple[Tensor, Tensor]:
        """Proposals (B, K, 4) and their objectness logits (B, K), best first; -inf marks padding."""
        logits, offsets, anchors = self.predict(_base(features))
        return self._select(logits, offsets, anchors, sizes, selection)

    def predict(self, features_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Objectness logits (B, N), offsets (B, N, 4) and the anchors (N, 4) they belong to."""
        batch, _, height, width = features_BCHW.shape
        hidden = F.relu(self.conv(features_BCHW))
        logits = self.objectness(hidden).permute(0, 2, 3, 1).reshape(batch, -1)
        offsets = self.offsets(hidden).view(batch, -1, 4, height, width).permute(0, 3, 4, 1, 2).reshape(batch, -1, 4)
        return logits.float(), offsets.float(), grid_anchors(self.cell, height, width, self.stride, self.offset)

    def _select(
        self, logits: Tensor, offsets: Tensor, anchors: Tensor, sizes: Tensor, selection: Selection
    ) -> tuple[Tensor, Tensor]:
        chosen = [
            _select_one(logits[i], offsets[i], anchors, sizes[i], selection, self.inclusive) for i in range(len(logits))
        ]
        boxes, scores = zip(*chosen, strict=True)
        return torch.stack(boxes), torch.stack(scores)

    def _loss(self, logits: Tensor, offsets: Tensor, anchors: Tensor, batch: Batch) -> Losses:
        """Cross-entropy over the sampled anchors and smooth L1 over the positive ones, both per sampled anchor.

        The published code divides both by the 256 anchors of an image; the paper's lambda = 10 with N_reg the number
        of positions comes to nearly the same weight.

        Objectness is of no class: in federated data sets too, an anchor without a marked object counts as background,
        whatever was looked for in its image. Few classes are marked in each, so most of what an RPN could find is
        not; there is no telling where it is.
        """
        assert batch.targets is not None
        objectness, box, count = logits.sum() * 0, offsets.sum() * 0, 0
        for i, target in enumerate(batch.targets):
            positive, negative, index = self._sample(anchors, target, batch.sizes[i])
            sampled = torch.cat([positive, negative])
            wanted = torch.cat([torch.ones_like(positive), torch.zeros_like(negative)]).float()
            objectness = objectness + F.binary_cross_entropy_with_logits(logits[i, sampled], wanted, reduction="sum")
            box_targets = box_ops.encode(anchors[positive], target.boxes[index[positive]])
            box = box + smooth_l1_sum(offsets[i, positive], box_targets, self.settings.smooth_l1_beta)
            count += len(sampled)
        per_anchor = 1 / max(count, 1)
        return {"rpn_objectness": objectness * per_anchor, "rpn_box": box * per_anchor * self.settings.box_weight}

    @torch.no_grad()
    def _sample(self, anchors: Tensor, target: Target, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Indices of the positive and the negative anchors to learn from, and the object (N,) of each anchor."""
        usable = torch.ones_like(anchors[:, 0], dtype=torch.bool)
        if not self.settings.across_border:
            usable = (box_ops.clip(anchors, size) == anchors).all(dim=1)
        candidates = usable.nonzero().flatten()
        match_labels, index = match(
            anchors[candidates],
            target,
            self.settings.positive_iou,
            (0.0, self.settings.negative_iou),
            each_object_its_best=True,
        )
        positive, negative = sample(match_labels, self.settings.batch_per_image, self.settings.positive_fraction)
        index_of_all = torch.zeros(len(anchors), dtype=torch.int64, device=anchors.device)
        index_of_all[candidates] = index
        return candidates[positive], candidates[negative], index_of_all


def _base(features: Features) -> Tensor:
    return features.base if isinstance(features, Pyramid) else features


def grid_anchors(cell: Tensor, height: int, width: int, stride: int, offset: float = 0.0) -> Tensor:
    """`cell` (A, 4) repeated at every cell's centre: (height * width * A, 4) px of the image, row by row.

    `offset`: px where the first cell begins (backbones/backbone.py).
    """
    x = (torch.arange(width, device=cell.device, dtype=torch.float32) + 0.5) * stride + offset
    y = (torch.arange(height, device=cell.device, dtype=torch.float32) + 0.5) * stride + offset
    centers = torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1).flip(-1)  # (height, width, 2) as x, y
    return (centers.repeat(1, 1, 2)[:, :, None] + cell).reshape(-1, 4)


def _select_one(
    logits: Tensor, offsets: Tensor, anchors: Tensor, size: Tensor, selection: Selection, inclusive: bool
) -> tuple[Tensor, Tensor]:
    """The best proposals of one image (K, 4) and their scores (K,), -inf for padding.

    Pure tensor code with an output shape that depends on no value, so that torch.export can follow: what is too small
    or suppressed sinks to a score of -inf instead of being taken out.
    """
    scores, best = logits.topk(min(selection.before_nms, logits.shape[0]))
    boxes = box_ops.clip(box_ops.decode(anchors[best], offsets[best], inclusive), size, inclusive)
    scores = torch.where(box_ops.long_enough(boxes, selection.min_side), scores, -torch.inf)
    kept = torch.zeros_like(scores, dtype=torch.bool)
    kept[box_ops.nms(boxes, scores, selection.nms_iou)] = True
    scores = torch.where(kept, scores, -torch.inf)
    scores, best = scores.topk(min(selection.after_nms, scores.shape[0]))
    return boxes[best], scores
