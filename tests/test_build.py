"""From sections to objects: what is built is what the config says."""

from pathlib import Path

import pytest
import torch

from detkit.build import (
    build_batches,
    build_dataset,
    build_detector,
    build_optimizer,
    build_pool,
    build_schedule,
    build_train_settings,
    learning_rate,
    split_names,
    with_classes,
)
from detkit.config import load_config
from detkit.data import shapes
from detkit.data.loader import Part
from detkit.ops.pooling import RoIAlign, RoIMaxPool
from detkit.sections import Config, RoIAlignSection, RoIMaxPoolSection, ShapesData

CONFIGS = Path(__file__).parent.parent / "configs"
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


def test_pools(tiny_config: Config) -> None:
    detector = build_detector(tiny_config, num_classes=2)
    assert isinstance(detector.head.pool, RoIAlign)
    assert detector.head.pool.size == 3

    class Published:
        pool_size, stride, offset = 14, 16, 5.5

    published = Published()
    align = build_pool(RoIAlignSection(kind="roi_align", sampling=4), published)
    assert (type(align), align.size, align.stride, align.sampling, align.offset) == (RoIAlign, 14, 16, 4, 5.5)
    assert isinstance(build_pool(RoIMaxPoolSection(kind="roi_pool", size=7), published), RoIMaxPool)


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


def test_a_batch_that_cannot_be_shared_out(tiny_config: Config) -> None:
    dataset = build_dataset(tiny_config.data, ["train"])
    build_batches(tiny_config, dataset, Part(0, 2))
    for part in (Part(0, 3), Part(0, 2, accumulate=2)):
        with pytest.raises(ValueError, match=r"train\.batch_size 2 cannot be shared by"):
            build_batches(tiny_config, dataset, part)


def test_classes_of_a_data_set_are_those_of_its_training_splits(tiny_config: Config) -> None:
    dataset = build_dataset(tiny_config.data, split_names(tiny_config.data, "train"))
    assert dataset.classes == ("bar", "block")
    config = with_classes(tiny_config, ("block", "bar"))
    assert build_dataset(config.data, split_names(config.data, "test")).classes == ("block", "bar")


def test_a_split_of_shapes_has_all_classes_though_it_may_not_show_them(tmp_path: Path) -> None:
    data = ShapesData(kind="shapes", root=str(tmp_path / "shapes"), num_train=2, num_val=1, num_test=1)
    splits = [build_dataset(data, split_names(data, kind)) for kind in ("train", "val", "test")]
    assert [len(split) for split in splits] == [2, 1, 1]
    assert len({split.classes for split in splits}) == 1
    shown = {label for i in range(1) for label in splits[1].target(i).labels.tolist()}
    assert shown < set(range(len(splits[1].classes)))  # one picture shows some of them


def test_the_built_in_set_is_the_same_from_a_config_and_from_its_tool() -> None:
    section = ShapesData(kind="shapes")
    assert (section.long_sides, section.object_sizes) == (shapes.LONG_SIDES, shapes.OBJECT_SIZES)
    assert {"train": section.num_train, "val": section.num_val, "test": section.num_test} == shapes.COUNTS
