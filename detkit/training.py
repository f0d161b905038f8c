"""A training run from its config to its folder: what tools/train.py does."""

import shutil
from pathlib import Path

import torch
from torch import nn

from detkit.build import (
    build_batches,
    build_dataset,
    build_detector,
    build_optimizer,
    build_resize,
    build_train_settings,
    learning_rate,
    split_names,
    with_classes,
)
from detkit.config import Config, ConfigError, differing_keys, read_config
from detkit.data.dataset import DetectionDataset
from detkit.data.loader import Part, detection_batches
from detkit.engine.checkpoint import SavedModel
from detkit.engine.distributed import World, joined_world
from detkit.engine.inference import detect_all, prepare
from detkit.engine.logs import RunLog
from detkit.engine.trainer import Trainer, Validation
from detkit.evaluation.voc import evaluate
from detkit.reports.overview import overview

HARMLESS_KEYS = {"data.workers", "train.log_every", "train.checkpoint_every"}  # a run may go on with other values
WEIGHT_FILES = ("checkpoint.pt", "model.pt")  # without them nothing was trained yet, and the config may change
PARTIAL_FILES = "*.partial-*"
RUN_FILES = ("config.yaml", *WEIGHT_FILES, "log.jsonl", "events.out.tfevents.*", "not_finite_rank*.json", PARTIAL_FILES)
TEST_BATCH = 4  # images at once while validating


def train(config: Config, folder: Path, fresh: bool = False) -> None:
    """Train as `config` says, in `folder`; goes on where an earlier run with the same config stopped.

    Raises ValueError for anything in the config, the data or the folder that does not fit.
    """
    with joined_world() as world:
        _train(config, folder, fresh, world)  # a call, so that the model is gone before the processes part


def _train(config: Config, folder: Path, fresh: bool, world: World) -> None:
    if not world.is_main:
        world.barrier()  # the first process alone writes the built-in set
    dataset = build_dataset(config.data, split_names(config.data, "train"))
    if world.is_main:
        world.barrier()
    config = with_classes(config, dataset.classes)
    if world.is_main:
        _prepare_folder(folder, config, fresh)
    world.barrier()
    if config.train.precision == "fp16" and world.device.type == "cpu":
        raise ConfigError(
            "train.precision: fp16 needs a GPU; on a CPU take fp32, or bf16 where it has instructions for it"
        )
    trainer = _trainer(config, folder, dataset, world)
    trainer.load_checkpoint()
    if world.is_main:
        _introduce(config, dataset, folder, trainer.step)
    try:
        trainer.run()
    except KeyboardInterrupt:
        if world.is_main:
            print(f"stopped; the same command goes on from step {trainer.saved_step} of {config.train.steps}")
        raise
    if world.is_main:
        print(f"done: {folder / 'model.pt'}; score it with: python tools/eval.py {folder} --voc07")


def _trainer(config: Config, folder: Path, dataset: DetectionDataset, world: World) -> Trainer:
    torch.manual_seed(config.train.seed)  # the weights that training starts from belong to the config, too
    model = build_detector(config.model, len(dataset.classes))
    prepare(model, world.device)
    return Trainer(
        model,
        build_optimizer(config.train, model),
        build_train_settings(config.train),
        build_batches(config, dataset, Part(world.rank, world.size, config.train.accumulate)),
        lambda weights, step: SavedModel(config.model_dump(mode="json"), dataset.classes, weights, step),
        _validation(config, dataset, world),
        folder,
        world,
    )


def _validation(config: Config, train_set: DetectionDataset, world: World) -> Validation | None:
    """Scores a model on the validation split, which must share no image with training."""
    splits = split_names(config.data, "val")
    if not splits or config.train.eval_every is None:
        return None
    dataset = build_dataset(with_classes(config, train_set.classes).data, splits)
    shared = set(dataset.image_ids) & set(train_set.image_ids)
    if shared:
        raise ConfigError(
            f"data.val {list(splits)} shares {len(shared)} images with data.train, such as {min(shared)}: weights "
            "chosen by images they were trained on say nothing; take another split, or none: data.val=[]"
        )
    mine = range(len(dataset))[world.rank :: world.size]

    def validate(model: nn.Module, step: int, log: RunLog | None) -> float | None:
        batches = detection_batches(dataset, build_resize(config.data), mine, TEST_BATCH, config.data.workers)
        found = detect_all(model.eval(), batches, world, "validating")  # type: ignore[arg-type]
        if log is not None:
            log.picture(step, "detections", overview(dataset, found))
        return evaluate(found, dataset, "voc07").mean_ap

    return validate


def _prepare_folder(folder: Path, config: Config, fresh: bool) -> None:
    written = folder / "config.yaml"
    if fresh and folder.exists():
        _clear(folder)
    if written.is_file() and any((folder / name).exists() for name in WEIGHT_FILES):
        before = read_config(written)
        keys = [key for key in differing_keys(before, config) if key not in HARMLESS_KEYS]
        if keys:
            raise ConfigError(
                f"{folder} was made with another config; other values of: {', '.join(keys)}. Name another folder with "
                "--run, or start over with --fresh"
            )
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.glob(PARTIAL_FILES):  # a kill while writing left them
        file.unlink()
    written.write_text(config.to_yaml())


def _clear(folder: Path) -> None:
    """Delete what a run writes, and nothing else."""
    if not (folder / "config.yaml").is_file() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty and holds no run; --fresh deletes only runs")
    for pattern in RUN_FILES:
        for file in folder.glob(pattern):
            file.unlink()
    shutil.rmtree(folder / "eval", ignore_errors=True)


def _introduce(config: Config, dataset: DetectionDataset, folder: Path, step: int) -> None:
    print(f"run {folder}: {len(dataset)} images, {len(dataset.classes)} classes ({', '.join(dataset.classes)})")
    train = config.train
    if train.lr_batch not in (None, train.batch_size):
        print(f"rate {train.lr} is for batches of {train.lr_batch}: {learning_rate(train):.6g} for {train.batch_size}")
    if step:
        print(f"going on after step {step} of {train.steps}")
