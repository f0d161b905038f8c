"""Detections of a split scored and reported: what tools/eval.py does."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detkit.build import build_dataset, split_names
from detkit.data.dataset import DetectionDataset
from detkit.data.loader import detection_batches
from detkit.data.proposal_file import WithProposals
from detkit.data.voc import VocDataset
from detkit.engine.distributed import World
from detkit.engine.inference import detect_all
from detkit.engine.logs import read_log
from detkit.evaluation.speed import StageClock
from detkit.evaluation.voc import Metric, evaluate
from detkit.evaluation.voc_files import write_detections
from detkit.predictor import Predictor
from detkit.proposing import open_with_proposals
from detkit.reports.run_report import write_report
from detkit.sections import Config, ShapesData
from detkit.structures import Detections

DECODE_TIMED = 50  # images read in this process to time decoding; the loader's workers do it unseen


@dataclass(frozen=True)
class Scored:
    metrics: dict[str, Any]
    report: Path


def newest_run(runs: Path = Path("runs")) -> Path:
    """The run folder whose model.pt was written last."""
    models = sorted(runs.glob("*/model.pt"), key=lambda model: model.stat().st_mtime)
    if not models:
        raise ValueError(f"no run with a model.pt in {runs}/; name a run or a model.pt, or train one: tools/train.py")
    return models[-1].parent


def open_dataset(config: Config, root: Path | None, split: str | None, classes: tuple[str, ...]) -> DetectionDataset:
    """The test split of a run's data set, or the one asked for, with the proposals that the detector takes."""
    data = config.data

    def open_splits(splits: Sequence[str]) -> DetectionDataset:
        if root is None and isinstance(data, ShapesData):
            return build_dataset(data, splits)
        return VocDataset(root or Path(data.root), splits, classes)

    splits = split_names(data, "test") if split is None else (split,)
    return open_with_proposals(config, splits, open_splits, root or Path(data.root))


def detect_timed(predictor: Predictor, dataset: DetectionDataset) -> tuple[dict[str, Detections], dict[str, Any]]:
    """Detections of every image, one image at a time, and how long each stage took.

    "fps" counts from a decoded picture to its boxes; decoding is given beside it.
    """
    clock = StageClock(predictor.device)
    resize = predictor.resize
    for index in range(min(DECODE_TIMED, len(dataset))):
        with clock("decode"):
            resize(dataset.read(index))
    batches = detection_batches(dataset, resize, range(len(dataset)), 1, predictor.config.data.workers)
    found = detect_all(predictor.detector, batches, World(0, 1, predictor.device), "detecting", clock)
    stages = clock.summary()
    seconds = {stage: times["mean"] / 1000 for stage, times in stages.items()}
    if isinstance(dataset, WithProposals):
        seconds["proposals"] = sum(dataset.seconds()) / len(dataset)  # as it was when they were made
    computing = sum(value for stage, value in seconds.items() if stage != "decode")
    device = predictor.device
    return found, {
        "fps": 1 / computing if computing else None,
        "seconds_per_image": seconds,
        "stages_ms": stages,
        "device": str(device),
    }


def score(
    detections: Mapping[str, Detections],
    dataset: DetectionDataset,
    metric: Metric,
    speed: Mapping[str, Any],
    folder: Path,
    split: str,
    title: str,
    run: Path | None,
) -> Scored:
    """Score detections and write official result files, metrics.json and report.html to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    result = evaluate(detections, dataset, metric)
    metrics: dict[str, Any] = {
        "metric": metric,
        "map": result.mean_ap,
        "ap": result.ap,
        "images": len(dataset),
        "split": split,
        **speed,
        "date": time.strftime("%Y-%m-%d"),
    }
    write_detections(folder, split, detections, dataset.classes)
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    config = run / "config.yaml" if run is not None else None
    text = config.read_text() if config is not None and config.is_file() else ""
    log = read_log(run / "log.jsonl") if run is not None else []
    return Scored(metrics, write_report(folder, title, metrics, result, detections, dataset, text, log))
