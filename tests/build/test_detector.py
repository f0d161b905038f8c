"""From sections to objects: what is built is what the config says."""

from dataclasses import MISSING, fields
from pathlib import Path

import pytest
import torch

from detkit.backbones.backbone import Normalize
from detkit.build.backbone import build_backbone
from detkit.build.detector import build_detector, build_pool
from detkit.build.training import build_optimizer, build_schedule, build_train_settings, learning_rate
from detkit.config.backbones import VGG, Pixels, ResNet, ZFNet
from detkit.config.base import Section
from detkit.config.loading import load_config
from detkit.config.models import HeadConfig, RoIAlignConfig, RoIMaxPoolConfig, RPNConfig, SVMConfig
from detkit.config.schema import Config
from detkit.heads.roi_head import DetectionRule, HeadTraining
from detkit.heads.rpn import RPNTraining
from detkit.ops.pooling import RoIAlign, RoIMaxPool

CONFIGS = Path(__file__).parents[2] / "configs"
PUBLISHED = sorted(path for path in CONFIGS.rglob("*.yaml") if "\nmodel:" in path.read_text())


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_every_config_builds_a_detector_its_optimizer_and_schedule(path: Path) -> None:
    config = load_config(path, ["model.backbone.weights=null"])
    with torch.device("meta"):  # shapes without numbers: quick
        detector = build_detector(config, num_classes=3)
    assert detector.head.classifier.out_features == 4
    optimizer = build_optimizer(config.train, detector)
    trained = sum(p.requires_grad for p in detector.parameters())
    assert sum(len(group["params"]) for group in optimizer.param_groups) == trained > 0
    assert 0 <= build_schedule(config.train)(config.train.steps - 1) <= 1


def test_the_numbers_of_the_config_arrive(tiny_file: Path) -> None:
    overrides = [
        *("model.rpn.positive_iou=0.61", "model.rpn.negative_iou=0.21", "model.rpn.train_before_nms=13"),
        *("model.rpn.train_after_nms=12", "model.rpn.test_before_nms=11", "model.rpn.test_after_nms=10"),
        *("model.rpn.nms_iou=0.65", "model.head.nms_iou=0.35", "model.head.foreground_fraction=0.4"),
        *("model.head.max_detections=9", "model.head.background_iou=[0.1,0.45]", "model.rpn.box_weight=2.0"),
    ]
    detector = build_detector(load_config(tiny_file, overrides), num_classes=2)
    rpn, head = detector.proposals, detector.head
    assert (rpn.settings.positive_iou, rpn.settings.negative_iou, rpn.settings.box_weight) == (0.61, 0.21, 2.0)
    assert (rpn.train_selection.before_nms, rpn.train_selection.after_nms) == (13, 12)
    assert (rpn.test_selection.before_nms, rpn.test_selection.after_nms) == (11, 10)
    assert rpn.train_selection.nms_iou == rpn.test_selection.nms_iou == 0.65
    assert (head.rule.nms_iou, head.rule.max_detections) == (0.35, 9)
    assert (head.settings.foreground_fraction, head.settings.background_iou) == (0.4, (0.1, 0.45))


@pytest.mark.parametrize(
    ("kind", "section"),
    [(RPNTraining, RPNConfig), (HeadTraining, HeadConfig), (DetectionRule, HeadConfig), (DetectionRule, SVMConfig)],
)
def test_a_section_has_every_number_and_its_only_default(kind: type, section: type[Section]) -> None:
    for field in fields(kind):
        assert field.default is MISSING
        assert not section.model_fields[field.name].is_required()


def test_pools(tiny_config: Config) -> None:
    detector = build_detector(tiny_config, num_classes=2)
    assert isinstance(detector.head.pool, RoIAlign)
    assert detector.head.pool.size == 3

    class Published:
        pool_size, stride, offset = 14, 16, 5.5

    published = Published()
    align = build_pool(RoIAlignConfig(kind="roi_align", sampling=4), published)
    assert (type(align), align.size, align.stride, align.sampling, align.offset) == (RoIAlign, 14, 16, 4, 5.5)
    assert isinstance(build_pool(RoIMaxPoolConfig(kind="roi_pool", size=7), published), RoIMaxPool)


@pytest.mark.parametrize(("batch", "rate"), [(2, 0.001), (8, 0.004), (1, 0.0005)])
def test_the_rate_scales_with_the_batch(tiny_file: Path, batch: int, rate: float) -> None:
    train = load_config(tiny_file, [f"train.batch_size={batch}"]).train
    assert learning_rate(train) == pytest.approx(rate)
    assert build_train_settings(train).lr == pytest.approx(rate)


def test_schedule_of_the_config(tiny_file: Path) -> None:
    overrides = ["train.warmup_steps=2", "train.warmup_factor=0.5", "train.schedule.factor=0.2"]
    schedule = build_schedule(load_config(tiny_file, overrides).train)
    assert [schedule(step) for step in range(4)] == pytest.approx([0.5, 0.75, 1, 0.2])
    cosine = build_schedule(load_config(tiny_file, ["train.schedule.kind=cosine", "train.steps=10"]).train)
    assert (cosine(0), cosine(5), cosine(10)) == pytest.approx((1, 0.5, 0))


def test_pixels_of_a_networks_own() -> None:
    pixels = Pixels(mean=(10.0, 20.0, 30.0), std=(1.0, 2.0, 4.0), order="bgr")
    sections = [
        ResNet(kind="resnet", depth=18, pixels=pixels, weights=None),
        VGG(kind="vgg", width=1 / 64, fc_dim=8, pixels=pixels, weights=None),
        ZFNet(kind="zfnet", width=1 / 32, fc_dim=8, pixels=pixels, weights=None),
    ]
    for section in sections:
        preprocess = build_backbone(section).preprocess
        assert isinstance(preprocess, Normalize) and preprocess.bgr
        assert (preprocess.mean.flatten().tolist(), preprocess.std.flatten().tolist()) == ([10, 20, 30], [1, 2, 4])
        without = build_backbone(section.model_copy(update={"pixels": None})).preprocess
        assert isinstance(without, Normalize) and without.mean.flatten().tolist() != [10, 20, 30]


def test_anchors_on_the_corners_of_cells(tiny_file: Path) -> None:
    centered, corner = (
        build_detector(load_config(tiny_file, [f"model.rpn.anchors={placing}"]), num_classes=2).proposals.cell
        for placing in ("centered", "corner")
    )
    assert torch.equal(corner, centered - 8)  # half of the 16 px of a cell
