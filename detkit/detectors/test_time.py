"""Detecting with more than one look: other sizes, the mirrored image, several detectors, regions scored again.

A view is one detector that looks at the image in one size, mirrored or not (views.py). All boxes are in px of what
the first view sees, and all views' boxes go through one suppression:

image -> each view: resize, mirror -> features -> proposals -> region head, again on refined boxes -> mapped back
        -> united -> NMS or soft-NMS -> box voting -> detections

With shared regions the views meet earlier: their proposals are united, each view's head scores all of them, and scores
and boxes are averaged (He et al. 2016, appendix B, "ensemble").

B images, K regions an image, N scored boxes, C classes. Everything here works on detectors as they were trained.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from detkit.detectors.views import View
from detkit.heads.proposals import FileProposals
from detkit.heads.roi_head import DetectionRule, RoIHead, suppress
from detkit.ops import boxes as box_ops
from detkit.ops.suppression import Decay, soft_nms_by_class, vote
from detkit.structures import Batch, Clock, Detections, Features, no_clock

Candidates = tuple[Tensor, Tensor, Tensor]  # boxes (N, 4), scores (N,), labels (N,); a score of 0 is padding
Regions = tuple[Tensor, Tensor]  # boxes (B, K, 4), which are real (B, K) bool
Scored = tuple[Tensor, Tensor, Tensor]  # scores (B, K, C + 1), boxes (B, K, C or 1, 4), which are real (B, K) bool
Scorer = Callable[[Tensor], tuple[Tensor, Tensor]]  # boxes (B, K, 4) -> scores and boxes as of RoIHead.score


@dataclass(frozen=True)
class Merging:
    """How the scored boxes of all views become detections."""

    decay: Decay | None = None  # of soft-NMS; None: NMS
    voting_iou: float | None = None  # None: boxes stay as they are

    def __call__(self, candidates: Candidates, rule: DetectionRule) -> Candidates:
        """Detections of one image by the rule, best first, without padding."""
        boxes, scores, labels = candidates
        likely = ((scores > rule.min_score) & box_ops.long_enough(boxes, 0)).nonzero().flatten()
        voters = boxes[likely], scores[likely], labels[likely]
        if self.decay is None:
            boxes, scores, labels = suppress(*candidates, rule)
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
    """A Detector (engine/inference.py) of batches of images as they are stored: each view resizes them for itself."""

    __test__ = False  # no test, whatever pytest takes its name for

    def __init__(
        self,
        views: Sequence[View],
        merging: Merging = Merging(),
        refinements: int = 0,
        shared_regions: bool = False,
    ) -> None:
        """`refinements`: how often the boxes found are taken as regions again.

        `shared_regions`: every view scores the regions of all of them, and the mean counts.
        """
        self.views, self.merging, self.refinements = tuple(views), merging, refinements
        self.shared_regions = shared_regions

    @property
    def head(self) -> RoIHead:
        """Whose rule decides which of the united boxes become detections."""
        return self.views[0].detector.head

    @torch.no_grad()
    def detect(self, batch: Batch, clock: Clock = no_clock, min_score: float | None = None) -> list[Detections]:
        """As engine/inference.py has it; each stage is entered once, for all views.

        Box voting asks boxes of low scores, too: what is asked for never raises the limit, and is applied at the end.
        """
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
            score = self._score_together if self.shared_regions else self._score_apart
            candidates = score(seen, maps, regions)
        with clock("nms"):
            rule = min(self.head.rule, self.head.rule.at_least(min_score), key=lambda rule: rule.min_score)
            merged = [self.merging(of_image, rule) for of_image in candidates]
        scale = (batch.original_sizes / seen[0].sizes).flip(1).repeat(1, 2)  # (B, 4): x, y, x, y
        counts = [int((scores >= (min_score or 0)).sum()) for _, scores, _ in merged]  # best first
        return [
            Detections((boxes[:n] * scale[i].to(boxes.dtype)).cpu(), scores[:n].cpu(), labels[:n].cpu())
            for i, (n, (boxes, scores, labels)) in enumerate(zip(counts, merged, strict=True))
        ]

    def _score_apart(
        self, seen: Sequence[Batch], maps: Sequence[Features], regions: Sequence[Regions]
    ) -> list[Candidates]:
        """Each image's scored boxes of all views, each of its own regions."""
        parts: list[list[Candidates]] = [[] for _ in range(len(seen[0]))]
        for view, one, features, own in zip(self.views, seen, maps, regions, strict=True):
            head, labels = view.detector.head, torch.tensor(view.labels, device=one.sizes.device)
            scorer = _scorer(head, features, one.sizes)
            scored = refined(scorer, own, one.sizes, head.inclusive, self.refinements)
            for image, (boxes, scores, classes) in enumerate(_candidates(head, scored, one.sizes)):
                size, goal = one.sizes[image, None], seen[0].sizes[image, None]
                parts[image].append((view.back(boxes[None], size, goal)[0], scores, labels[classes]))
        return [_united(of_image) for of_image in parts]

    def _score_together(
        self, seen: Sequence[Batch], maps: Sequence[Features], regions: Sequence[Regions]
    ) -> list[Candidates]:
        """Each image's boxes of the united regions, with the mean of the scores and the boxes that the views give."""
        sizes = seen[0].sizes

        def mean_score(boxes: Tensor) -> tuple[Tensor, Tensor]:
            opinions = []
            for view, one, features in zip(self.views, seen, maps, strict=True):
                scores, found = view.detector.head.score(features, view.into(boxes, sizes, one.sizes), one.sizes)
                opinions.append(view.in_order(scores, view.back(found, one.sizes, sizes)))
            all_scores, all_boxes = zip(*opinions, strict=True)
            return torch.stack(all_scores).mean(dim=0), torch.stack(all_boxes).mean(dim=0)

        scored = refined(mean_score, self._unite(seen, regions), sizes, self.head.inclusive, self.refinements)
        return _candidates(self.head, scored, sizes)

    def _unite(self, seen: Sequence[Batch], regions: Sequence[Regions]) -> Regions:
        """The regions of all views in px of the first; those that came with the images are the same in each."""
        own = [0] + [
            i for i, view in enumerate(self.views) if i and not isinstance(view.detector.proposals, FileProposals)
        ]
        boxes = [self.views[i].back(regions[i][0], seen[i].sizes, seen[0].sizes) for i in own]
        return torch.cat(boxes, dim=1), torch.cat([regions[i][1] for i in own], dim=1)


def refined(scorer: Scorer, regions: Regions, sizes: Tensor, inclusive: bool, refinements: int) -> Scored:
    """What the scorer says of the regions, and of what they become in each of the `refinements` after that.

    A region goes on as the box of its likeliest class (He et al. 2016, appendix B, "box refinement": there once, and
    the 300 new boxes are united with the 300 old ones, as here). `sizes` (B, 2) px; results have K * (refinements + 1)
    regions an image.
    """
    boxes_BK4, real = regions
    found = [scorer(boxes_BK4)]
    for _ in range(refinements):
        scores, boxes = found[-1]
        likeliest = scores[..., :-1].argmax(dim=2)  # (B, K)
        column = torch.zeros_like(likeliest) if boxes.shape[2] == 1 else likeliest
        best = boxes.gather(2, column[..., None, None].expand(-1, -1, 1, 4)).squeeze(2)
        found.append(scorer(box_ops.clip(best, sizes[:, None], inclusive)))
    scores, boxes = (torch.cat(column, dim=1) for column in zip(*found, strict=True))
    return scores, boxes, real.repeat(1, refinements + 1)


def _scorer(head: RoIHead, features: Features, sizes: Tensor) -> Scorer:
    return lambda boxes: head.score(features, boxes, sizes)


def _candidates(head: RoIHead, scored: Scored, sizes: Tensor) -> list[Candidates]:
    scores, boxes, real = scored
    return [head.candidates(scores[i], boxes[i], real[i], sizes[i]) for i in range(len(sizes))]


def _united(parts: Sequence[Candidates]) -> Candidates:
    boxes, scores, labels = (torch.cat(column) for column in zip(*parts, strict=True))
    return boxes, scores, labels
