"""A backbone trained as a classifier of crops of a data set's own training images: for where no ImageNet weights are.

What ImageNet is to the papers: every detector of a comparison can start from the same weights. Crops are warped as
R-CNN warps them, of boxes drawn about the objects and of background, so that a step costs little.
"""

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from detkit.build.backbone import build_backbone
from detkit.build.data import build_training_set, with_classes
from detkit.config.schema import Config
from detkit.config.train import CosineSchedule
from detkit.detectors.two_stage import TwoStageDetector
from detkit.engine.backbone_file import save_backbone
from detkit.engine.distributed import joined_world
from detkit.engine.stages import StageTimes
from detkit.heads.proposals import RandomBoxes
from detkit.heads.roi_head import DetectionRule, HeadTraining, RoIHead
from detkit.ops.pooling import WarpedCrop
from detkit.recipes.session import Session
from detkit.staged.region_network import RegionTail

SAMPLING = HeadTraining(
    batch_per_image=16,
    foreground_fraction=0.5,
    foreground_iou=0.5,
    background_iou=(0.0, 0.5),
    box_weight=0.0,
    smooth_l1_beta=1.0,
)
PHASE = "pretraining"


def pretrain(config: Config, folder: Path, steps: int, side: int, grid: int | None) -> Path:
    """Train the backbone of `config` for `steps` on crops of `side` px; writes and returns FOLDER/backbone.pt.

    `grid`: cells a side of the last feature map that the tail takes (default: what the backbone was published with).
    """
    with joined_world() as world:
        dataset = build_training_set(config.data)
        config = with_classes(config, dataset.classes)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(config.to_yaml())
        torch.manual_seed(config.train.seed)
        backbone = build_backbone(config.model.backbone.model_copy(update={"weights": None}))
        to_pool5 = nn.Sequential(backbone.features, nn.AdaptiveMaxPool2d(grid or backbone.pool_size))
        head = RoIHead(
            WarpedCrop(side, side // 14),  # R-CNN: 16 px of 224
            RegionTail(to_pool5, backbone.tail),
            backbone.tail_dim,
            len(dataset.classes),
            class_agnostic=True,
            box_std=(0.1, 0.1, 0.2, 0.2),
            training=SAMPLING,
            rule=DetectionRule(min_score=0.05, nms_iou=0.3, max_detections=100),
        )
        model = TwoStageDetector(replace(backbone, features=nn.Identity()), RandomBoxes(), head)
        train = config.train.model_copy(
            update={"steps": steps, "schedule": CosineSchedule(kind="cosine"), "eval_every": None, "kind": "joint"}
        )
        Session(config, dataset, folder, world, StageTimes(folder)).fit(model, train, dataset, PHASE)
        path = folder / "backbone.pt"
        if world.is_main:
            save_backbone(backbone, path)
        return path
