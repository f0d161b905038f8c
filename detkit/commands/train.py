"""A training run from its config to its folder: what detkit train does."""

import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from detkit.build.data import (
    TrainingData,
    build_dataset,
    build_resize,
    open_training_data,
    split_names,
    usual_metric,
    with_classes,
    with_deep_range,
)
from detkit.build.detector import build_detector
from detkit.build.loggers import require_loggers
from detkit.build.training import learning_rate, with_precision
from detkit.config.data import FolderData
from detkit.config.loading import ConfigError, differing_keys, read_config
from detkit.config.models import RCNN, SPPNet
from detkit.config.schema import Config
from detkit.data.dataset import DetectionDataset
from detkit.data.faults import log_warning
from detkit.data.formats.listed import ListedDataset
from detkit.data.pipeline.deep_range import find_deep_images
from detkit.data.pipeline.loader import detection_batches
from detkit.data.pipeline.proposal_file import WithProposals
from detkit.data.validation.readable import unreadable_images
from detkit.engine import csv_log, mlflow_log, stages, wandb_log
from detkit.engine.distributed import World, joined_world
from detkit.engine.inference import detect_all
from detkit.engine.logs import RunLog
from detkit.engine.stages import StageTimes
from detkit.engine.trainer import Validation
from detkit.evaluation.coco import evaluate_coco
from detkit.evaluation.voc import evaluate
from detkit.recipes.alternating import PHASES, train_alternating
from detkit.recipes.proposals import with_proposals
from detkit.recipes.session import Session
from detkit.recipes.staged import FEATURES, FINETUNE, REGRESSORS, SVMS, train_staged
from detkit.reports.overview import overview
from detkit.runtime.whole_file import PARTIAL, written_whole
from detkit.structures import Detections

# A run may go on with other values of these.
HARMLESS_KEYS = {"data.workers", "train.log_every", "train.checkpoint_every", "train.loggers", "published"}
WEIGHT_FILES = ("checkpoint.pt", "model.pt", *(f"{phase}/checkpoint.pt" for phase in (FINETUNE, *PHASES)))
# Without any of these nothing was trained yet, and the config may change.
PARTIAL_FILES = f"*{PARTIAL}*"
RUN_FILES = (
    *("config.yaml", *WEIGHT_FILES, SVMS, REGRESSORS, "log.jsonl", stages.FILE),
    *("events.out.tfevents.*", csv_log.FILE, mlflow_log.RUN_FILE, wandb_log.RUN_FILE),
    *("not_finite_rank*.json", PARTIAL_FILES),
)
RUN_FOLDERS = ("eval", mlflow_log.STORE, wandb_log.FOLDER, FINETUNE, FEATURES, *PHASES)
TEST_BATCH = 4  # images at once while validating


def train(config: Config, folder: Path, fresh: bool = False) -> None:
    """Train as `config` says, in `folder`; goes on where an earlier run with the same config stopped.

    Raises ValueError for anything in the config, the data or the folder that does not fit.
    """
    try:
        with joined_world() as world:
            _train(config, folder, fresh, world)  # a call, so that the model is gone before the processes part
    except torch.OutOfMemoryError as error:
        raise ValueError(
            f"the GPU's memory does not hold a step ({str(error).splitlines()[0]}); compute each in parts with "
            f"train.accumulate={2 * config.train.accumulate}, or take smaller images: data.short_side"
        ) from error


def _train(config: Config, folder: Path, fresh: bool, world: World) -> None:
    _check(config, world)
    if not world.is_main:
        world.barrier()  # the first process alone writes the built-in set and the proposals
    data = _open_data(config, folder, fresh, world)
    for warning in data.warnings if world.is_main else ():
        log_warning(warning)
    images = data.train
    asked = config.train.precision
    config = with_precision(with_classes(config, images.classes), world.device)
    deep = find_deep_images(images.ground_truth(), images.paths) if config.data.known_deep_range is None else None
    if deep is not None and deep.range is not None:
        config, images = with_deep_range(config, deep.range), images.with_deep_range(deep.range)
    if world.is_main:
        if asked == "auto":
            print(f"precision: {config.train.precision} (train.precision is auto)")
        if deep is not None and deep.range is not None:
            print(deep.describe(deep.range))
        _prepare_folder(folder, config, fresh)
    val = None if data.val is None else data.val.with_deep_range(images.deep_range)
    dataset = _with_proposals(config, images, _training_splits(config))
    if world.is_main:
        if world.size > 1 and val is not None:
            _with_proposals(config, val, split_names(config.data, "val"))  # made once
        world.barrier()
    _train_kind(Session(config, dataset, folder, world, StageTimes(folder)), val)
    if world.is_main:
        metric = usual_metric(config.data)
        print(f"done: {folder / 'model.pt'}; score it with: detkit eval {shlex.quote(str(folder))} --{metric}")


def _open_data(config: Config, folder: Path, fresh: bool, world: World) -> TrainingData:
    """Raises ValueError for what training cannot live with; images are decoded once, when a run begins."""
    begun = not fresh and any((folder / name).exists() for name in WEIGHT_FILES)
    unreadable = unreadable_images if world.is_main and not begun else lambda datasets: iter(())
    return open_training_data(config.data, config.train.eval_every is not None, unreadable)


def _train_kind(session: Session, val: ListedDataset | None) -> None:
    config = session.config
    if config.train.kind == "joint" and not isinstance(config.model, RCNN | SPPNet):
        _train_joint(session, val)
        return
    _introduce(session)
    try:
        if isinstance(config.model, RCNN | SPPNet):
            train_staged(session)
        else:
            train_alternating(session)
    except KeyboardInterrupt:
        if session.world.is_main:
            print("stopped; the same command goes on from there")
        raise


def _train_joint(session: Session, val: ListedDataset | None) -> None:
    config, world = session.config, session.world
    torch.manual_seed(config.train.seed)  # the weights that training starts from belong to the config, too
    model = build_detector(config, len(session.dataset.classes))
    validate = None if val is None else _validation(config, val, world)
    trainer = session.trainer(model, config.train, session.dataset, session.folder, validate)
    _introduce(session)
    if not world.is_main:
        trainer.run()
        return
    if trainer.step:
        print(f"going on after step {trainer.step} of {config.train.steps}")
    try:
        with session.times("train"):
            trainer.run()
    except KeyboardInterrupt:
        print(f"stopped; the same command goes on from step {trainer.saved_step} of {config.train.steps}")
        raise


def _with_proposals(config: Config, dataset: DetectionDataset, splits: Sequence[str]) -> DetectionDataset:
    data = config.data
    return with_proposals(config, dataset, splits, lambda split: build_dataset(data, [split]), Path(data.root))


def _training_splits(config: Config) -> tuple[str, ...]:
    """Those that have a file of proposals each; a set that is joined from several folders has one."""
    data, splits = config.data, split_names(config.data, "train")
    if isinstance(data, FolderData) and data.also:
        others = [f"{Path(source.root).name} {' '.join(source.splits)}" for source in data.also]
        return (" and ".join([" ".join(splits), *others]),)
    return splits


def _check(config: Config, world: World) -> None:
    require_loggers(config.train)
    if config.train.precision == "fp16" and world.device.type == "cpu":
        raise ConfigError(
            "train.precision: fp16 needs a GPU; on a CPU take fp32, or bf16 where it has instructions for it"
        )


def _validation(config: Config, val: ListedDataset, world: World) -> Validation:
    """Scores a model on the validation split."""
    dataset = _with_proposals(config, val, split_names(config.data, "val"))
    mine = range(len(dataset))[world.rank :: world.size]

    def validate(model: nn.Module, step: int, log: RunLog | None) -> float | None:
        batches = detection_batches(dataset, build_resize(config), mine, TEST_BATCH, config.data.workers)
        found = detect_all(model.eval(), batches, world, "validating")  # type: ignore[arg-type]
        mean_ap, ap = _score(found, dataset, usual_metric(config.data))
        if log is not None:
            log.image(step, "detections and ground truth", overview(dataset, found))
            log.write(step, {f"val_ap/{name}": value for name, value in ap.items() if value is not None})
        return mean_ap

    return validate


def _score(
    found: Mapping[str, Detections], dataset: DetectionDataset, metric: Literal["voc07", "coco"]
) -> tuple[float | None, dict[str, float | None]]:
    """mAP and the AP of each class, 0..1; None where there is no object to find."""
    if metric == "coco":
        coco = evaluate_coco(found, dataset.ground_truth())
        return coco.summary["AP"], coco.ap
    voc = evaluate(found, dataset, metric)
    return voc.mean_ap, voc.ap


def _prepare_folder(folder: Path, config: Config, fresh: bool) -> None:
    written = folder / "config.yaml"
    if fresh and folder.exists():
        _clear(folder)
    if written.is_file() and any((folder / name).exists() for name in WEIGHT_FILES):
        before = read_config(written)
        keys = [key for key in differing_keys(before, config) if key not in HARMLESS_KEYS]
        if keys:
            raise ConfigError(
                f"{folder} was made with another config; other values of: {', '.join(keys)}. Take those of its "
                "config.yaml, name another folder with --run, or start over with --fresh"
            )
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.glob(PARTIAL_FILES):  # a kill while writing left them
        file.unlink()
    with written_whole(written) as partial:
        partial.write_text(config.to_yaml())


def _clear(folder: Path) -> None:
    """Delete what a run writes, and nothing else."""
    if not (folder / "config.yaml").is_file() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty and holds no run; --fresh deletes only runs")
    for pattern in RUN_FILES:
        for file in folder.glob(pattern):
            file.unlink()
    for name in RUN_FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)


def _introduce(session: Session) -> None:
    if not session.world.is_main:
        return
    dataset, train, times = session.dataset, session.config.train, session.times
    classes = ", ".join(dataset.classes)
    print(f"run {session.folder}: {len(dataset)} images, {len(dataset.classes)} classes ({classes})")
    if train.lr_batch not in (None, train.batch_size):
        print(f"rate {train.lr} is for batches of {train.lr_batch}: {learning_rate(train):.6g} for {train.batch_size}")
    if isinstance(dataset, WithProposals) and not times.has("proposals"):
        times.add("proposals", sum(dataset.seconds()))
