"""From the configuration to objects; the only place that matches on `kind`."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

from torch import nn
from torch.optim import Optimizer

from detkit import config as c
from detkit.backbones.backbone import Backbone
from detkit.backbones.resnet import resnet
from detkit.data.dataset import DetectionDataset
from detkit.data.loader import BatchOrder, Part, tall_pictures, train_batches
from detkit.data.shapes import write_shapes
from detkit.data.shapes_render import CLASSES as SHAPE_CLASSES
from detkit.data.transforms import Augmentation, Resize, TrainTransform
from detkit.data.voc import VocDataset
from detkit.detectors.two_stage import TwoStageDetector
from detkit.engine import optimizer as optimizers
from detkit.engine import schedule as schedules
from detkit.engine.trainer import TrainSettings
from detkit.heads.roi_head import DetectionRule, HeadTraining, RoIHead
from detkit.heads.rpn import RPN, Anchors, RPNTraining, Selection
from detkit.ops.pooling import RegionPool, RoIAlign, RoIMaxPool
from detkit.structures import Batch

SplitKind = Literal["train", "val", "test"]


def build_dataset(data: c.VocData | c.ShapesData, splits: Sequence[str]) -> DetectionDataset:
    """The images of the named splits; the built-in set is written first where it is missing."""
    match data:
        case c.VocData():
            return VocDataset(Path(data.root), splits, data.classes)
        case c.ShapesData():
            counts = {"train": data.num_train, "val": data.num_val, "test": data.num_test}
            write_shapes(Path(data.root), data.seed, counts, data.long_sides, data.object_sizes)
            return VocDataset(Path(data.root), splits, SHAPE_CLASSES)  # a small split may not show them all


def split_names(data: c.VocData | c.ShapesData, kind: SplitKind) -> tuple[str, ...]:
    match data:
        case c.VocData():
            return {"train": data.train, "val": data.val, "test": data.test}[kind]
        case c.ShapesData():
            return (kind,)


def with_classes(config: c.Config, classes: tuple[str, ...]) -> c.Config:
    """The config with the classes its data set turned out to have, so that the run keeps them."""
    match config.data:
        case c.VocData():
            return config.model_copy(update={"data": config.data.model_copy(update={"classes": classes})})
        case c.ShapesData():
            return config


def build_resize(data: c.Pictures) -> Resize:
    return Resize(data.short_side, data.long_side)


def build_batches(config: c.Config, dataset: DetectionDataset, part: Part) -> Callable[[range], Iterable[Batch]]:
    """The training batches of given steps, for one process."""
    data, train = config.data, config.train
    if train.batch_size % (part.count * part.accumulate):
        raise ValueError(
            f"train.batch_size {train.batch_size} cannot be shared by {part.count} processes in {part.accumulate} "
            "parts each: make it a multiple of processes x train.accumulate"
        )
    tall = tall_pictures(dataset) if data.group_by_aspect else [False] * len(dataset)
    order = BatchOrder(tall, train.batch_size, train.seed)
    augmentation = Augmentation(**data.augment.model_dump())
    transform = TrainTransform(build_resize(data), augmentation)
    return lambda steps: train_batches(dataset, transform, order, steps, part, data.workers)


def build_detector(model: c.Model, num_classes: int) -> TwoStageDetector:
    backbone = build_backbone(model.backbone)
    rpn, head = model.rpn, model.head
    proposals = RPN(
        backbone.channels,
        rpn.channels,
        Anchors(rpn.sizes, rpn.ratios, backbone.stride),
        RPNTraining(
            rpn.positive_iou,
            rpn.negative_iou,
            rpn.batch_per_image,
            rpn.positive_fraction,
            rpn.across_border,
            rpn.box_weight,
        ),
        train=Selection(rpn.train_before_nms, rpn.train_after_nms, rpn.nms_iou, rpn.min_side),
        test=Selection(rpn.test_before_nms, rpn.test_after_nms, rpn.nms_iou, rpn.min_side),
    )
    roi_head = RoIHead(
        build_pool(model.pool, backbone),
        backbone.tail,
        backbone.tail_dim,
        num_classes,
        head.class_agnostic,
        head.box_std,
        HeadTraining(
            head.batch_per_image, head.foreground_fraction, head.foreground_iou, head.background_iou, head.box_weight
        ),
        DetectionRule(head.min_score, head.nms_iou, head.max_detections),
    )
    return TwoStageDetector(backbone, proposals, roi_head)


def build_backbone(section: c.ResNet) -> Backbone:
    return resnet(section.depth, section.layout, section.norm, section.frozen_stages, section.weights)


def build_pool(section: c.RoIMaxPoolSection | c.RoIAlignSection, backbone: Backbone) -> RegionPool:
    size = section.size or backbone.pool_size
    match section:
        case c.RoIMaxPoolSection():
            return RoIMaxPool(size, backbone.stride)
        case c.RoIAlignSection():
            return RoIAlign(size, backbone.stride, section.sampling)


def learning_rate(train: c.Train) -> float:
    """The rate for this batch: scaled linearly from the batch it is stated for (Goyal et al. 2017)."""
    return train.lr * train.batch_size / (train.lr_batch or train.batch_size)


def build_optimizer(train: c.Train, model: nn.Module) -> Optimizer:
    section = train.optimizer
    rule = optimizers.ParameterRule(
        learning_rate(train), section.weight_decay, section.bias_rate, section.decay_norm_and_bias
    )
    match section:
        case c.SGD():
            return optimizers.sgd(model, rule, section.momentum)
        case c.AdamW():
            return optimizers.adamw(model, rule)


def build_schedule(train: c.Train) -> schedules.Schedule:
    match train.schedule:
        case c.StepSchedule(drops=drops, factor=factor):
            schedule = schedules.step_drops(drops, factor)
        case c.CosineSchedule(final=final):
            schedule = schedules.cosine(train.steps, final)
    return schedules.with_warmup(schedule, train.warmup_steps, train.warmup_factor)


def build_train_settings(train: c.Train) -> TrainSettings:
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
