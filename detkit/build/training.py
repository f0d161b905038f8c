"""From `train` to optimizer, schedule and settings."""

import torch
from torch import nn
from torch.optim import Optimizer

from detkit.config.schema import Config
from detkit.config.train import SGD, AdamW, CosineSchedule, StepSchedule, Train
from detkit.engine import optimizer as optimizers
from detkit.engine import schedule as schedules
from detkit.engine.precision import fast_precision
from detkit.engine.trainer import TrainSettings


def with_precision(config: Config, device: torch.device) -> Config:
    """The config with the precision that "auto" comes to on `device`, so that the run keeps it wherever it goes on."""
    if config.train.precision != "auto":
        return config
    train = config.train.model_copy(update={"precision": fast_precision(device)})
    return config.model_copy(update={"train": train})


def learning_rate(train: Train) -> float:
    """The rate for this batch: scaled linearly from the batch it is stated for (Goyal et al. 2017)."""
    return train.lr * train.batch_size / (train.lr_batch or train.batch_size)


def build_optimizer(train: Train, model: nn.Module) -> Optimizer:
    section = train.optimizer
    rule = optimizers.ParameterRule(
        learning_rate(train),
        section.weight_decay,
        section.bias_rate,
        section.decay_norm_and_bias,
        section.new_layer_rate,
    )
    match section:
        case SGD():
            return optimizers.sgd(model, rule, section.momentum)
        case AdamW():
            return optimizers.adamw(model, rule)


def build_schedule(train: Train) -> schedules.Schedule:
    match train.schedule:
        case StepSchedule(drops=drops, factor=factor):
            schedule = schedules.step_drops(drops, factor)
        case CosineSchedule(final=final):
            schedule = schedules.cosine(train.steps, final)
    return schedules.with_warmup(schedule, train.warmup_steps, train.warmup_factor)


def build_train_settings(train: Train) -> TrainSettings:
    """Of a `train` whose precision is named: see `with_precision`."""
    assert train.precision != "auto"
    return TrainSettings(
        seed=train.seed,
        steps=train.steps,
        lr=learning_rate(train),
        schedule=build_schedule(train),
        accumulate=train.accumulate,
        precision=train.precision,
        clip_norm=train.clip_norm,
        average_decay=train.ema,
        eval_every=train.eval_every,
        checkpoint_every=train.checkpoint_every,
        log_every=train.log_every,
    )
