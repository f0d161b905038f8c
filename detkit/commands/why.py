"""A detector followed step by step through one image: what detkit why does.

Every step is computed as in TwoStageDetector.detect and StagedDetector.detect, but nothing is thrown away.
"""

import json
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path, PurePath
from typing import Any

import cv2
import torch
from torch import Tensor

from detkit.data.dataset import DetectionDataset
from detkit.detectors.two_stage import TwoStageDetector
from detkit.engine.inference import Detector
from detkit.evaluation.diagnosis import Candidates, Outcome, Regions
from detkit.evaluation.missed_objects import explain
from detkit.heads.roi_head import DetectionRule
from detkit.heads.rpn import RPN
from detkit.ops import boxes as box_ops
from detkit.ops.pooling import as_regions
from detkit.predictor import Predictor
from detkit.reports.drawing import Pixels
from detkit.reports.missed_objects import STEPS, Account, draw, line, paragraph
from detkit.staged.bbox_regressor import BoxRegressors
from detkit.staged.detector import StagedDetector
from detkit.structures import Batch, Features, Pyramid, Sample


@dataclass(frozen=True, eq=False)
class Why:
    image_id: str
    image: Pixels  # as stored
    account: Account

    def paragraphs(self) -> list[str]:
        """One an object that is not ignored."""
        return [paragraph(diagnosis, self.account) for diagnosis in self.account.explanation.diagnoses]

    def false_lines(self) -> list[str]:
        """One a false detection, best score first."""
        return [line(false, self.account) for false in self.account.explanation.false_detections]


def explain_image(
    predictor: Predictor, dataset: DetectionDataset, image_id: str, min_iou: float = 0.5, min_score: float = 0.05
) -> Why:
    """What became of the objects of an image, and what its false detections are.

    Raises ValueError for an image id that the data set does not have, and limits that are none.
    """
    if not 0 < min_iou < 1 or not 0 <= min_score <= 1:
        raise ValueError(
            f"overlap {min_iou:g}, score {min_score:g}: expected an overlap between 0 and 1, a score in 0..1"
        )
    index = find_image(dataset, image_id)
    image_id, sample = dataset.image_ids[index], dataset.read(index)
    assert sample.target is not None
    regions, rule = trace(predictor, sample)
    explanation = explain(sample.target, regions, rule, min_iou, min_score)
    candidates = regions.candidates
    account = Account(
        explanation,
        sample.target,
        dataset.classes,
        len(regions.proposals),
        None if candidates is None else candidates.selection,
        rule.nms_iou,
        rule.max_detections,
        rule.min_score,
        min_iou,
        min_score,
    )
    return Why(image_id, sample.image.permute(1, 2, 0).numpy(), account)


def find_image(dataset: DetectionDataset, image_id: str) -> int:
    """The image of an id, or of a file: its name, or the end of its path.

    Raises ValueError, with the nearest ids, where there is none, and where several files have the name.
    """
    if image_id in dataset.image_ids:
        return dataset.image_ids.index(image_id)
    wanted = PurePath(image_id).parts
    named = [index for index, path in enumerate(dataset.paths) if wanted and path.parts[-len(wanted) :] == wanted]
    if len(named) == 1:
        return named[0]
    if named:
        ids = ", ".join(dataset.image_ids[index] for index in named[:3])
        raise ValueError(f"image {image_id!r}: {len(named)} files have this name; take an id of theirs: {ids}")
    near = get_close_matches(image_id, dataset.image_ids, n=3, cutoff=0)
    raise ValueError(
        f"image {image_id!r}: none of the {len(dataset)} images of this split; the nearest ids are {', '.join(near)} "
        "(--split and --data name another)"
    )


def folder_name(split: str | None, image_id: str) -> str:
    """Of the files of an image: ids may be the same in two splits. `split`: None for that of the run's tests."""
    return (image_id if split is None else f"{split}_{image_id}").replace("/", "_")


def write(why: Why, folder: Path) -> tuple[Path, Path]:
    """The drawn image and why.json: their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    image, table = folder / "why.jpg", folder / "why.json"
    if not cv2.imwrite(str(image), draw(why.image, why.account)[:, :, ::-1]):
        raise OSError(f"{image}: could not be written")
    table.write_text(json.dumps(_as_json(why), indent=1) + "\n")
    return image, table


@torch.no_grad()
def trace(predictor: Predictor, sample: Sample) -> tuple[Regions, DetectionRule]:
    """What the detector considers in an image, on the CPU, and the rule by which it chooses."""
    return _trace(predictor.detector, predictor.batch([sample]))


def _trace(detector: Detector, batch: Batch) -> tuple[Regions, DetectionRule]:
    match detector:
        case TwoStageDetector():
            return _trace_two_stage(detector, batch), detector.head.rule
        case StagedDetector():
            return _trace_staged(detector, batch), detector.rule
        case _:
            raise ValueError(
                f"{type(detector).__name__}: expected a two-stage or a staged detector; load it from a run"
            )


def _trace_two_stage(detector: TwoStageDetector, batch: Batch) -> Regions:
    features = detector.extract(batch)
    proposals, real = detector.proposals.propose(features, batch)
    scores, refined = (of_image[0][real[0]] for of_image in detector.head.score(features, proposals, batch.sizes))
    num_classes = scores.shape[1] - 1
    boxes = refined.expand(-1, num_classes, -1).reshape(-1, 4)
    clipped = box_ops.clip(boxes, batch.sizes[0], detector.head.inclusive)
    scale = _scale(batch)
    source = detector.proposals
    return Regions(
        (proposals[0][real[0]] * scale).cpu(),
        scores[:, :-1].cpu(),
        scores[:, -1].cpu(),
        (clipped * scale).view(-1, num_classes, 4).cpu(),
        clipped.view(-1, num_classes, 4).cpu(),
        _trace_rpn(source, features, batch, scale) if isinstance(source, RPN) else None,
    )


def _trace_rpn(rpn: RPN, features: Features, batch: Batch, scale: Tensor) -> Candidates:
    logits, offsets, anchors = rpn.predict(features.base if isinstance(features, Pyramid) else features)
    boxes = box_ops.clip(box_ops.decode(anchors, offsets[0], rpn.inclusive), batch.sizes[0], rpn.inclusive)
    outcomes = _outcomes(logits[0], boxes, rpn)
    return Candidates(
        (anchors * scale).cpu(), (boxes * scale).cpu(), logits[0].cpu(), outcomes.cpu(), rpn.test_selection
    )


def _outcomes(logits: Tensor, boxes: Tensor, rpn: RPN) -> Tensor:
    """The Outcome (N,) of each candidate: the steps of the RPN's own selection, in its order."""
    selection = rpn.test_selection
    outcomes = torch.full_like(logits, Outcome.UNRANKED, dtype=torch.int64)
    _, ranked = logits.topk(min(selection.before_nms, len(logits)))
    large = box_ops.long_enough(boxes[ranked], selection.min_side)
    outcomes[ranked] = torch.where(large, int(Outcome.SUPPRESSED), int(Outcome.TOO_SMALL))
    ranked = ranked[large]
    kept = ranked[box_ops.nms(boxes[ranked], logits[ranked], selection.nms_iou)]  # best first
    outcomes[kept] = int(Outcome.CUT)
    outcomes[kept[: selection.after_nms]] = int(Outcome.PASSED)
    return outcomes


def _trace_staged(detector: StagedDetector, batch: Batch) -> Regions:
    if batch.proposals is None:
        raise ValueError(f"image {batch.image_ids[0]}: no proposals; make them with detkit make-proposals")
    proposals, scale, num_classes = batch.proposals[0], _scale(batch), detector.num_classes
    compared = proposals[:, None].expand(-1, num_classes, -1).reshape(-1, num_classes, 4)
    if len(proposals) == 0:
        return Regions(proposals.cpu(), torch.zeros(0, num_classes), None, compared.cpu(), compared.cpu())
    vectors = detector.network.embed(detector.network.maps(batch), as_regions([proposals]))
    scores = (vectors.fc7 @ detector.svm_weights.T + detector.svm_bias).sigmoid()
    inputs = vectors.pool5 if detector.regressed == "pool5" else vectors.fc7
    regressors = BoxRegressors(detector.box_weights, detector.box_bias)
    labels = torch.zeros(len(proposals), dtype=torch.int64, device=inputs.device)
    offsets = torch.stack([regressors.offsets(inputs, labels + label) for label in range(num_classes)], dim=1)
    refined = box_ops.clip(box_ops.decode(compared, offsets).view(-1, 4), batch.sizes[0]) * scale
    return Regions(
        (proposals * scale).cpu(), scores.cpu(), None, refined.view(-1, num_classes, 4).cpu(), compared.cpu()
    )


def _scale(batch: Batch) -> Tensor:
    """(4,) from px of the resized image to px of the stored one."""
    return (batch.original_sizes[0] / batch.sizes[0]).flip(0).repeat(2).float()


def _as_json(why: Why) -> dict[str, Any]:
    """Labels count in "classes", objects in the annotation; boxes are x1, y1, x2, y2 px, x2 and y2 just outside."""
    account = why.account
    explanation = account.explanation
    objects = [
        {"class": account.classes[diagnosis.label], "lost_at": STEPS[diagnosis.step], "text": text, **asdict(diagnosis)}
        for diagnosis, text in zip(explanation.diagnoses, why.paragraphs(), strict=True)
    ]
    false = [
        {"class": account.classes[false.label], "text": text, **asdict(false)}
        for false, text in zip(explanation.false_detections, why.false_lines(), strict=True)
    ]
    return {
        "image": why.image_id,
        "min_iou": account.min_iou,
        "min_score": account.min_score,
        "num_proposals": account.num_proposals,
        "classes": account.classes,
        "objects": objects,
        "false_detections": false,
    }
