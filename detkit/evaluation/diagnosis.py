"""What is told of an image's objects that a detector missed, and of its false detections: missed_objects.py finds it.

anchor -> candidate (the RPN's box of the anchor) -> proposal -> scored box -> survivor of NMS -> detection -> hit

A scored box is a region taken for an object of one class: a score, and the box refined for that class. All boxes are
in px of the stored image. Notation: K proposals, C classes, N candidates.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from torch import Tensor

from detkit.heads.rpn import Selection

Box = tuple[float, float, float, float]


class Step(IntEnum):
    """Where an object was lost. Step 1, its best anchor, decides nothing by itself and is told beside."""

    FOUND = 0
    NO_PROPOSAL = 2
    NOT_RECOGNISED = 3  # proposals are there; the object's class scores too low on them
    BADLY_REFINED = 4  # recognised, but box regression leads elsewhere
    SUPPRESSED = 5  # by NMS
    CUT = 6  # by max_detections
    NOT_COUNTED = 7  # a detection that fits, but counts for another object or is under the least score


class Outcome(IntEnum):
    """What became of a candidate of the RPN, in the order of its steps."""

    UNRANKED = 0  # not among the best `before_nms`
    TOO_SMALL = 1
    SUPPRESSED = 2
    CUT = 3  # not among the best `after_nms`
    PASSED = 4  # a proposal


class FalseDetectionKind(StrEnum):
    DUPLICATE = "duplicate"
    CONFUSION = "confusion"
    LOCALISATION = "localisation"
    BACKGROUND = "background"


@dataclass(frozen=True, eq=False)
class Candidates:
    """What an RPN considered."""

    anchors: Tensor  # (N, 4)
    boxes: Tensor  # (N, 4) refined and clipped
    logits: Tensor  # (N,) objectness
    outcomes: Tensor  # (N,) values of Outcome
    selection: Selection


@dataclass(frozen=True, eq=False)
class Regions:
    """What a detector considered in one image."""

    proposals: Tensor  # (K, 4)
    scores: Tensor  # (K, C) 0..1
    background: Tensor | None  # (K,) score of background; None: the detector has none (SVMs)
    refined: Tensor  # (K, C, 4) clipped
    compared: Tensor  # (K, C, 4) boxes that NMS compares, in any px: only their overlaps are used
    candidates: Candidates | None = None  # None: the proposals come from a file


@dataclass(frozen=True)
class NearestBox:
    """The box of a step that comes nearest to the object."""

    box: Box
    iou: float


@dataclass(frozen=True)
class Candidate:
    """The box of the RPN for the object that came furthest, or the nearest one where none fits."""

    box: Box
    iou: float
    objectness: float
    rank: int  # from 1, of all candidates
    outcome: Outcome
    num_candidates: int


@dataclass(frozen=True)
class ScoredBox:
    label: int
    score: float
    box: Box
    iou: float  # with the object in question
    proposal: NearestBox
    winner: int | None  # class that scores best on the region; None: background
    winner_score: float
    rank: int | None  # from 1, among the survivors of NMS; None: it is none


@dataclass(frozen=True)
class Diagnosis:
    """What became of one object; None is what does not apply."""

    object: int  # row in the image's Target
    label: int
    box: Box
    step: Step
    anchor: NearestBox | None  # the nearest anchor
    proposal: NearestBox | None  # the nearest proposal; None: there is no proposal at all
    candidate: Candidate | None = None  # step 2 of an RPN
    scored: ScoredBox | None = None  # the hit, or the scored box that came furthest; steps 3 to 7
    rival: ScoredBox | None = (
        None  # step 5: what suppressed the scored box; step 7: the detection that hit the other object
    )
    rival_overlap: float | None = None  # step 5: IoU of the two, as NMS saw it
    other: int | None = None  # object that the rival hits (5), that the scored box's box fits (4) or fits better (7)


@dataclass(frozen=True)
class FalseDetection:
    label: int
    score: float
    box: Box
    fault: FalseDetectionKind
    object: int | None  # row in the Target of the object that it is wrong about
    iou: float  # with that object


@dataclass(frozen=True)
class Explanation:
    diagnoses: tuple[Diagnosis, ...]  # of the objects that are not ignored
    false_detections: tuple[FalseDetection, ...]  # best score first
