"""Detecting with more than one look: other sizes, the mirrored picture, several detectors, regions scored again.

A view is one detector that looks at the picture in one size, mirrored or not. The scored boxes of all views are united
before suppression, in px of the first view:

picture -> each view: resize, mirror -> features -> proposals -> region head, again on refined boxes -> mapped back
        -> united -> NMS or soft-NMS -> box voting -> detections

B images, K regions an image, N scored boxes, C classes. Everything here works on detectors as they were trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from detkit.data.loader import collate
from detkit.data.transforms import Resize
from detkit.detectors.two_stage import TwoStageDetector
from detkit.heads.roi_head import RoIHead
from detkit.ops import boxes as box_ops
from detkit.ops.suppression import Decay, soft_nms_by_class, vote
from detkit.structures import Batch, Clock, Detections, Features, Sample, no_clock

Candidates = tuple[Tensor, Tensor, Tensor]  # boxes (N, 4), scores (N,), labels (N,); a score of 0 is padding


@dataclass(frozen=True)
class View:
    """One detector's look at pictures."""

    detector: TwoStageDetector
    resize: Resize
    mirrored: bool
    labels: tuple[int, ...]  # for each class of the detector the label it gets

    def see(self, batch: Batch) -> Batch:
        """A batch of pictures as they are stored, as the detector is to see them."""
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

    def candidates(self, scores: Tensor, boxes: Tensor, real: Tensor, size: Tensor, goal: Tensor) -> Candidates:
        """The scored boxes (RoIHead.candidates) in a picture of `size` (2,), in px of one of `goal` (2,) unmirrored."""
        found, likelihoods, labels = self.detector.head.candidates(scores, boxes, real, size)
        if self.mirrored:
            found = mirror(found, int(size[1]))
        found = found * (goal / size).flip(0).repeat(2).to(found.dtype)
        return found, likelihoods, torch.tensor(self.labels, device=labels.device)[labels]


@dataclass(frozen=True)
class Merging:
    """How the scored boxes of all views become detections."""

    decay: Decay | None = None  # of soft-NMS; None: NMS
    voting_iou: float | None = None  # None: boxes stay as they are

    def __call__(self, head: RoIHead, candidates: Candidates) -> Candidates:
        """Detections of one image by the rule of `head`, best first, without padding."""
        boxes, scores, labels = candidates
        rule = head.rule
        likely = ((scores > rule.min_score) & box_ops.long_enough(boxes, 0)).nonzero().flatten()
        voters = boxes[likely], scores[likely], labels[likely]
        if self.decay is None:
            boxes, scores, labels = head.suppress(*candidates)
            real = scores > 0
            boxes, scores, labels = boxes[real], scores[real], labels[real]
        else:
            kept, scores = soft_nms_by_class(*voters, self.decay, rule.min_score)
            kept, scores = kept[: rule.max_detections], scores[: rule.max_detections]
            boxes, labels = voters[0][kept], voters[2][kept]
        if self.voting_iou is not None:
            boxes = vote((boxes, labels), *voters, self.voting_iou)
        return boxes, scores, labels


class TestTimeDetector:
    """A Detector (engine/inference.py) of batches of pictures as they are stored: each view resizes them for itself."""

    __test__ = False  # no test, whatever pytest takes its name for

    def __init__(self, views: Sequence[View], merging: Merging = Merging(), refinements: int = 0) -> None:
        """`refinements`: how often the boxes found are taken as regions again."""
        self.views, self.merging, self.refinements = tuple(views), merging, refinements

    @property
    def head(self) -> RoIHead:
        """Whose rule decides which of the united boxes become detections."""
        return self.views[0].detector.head

    @torch.no_grad()
    def detect(self, batch: Batch, clock: Clock = no_clock) -> list[Detections]:
        """What is found in each image, in px of the stored picture; each stage is entered once, for all views."""
        views = self.views
        with clock("resize"):
            seen = [view.see(batch) for view in views]
        with clock("convolution"):
            maps = [view.detector.extract(one) for view, one in zip(views, seen, strict=True)]
        with clock("proposals"):
            regions = [
                view.detector.proposals.propose(features, one)
                for view, features, one in zip(views, maps, seen, strict=True)
            ]
        with clock("regions"):
            scored = [
                score(view.detector.head, features, boxes, real, one.sizes, self.refinements)
                for view, features, (boxes, real), one in zip(views, maps, regions, seen, strict=True)
            ]
        with clock("nms"):
            return [self._merge(seen, scored, image, batch.original_sizes[image]) for image in range(len(batch))]

    def _merge(
        self, seen: Sequence[Batch], scored: Sequence[tuple[Tensor, Tensor, Tensor]], image: int, original: Tensor
    ) -> Detections:
        size = seen[0].sizes[image]
        parts = [
            view.candidates(scores[image], boxes[image], real[image], one.sizes[image], size)
            for view, one, (scores, boxes, real) in zip(self.views, seen, scored, strict=True)
        ]
        boxes, scores, labels = (torch.cat(column) for column in zip(*parts, strict=True))
        boxes, scores, labels = self.merging(self.head, (boxes, scores, labels))
        boxes = boxes * (original / size).flip(0).repeat(2).to(boxes.dtype)
        return Detections(boxes.cpu(), scores.cpu(), labels.cpu())


def score(
    head: RoIHead, features: Features, regions_BK4: Tensor, real: Tensor, sizes: Tensor, refinements: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The head's scores and boxes of the regions, and of what they become in each of the `refinements` after that.

    A region goes on as the box of its likeliest class (He et al. 2016, appendix B, "box refinement": there once, and
    the 300 new boxes are united with the 300 old ones, as here). `real` (B, K), `sizes` (B, 2) px; all results have
    K * (refinements + 1) regions an image: (B, ., C + 1), (B, ., C or 1, 4), (B, .).
    """
    found = [head.score(features, regions_BK4)]
    for _ in range(refinements):
        scores, boxes = found[-1]
        likeliest = scores[..., :-1].argmax(dim=2)  # (B, K)
        column = torch.zeros_like(likeliest) if head.class_agnostic else likeliest
        best = boxes.gather(2, column[..., None, None].expand(-1, -1, 1, 4)).squeeze(2)
        found.append(head.score(features, box_ops.clip(best, sizes[:, None], head.inclusive)))
    scores, boxes = (torch.cat(column, dim=1) for column in zip(*found, strict=True))
    return scores, boxes, real.repeat(1, refinements + 1)


def mirror(boxes: Tensor, width: int) -> Tensor:
    """Boxes (N, 4) of a picture of `width` px in the picture seen in a mirror."""
    x1, y1, x2, y2 = boxes.unbind(dim=-1)
    return torch.stack([width - x2, y1, width - x1, y2], dim=-1)
