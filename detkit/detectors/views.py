"""A detector's look at images in one size, mirrored or not, and the way of boxes into it and back.

B images, K regions an image, N boxes, C classes.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from detkit.data.pipeline.prepare import Resize, collate
from detkit.detectors.two_stage import TwoStageDetector
from detkit.structures import Batch, Sample


@dataclass(frozen=True)
class View:
    """One detector's look at images."""

    detector: TwoStageDetector
    resize: Resize
    mirrored: bool
    labels: tuple[int, ...]  # for each class of the detector the label it gets

    def see(self, batch: Batch) -> Batch:
        """A batch of images as they are stored, as the detector is to see them."""
        return collate([self._sample(batch, i) for i in range(len(batch))]).to(batch.images.device)

    def _sample(self, batch: Batch, image: int) -> Sample:
        height, width = batch.sizes[image].tolist()
        pixels = batch.images[image, :, :height, :width].cpu()
        proposals = None if batch.proposals is None else batch.proposals[image].cpu()
        sample = self.resize(Sample(batch.image_ids[image], pixels, (height, width), proposals=proposals))
        if not self.mirrored:
            return sample
        proposals = None if sample.proposals is None else mirror(sample.proposals, sample.image.shape[2])
        return replace(sample, image=sample.image.flip(2), proposals=proposals)

    def into(self, boxes: Tensor, sizes: Tensor, seen: Tensor) -> Tensor:
        """Boxes (B, ..., 4) px of images of `sizes` (B, 2) in px of what this view sees of them, `seen` (B, 2)."""
        boxes = boxes * _factor(seen, sizes, boxes)
        return mirror(boxes, _width(seen, boxes)) if self.mirrored else boxes

    def back(self, boxes: Tensor, seen: Tensor, sizes: Tensor) -> Tensor:
        """The way back of `into`."""
        boxes = mirror(boxes, _width(seen, boxes)) if self.mirrored else boxes
        return boxes * _factor(sizes, seen, boxes)

    def in_order(self, scores: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """The head's scores (B, K, C + 1) and boxes (B, K, C or 1, 4), both by label."""
        count = len(self.labels)
        order = torch.tensor(self.labels, device=scores.device).argsort()
        columns = torch.cat([order, order.new_tensor([count])])  # background stays last
        return scores[..., columns], boxes.expand(-1, -1, count, -1)[:, :, order]


def mirror(boxes: Tensor, width: int | Tensor) -> Tensor:
    """Boxes (..., 4) of images of `width` px (one, or broadcast to the boxes) in the images seen in a mirror."""
    x1, y1, x2, y2 = boxes.unbind(dim=-1)
    return torch.stack([width - x2, y1, width - x1, y2], dim=-1)


def _factor(goal: Tensor, size: Tensor, boxes: Tensor) -> Tensor:
    """(B, 1, ..., 4) that takes boxes (B, ..., 4) of images of `size` (B, 2) to those of `goal` (B, 2)."""
    factor = (goal / size).flip(1).repeat(1, 2).to(boxes.dtype)
    return factor.view(len(factor), *[1] * (boxes.ndim - 2), 4)


def _width(size: Tensor, boxes: Tensor) -> Tensor:
    """(B, 1, ...) that goes with one coordinate of boxes (B, ..., 4)."""
    return size[:, 1].to(boxes.dtype).view(len(size), *[1] * (boxes.ndim - 2))
