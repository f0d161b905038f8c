"""4-step alternating training (Faster R-CNN, section 3.2), the paper's first way to share the convolutions.

1. RPN, from the backbone's starting weights. 2. Detector, from the same starting weights, on the boxes of 1.
3. RPN on the convolutions of 2, which stay as they are. 4. The detector's own layers, on the boxes of 3.
"""

import torch
from torch import nn

from detkit.build.data import build_resize
from detkit.build.detector import build_detector
from detkit.config.train import StepSchedule, Train
from detkit.data.pipeline.proposal_file import WithProposals
from detkit.detectors.two_stage import TwoStageDetector
from detkit.heads.proposals import FileProposals
from detkit.heads.roi_head import RoIHead
from detkit.heads.rpn import RPN
from detkit.recipes.proposals import make_rpn_proposals
from detkit.recipes.session import Session
from detkit.structures import Batch, Losses

PHASES = ("rpn_1", "detector_2", "rpn_3", "detector_4")
STEPS = (80_000, 40_000, 80_000, 40_000)  # of 70,000 steps of joint training (py-faster-rcnn)
JOINT_STEPS = 70_000


class PhaseModel(nn.Module):
    """The RPN or the region head of a detector, trained by itself."""

    def __init__(self, detector: TwoStageDetector, is_rpn: bool, share_features: bool) -> None:
        """`share_features`: the convolutions stay as they are."""
        super().__init__()
        self.preprocess, self.features = detector.preprocess, detector.features
        learner = detector.proposals if is_rpn else detector.head
        assert isinstance(learner, RPN | RoIHead)
        self.learner = learner
        self.share_features = share_features
        if share_features:
            self.features.requires_grad_(False)

    def forward(self, batch: Batch) -> Losses:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.share_features):
            images = self.preprocess(batch.images, batch.sizes).to(memory_format=torch.channels_last)
            features = self.features(images)
        if isinstance(self.learner, RPN):
            return self.learner.loss(features, batch)
        proposals, _ = FileProposals().learn(features, batch)
        return self.learner.loss(features, proposals, batch)

    def train(self, mode: bool = True) -> "PhaseModel":
        super().train(mode)
        if self.share_features:
            self.features.eval()
        return self


def phase_settings(train: Train) -> tuple[Train, ...]:
    """Settings of the four phases: as long as `alternating_steps` says, drops of the rate moved in proportion."""
    lengths = train.alternating_steps or tuple(max(1, round(train.steps * steps / JOINT_STEPS)) for steps in STEPS)
    return tuple(_scaled(train, length) for length in lengths)


def _scaled(train: Train, steps: int) -> Train:
    part = steps / train.steps
    schedule = train.schedule
    if isinstance(schedule, StepSchedule):
        drops = tuple(max(1, round(drop * part)) for drop in schedule.drops)
        schedule = schedule.model_copy(update={"drops": drops})
    return train.model_copy(update={"steps": steps, "schedule": schedule, "eval_every": None})


def train_alternating(session: Session) -> None:
    """All four phases, or what is left of them, and model.pt."""
    if (session.folder / "model.pt").is_file():
        return
    settings = phase_settings(session.config.train)
    first = _new(session, 0)
    session.fit(PhaseModel(first, is_rpn=True, share_features=False), settings[0], session.dataset, PHASES[0])
    second = _new(session, 1)
    boxes = _proposals(session, first, PHASES[0])
    session.fit(PhaseModel(second, is_rpn=False, share_features=False), settings[1], boxes, PHASES[1])
    final = _new(session, 2)
    final.features.load_state_dict(second.features.state_dict())
    final.head.load_state_dict(second.head.state_dict())
    session.fit(PhaseModel(final, is_rpn=True, share_features=True), settings[2], session.dataset, PHASES[2])
    boxes = _proposals(session, final, PHASES[2])
    session.fit(PhaseModel(final, is_rpn=False, share_features=True), settings[3], boxes, PHASES[3])
    session.finish(final, sum(setting.steps for setting in settings), PHASES)


def _new(session: Session, phase: int) -> TwoStageDetector:
    torch.manual_seed(session.config.train.seed + phase)
    detector = build_detector(session.config, len(session.dataset.classes))
    return detector.to(session.world.device)


def _proposals(session: Session, detector: TwoStageDetector, phase: str) -> WithProposals:
    """The training images with the boxes of the RPN that `phase` has trained."""
    rpn = detector.proposals
    assert isinstance(rpn, RPN)
    config = session.config
    path = session.folder / phase / "proposals.sqlite"
    selection = rpn.train_selection
    detector.eval()
    file = make_rpn_proposals(
        detector, selection, session.dataset, build_resize(config), path, phase, session.world, config.data.workers
    )
    return WithProposals(session.dataset, [file], selection.after_nms)
