"""Detections of a split scored and reported: what `detkit eval` does."""

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detkit.build.data import as_folder, build_dataset, split_names, usual_metric, with_classes
from detkit.config.data import FolderData, FormName, ShapesData
from detkit.config.loading import read_config
from detkit.config.schema import Config, TestTime
from detkit.data.dataset import DetectionDataset
from detkit.data.faults import log_warning, tell_warnings
from detkit.data.formats.forms import Form, find_form, roles
from detkit.data.formats.listed import ListedDataset
from detkit.data.formats.opening import open_form
from detkit.engine.logs import read_log
from detkit.evaluation.assessment import Assessment, Found, MetricName, assess
from detkit.evaluation.coco_files import ResultRows, read_rows, write_results
from detkit.evaluation.voc_files import read_detections, write_detections
from detkit.reports.run_report import write_report
from detkit.reports.systems import newest_evaluation
from detkit.structures import Detections

if TYPE_CHECKING:  # what a detector needs is imported where one detects: files of detections are scored without
    import torch

    from detkit.predictor import Predictor

DECODE_TIMED = 50  # images read in this process to time decoding; the loader's workers do it unseen


@dataclass(frozen=True)
class Scored:
    metrics: dict[str, Any]
    report: Path


def usual_metrics(own: FolderData | ShapesData | None, path: Path | None, kind: FormName | None) -> list[MetricName]:
    """What a data set is scored by where no metric is named.

    It is the one in `path`, a folder or an annotation file of COCO, or else the run's own.
    """
    if path is not None and path.is_file():
        return ["coco"]
    data = own if path is None else as_folder(find_form(path, kind), None)
    assert data is not None
    return [usual_metric(data)]


def score_run(
    path: Path,
    metrics: Sequence[MetricName] = (),
    data: Path | None = None,
    form: FormName | None = None,
    split: str | None = None,
    svd: Sequence[int] = (),
    test_time: TestTime | None = None,
    ensemble: Sequence[Path] = (),
    out: Path | None = None,
    device: "str | torch.device | None" = None,
) -> Scored:
    """Detect with the run in `path`, a folder or a model.pt, and score it by `metrics`, the first of which leads.

    Without metrics: by the usual one of the data set. `data`: a folder in place of the run's data, of `form`; `split`:
    None is the one for testing. `svd`, `test_time`, `ensemble`, `device`: as detkit.load has them. `out`: folder of
    the results; None: eval/<split> in the run's, or eval_test_time/<split>_<options>. Raises ValueError where any of
    these does not fit.
    """
    from detkit.predictor import load  # a detector's libraries: files of detections are scored without

    test_time = test_time or TestTime()
    run = path if path.is_dir() else path.parent
    predictor = load(path, device, svd=svd, test_time=test_time, ensemble=ensemble)
    dataset = open_dataset(predictor.config, data, split, predictor.classes, form)
    metrics = metrics or usual_metrics(predictor.config.data, data, form)
    name = file_name(split or "test")
    if data is not None and data.resolve() != Path(predictor.config.data.root).resolve():
        name = f"{data.resolve().name}_{name}"
    found, speed = detect_timed(predictor, dataset)
    cut = "".join(f"_svd{rank}" for rank in svd)
    folder, title = run / "eval" / f"{name}{cut}", f"{run.name} on {name}"
    more = test_time.model_dump(mode="json", exclude_defaults=True)
    if ensemble:
        more["ensemble"] = [str(member) for member in ensemble]
    if more:
        told = ", ".join(f"{key} {value}" for key, value in more.items())
        # Beside eval/: what runs are compared by was found without.
        folder = run / "eval_test_time" / re.sub(r"[^\w.]+", "-", f"{name}{cut}, {told}").strip("-")
        title = f"{title}: {told}"
        speed["test_time"] = more
    return score(found, dataset, metrics, speed, out or folder, name, title, run)


def score_files(
    files: Path,
    metrics: Sequence[MetricName],
    data: Path,
    form: FormName | None = None,
    split: str | None = None,
    out: Path | None = None,
) -> Scored:
    """Score `files` of any tool against the annotations in `data`: a results.json, or a folder of comp*_det_*.txt.

    Without metrics: by the usual one of the data set. `data`: a folder of `form`, or an annotation file of COCO;
    `split`: None is the one for testing. `out`: folder of the results; None: beside the files. Raises ValueError where
    any of these does not fit.
    """
    dataset, told, has_images = open_annotations(data, split, form)
    metrics = metrics or usual_metrics(None, data, form)
    name = file_name(told)
    found: Found
    if files.suffix == ".json":
        found = read_rows(files, dataset.ground_truth())
        folder = files.with_suffix("").with_name(f"{files.stem}_eval")
    else:
        found = read_detections(files, dataset.classes, dataset.image_ids)
        folder = files / "eval"
    return score(found, dataset, metrics, {}, out or folder, name, f"{files.name} on {name}", None, has_images)


def file_name(split: str) -> str:
    """What the results of a split are called."""
    return split.replace("/", "_")


def open_dataset(
    config: Config, root: Path | None, split: str | None, classes: tuple[str, ...], kind: FormName | None = None
) -> DetectionDataset:
    """The test split of a run's data set, or the one asked for, with the proposals that the detector takes.

    Another `root` may be of any form; without `split` it is the run's own, or the one that is for testing there.
    """
    from detkit.recipes.proposals import with_proposals

    data, splits = config.data, split_names(config.data, "test")
    if root is not None:
        form = find_form(root, kind)
        tell_warnings(form.faults, root, log_warning)
        data = as_folder(form, classes).model_copy(update={"deep_range": data.deep_range})
        splits = splits if set(splits) <= set(form.splits) else roles(form).test
    if split is not None:
        splits = (split,)
    if not splits:
        raise ValueError(f"{data.root}: no split is for testing; name one of it with --split")

    def open_split(name: str) -> DetectionDataset:
        return build_dataset(data, [name])

    return with_proposals(config, build_dataset(data, splits), splits, open_split, Path(data.root))


def detect_timed(predictor: "Predictor", dataset: DetectionDataset) -> tuple[dict[str, Detections], dict[str, Any]]:
    """Detections of every image, one image at a time, and how long each stage took.

    "fps" counts from a decoded image to its boxes; decoding is given beside it.
    """
    from detkit.data.pipeline.loader import detection_batches
    from detkit.data.pipeline.proposal_file import WithProposals
    from detkit.engine.distributed import World
    from detkit.engine.inference import detect_all
    from detkit.evaluation.speed import StageClock

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
    found: Found,
    dataset: DetectionDataset,
    metrics: Sequence[MetricName],
    speed: Mapping[str, Any],
    folder: Path,
    split: str,
    title: str,
    run: Path | None,
    images: bool = True,
) -> Scored:
    """Score detections by `metrics`, the first of which leads; writes to `folder`.

    These are the official result files of the metrics, metrics.json and report.html, the latter with images unless
    the data set has none at hand.
    """
    folder.mkdir(parents=True, exist_ok=True)
    assessment = assess(found, dataset, metrics)
    leading = metrics[0]
    scores = {
        name: {
            "map": assessment.score(name),
            "interval": _interval(assessment, name),
            "ap": assessment.class_scores(name),
        }
        for name in metrics
    }
    content: dict[str, Any] = {
        "metric": leading,
        **scores[leading],
        "images": len(dataset),
        "split": split,
        **speed,
        "date": time.strftime("%Y-%m-%d"),
    }
    if assessment.coco is not None:
        content["coco"] = assessment.coco.summary
        write_results(folder / "results.json", assessment.found, assessment.truth)
    if assessment.voc:
        table = assessment.found.corners() if isinstance(assessment.found, ResultRows) else assessment.found
        write_detections(folder, split, table, dataset.classes, dataset.image_ids)
    content["metrics"] = scores
    content["errors"] = {kind.name.lower(): loss for kind, loss in assessment.errors.loss.items()}
    (folder / "metrics.json").write_text(json.dumps(content, indent=2) + "\n")
    config = run / "config.yaml" if run is not None else None
    text = config.read_text() if config is not None and config.is_file() else ""
    log = read_log(run / "log.jsonl") if run is not None else []
    return Scored(content, write_report(folder, title, content, assessment, text, log, images))


def _interval(assessment: Assessment, metric: MetricName) -> list[float] | None:
    """The middle 95% over resampled images."""
    interval = assessment.intervals[metric]
    return None if interval.low is None or interval.high is None else [interval.low, interval.high]


def assess_again(run: Path, split: str | None) -> Assessment:
    """What detkit eval found out about a run, from the files it wrote; of its newest evaluation, or that of `split`.

    Raises ValueError for a run without one.
    """
    path = newest_evaluation(run, split)
    metrics = json.loads((path / "metrics.json").read_text(encoding="utf-8"))
    config = with_classes(read_config(run / "config.yaml"), tuple(metrics["ap"]))
    splits = split_names(config.data, "test") if split is None else (split,)
    dataset = build_dataset(config.data, splits)
    found: Found
    if (path / "results.json").is_file():
        found = read_rows(path / "results.json", dataset.ground_truth())
    else:
        found = read_detections(path, dataset.classes, dataset.image_ids)
    return assess(found, dataset, list(metrics["metrics"]))


def open_annotations(path: Path, split: str | None, form: FormName | None) -> tuple[ListedDataset, str, bool]:
    """A data set to score files against, the name of its split, and whether its images are at hand.

    `path` is a folder of any form, or an annotation file of COCO. COCO's form needs no images for scoring.
    """
    if path.is_file():
        if split is not None or form not in (None, "coco"):
            raise ValueError(f"{path}: a file is one split, in COCO's form; leave out --split and --form")
        dataset = open_form(Form("coco", path.parent, ()), [path.name], None, need_images=False)
        return dataset, path.stem, _are_there(dataset)
    found = find_form(path, form)
    tell_warnings(found.faults, path, log_warning)
    splits = roles(found).test if split is None else (split,)
    if not splits:
        raise ValueError(f"{path}: no split is for testing; name one of {', '.join(found.splits)} with --split")
    dataset = open_form(found, splits, None, need_images=False)
    return dataset, "+".join(splits), _are_there(dataset)


def _are_there(dataset: ListedDataset) -> bool:
    return all(image.is_file() for image in dataset.paths)
