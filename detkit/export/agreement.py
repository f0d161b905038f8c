"""How far two detectors that should be one differ in what they find."""

from collections.abc import Sequence
from dataclasses import dataclass

from detkit.structures import Detections

BOX_TOLERANCE = 0.01  # px
SCORE_TOLERANCE = 1e-4
SAME = 1.0  # px: detections of one class, no side further apart, are of one object


@dataclass(frozen=True)
class Agreement:
    """The greatest differences over some images."""

    images: int
    detections: int  # of the first detector
    alone: int  # detections of either that the other does not have
    box: float  # px, of any side
    score: float

    @property
    def holds(self) -> bool:
        return self.alone == 0 and self.box <= BOX_TOLERANCE and self.score <= SCORE_TOLERANCE

    def __str__(self) -> str:
        pairs = f"{self.detections} detections in {self.images} images"
        missing = f", {self.alone} of which only one of the two has" if self.alone else ""
        return f"{pairs}{missing}; greatest difference: {self.box:.2g} px, score {self.score:.2g}"


def compare(first: Sequence[Detections], second: Sequence[Detections]) -> Agreement:
    """Detections of the same images: each is compared with the nearest of its class in the other's."""
    alone, box, score = 0, 0.0, 0.0
    for one, other in zip(first, second, strict=True):
        pairs = _pairs(one, other)
        alone += len(one) + len(other) - 2 * len(pairs)
        for i, j in pairs:
            box = max(box, float((one.boxes[i] - other.boxes[j]).abs().max()))
            score = max(score, float((one.scores[i] - other.scores[j]).abs()))
    return Agreement(len(first), sum(len(one) for one in first), alone, box, score)


def _pairs(one: Detections, other: Detections) -> list[tuple[int, int]]:
    """Which detection of the other each is, nearest in place and score first; each in one pair at most."""
    if not len(one) or not len(other):
        return []
    apart = (one.boxes[:, None] - other.boxes).abs().amax(dim=2)  # (K, L) px
    unlike = apart + (one.scores[:, None] - other.scores).abs()
    is_near = (one.labels[:, None] == other.labels) & (apart < SAME)
    order = sorted(is_near.nonzero().tolist(), key=lambda pair: float(unlike[pair[0], pair[1]]))
    taken_one, taken_other, pairs = set[int](), set[int](), []
    for i, j in order:
        if i not in taken_one and j not in taken_other:
            pairs.append((i, j))
            taken_one.add(i)
            taken_other.add(j)
    return pairs
