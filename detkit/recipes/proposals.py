"""Data sets together with their proposals, which are made where they are missing: by a method, or by an RPN."""

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import torch

from detkit.build.detector import build_proposer
from detkit.config.models import (
    EdgeBoxesConfig,
    FasterRCNN,
    ProposalFilesConfig,
    ProposalsConfig,
    SelectiveSearchConfig,
)
from detkit.config.schema import Config
from detkit.data.dataset import DetectionDataset
from detkit.data.pipeline.loader import detection_batches
from detkit.data.pipeline.prepare import Resize
from detkit.data.pipeline.proposal_file import ProposalFile, WithProposals
from detkit.detectors.two_stage import TwoStageDetector
from detkit.engine.distributed import World
from detkit.evaluation.recall import recall
from detkit.heads.rpn import RPN, Selection
from detkit.predictor import load
from detkit.proposals.make import make_proposals
from detkit.reports.figures import save_png
from detkit.reports.recall_figures import recall_against_count, recall_against_iou
from detkit.runtime.console import track

METHODS = ("selective_search", "selective_search_quality", "edge_boxes", "rpn")
FOLDER = Path(ProposalsConfig().folder)
RPN_BATCH = 4  # images at once


def with_proposals(
    config: Config,
    dataset: DetectionDataset,
    splits: Sequence[str],
    open_split: Callable[[str], DetectionDataset],
    root: Path,
) -> DetectionDataset:
    """`dataset`, the `splits` of the data set in `root`, with the proposals that the detector takes: one file a split.

    Missing ones are made first, on all cores. A detector with an RPN gets the data set as it is.
    """
    model = config.model
    if isinstance(model, FasterRCNN):
        return dataset
    section = model.proposals
    if isinstance(section, ProposalFilesConfig):
        return WithProposals(dataset, [ProposalFile(Path(file)) for file in section.files], section.count)
    source, propose = build_proposer(section)
    parts = [dataset if len(splits) == 1 else open_split(split) for split in splits]
    files = [
        make_proposals(part, proposal_path(Path(section.folder), root, split, source), source, propose)
        for part, split in zip(parts, splits, strict=True)
    ]
    return WithProposals(dataset, files, section.count, parts)


def proposal_path(folder: Path, root: Path, split: str, source: str) -> Path:
    """Where the proposals of a split are kept: data/proposals/VOCdevkit_VOC2007_test.selective_search_fast.sqlite."""
    name = re.sub(r"[^\w.-]+", "_", f"{root.resolve().name}_{split}")
    return folder / f"{name}.{source}.sqlite"


def make_split(
    method: str,
    dataset: DetectionDataset,
    root: Path,
    split: str,
    path: Path | None,
    weights: Path | None,
    forest: Path | None,
) -> ProposalFile:
    """The proposals of a split by one of METHODS, into `path` or where the tools look for them.

    Raises ValueError where `weights` or `forest` do not go with the method.
    """
    if (weights is not None) != (method == "rpn"):
        raise ValueError("--weights RUN goes with --method rpn, and that method needs it")
    if forest is not None and method != "edge_boxes":
        raise ValueError("--forest goes with --method edge_boxes")
    if weights is not None:
        return _rpn_split(dataset, weights, root, split, path)
    source, propose = build_proposer(_section(method, forest))
    return make_proposals(dataset, path or proposal_path(FOLDER, root, split, source), source, propose)


def score_recall(file: ProposalFile, dataset: DetectionDataset) -> str:
    """A table of recall and average recall, and two figures beside the file."""
    proposals = {
        image_id: stored.boxes for image_id in dataset.image_ids if (stored := file.read(image_id)) is not None
    }
    one = recall(proposals, dataset)
    curves = {file.source: one}
    save_png(recall_against_iou(curves), file.path.with_suffix(".recall_iou.png"))
    save_png(recall_against_count(curves), file.path.with_suffix(".recall_count.png"))
    rows = zip(one.counts, one.boxes_per_image, one.at(0.5), one.at(0.7), one.average, strict=True)
    lines = [f"recall of {one.num_objects} objects", "  boxes  there   IoU .5  IoU .7  AR"]
    lines += [
        f"{count:>7}{boxes:>7.0f}{half:>9.3f}{strict:>8.3f}{mean:>7.3f}" for count, boxes, half, strict, mean in rows
    ]
    return "\n".join([*lines, f"figures: {file.path.with_suffix('')}.recall_*.png"])


def _section(method: str, forest: Path | None) -> SelectiveSearchConfig | EdgeBoxesConfig:
    if method == "edge_boxes":
        return EdgeBoxesConfig(kind="edge_boxes", forest=None if forest is None else str(forest))
    mode: Literal["fast", "quality"] = "quality" if method.endswith("quality") else "fast"
    return SelectiveSearchConfig(kind="selective_search", mode=mode)


def _rpn_split(dataset: DetectionDataset, weights: Path, root: Path, split: str, path: Path | None) -> ProposalFile:
    predictor = load(weights)
    detector = predictor.detector
    if not isinstance(detector, TwoStageDetector) or not isinstance(detector.proposals, RPN):
        raise ValueError(f"{weights}: a {predictor.config.model.kind}, which has no RPN; name a run of Faster R-CNN")
    source = f"rpn_{(weights if weights.is_dir() else weights.parent).resolve().name}"
    return make_rpn_proposals(
        detector,
        detector.proposals.train_selection,  # as many as training takes: 2,000
        dataset,
        predictor.resize,
        path or proposal_path(FOLDER, root, split, source),
        source,
        World(0, 1, predictor.device),
        predictor.config.data.workers,
    )


@torch.no_grad()
def make_rpn_proposals(
    detector: TwoStageDetector,
    selection: Selection,
    dataset: DetectionDataset,
    resize: Resize,
    path: Path,
    source: str,
    world: World,
    workers: int,
) -> ProposalFile:
    """The best boxes of the detector's RPN for every image, in px of the image as stored, into `path`."""
    file = ProposalFile.create(path, source) if world.is_main else None
    if file is not None:
        file.claim(dataset)
    there = world.gather(file.image_ids() if file else set())[0]
    missing = [i for i, image_id in enumerate(dataset.image_ids) if image_id not in there]
    rpn = detector.proposals
    assert isinstance(rpn, RPN)
    mine = missing[world.rank :: world.size]
    batches = detection_batches(dataset, resize, mine, RPN_BATCH, workers)
    rows = []
    for batch in track(batches, f"proposals ({source})") if world.is_main else batches:
        batch = batch.to(world.device)
        begun = time.perf_counter()
        boxes, scores = rpn.rank(detector.extract(batch), batch.sizes, selection)
        scale = (batch.original_sizes / batch.sizes).flip(1).repeat(1, 2).to(boxes.dtype)
        boxes, scores = (boxes * scale[:, None]).cpu(), scores.cpu()
        seconds = (time.perf_counter() - begun) / len(batch)
        for i, image_id in enumerate(batch.image_ids):
            real = scores[i] > -torch.inf
            height, width = batch.original_sizes[i].tolist()
            rows.append((image_id, boxes[i, real].numpy(), scores[i, real].numpy(), (height, width), seconds))
            if file is not None and world.size == 1:
                file.write(*rows.pop())
    shares = world.gather(rows)
    if file is not None:
        for share in shares:
            for row in share:
                file.write(*row)
    world.barrier()
    return ProposalFile(path)
