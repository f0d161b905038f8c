"""The region head: which regions it learns, its losses by hand, its boxes and scores, and which become detections."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from detkit.heads.roi_head import DetectionRule, HeadTraining, RoIHead
from detkit.ops import boxes as box_ops
from detkit.ops.pooling import RoIAlign
from detkit.structures import Batch, Losses, Target

Box = tuple[float, float, float, float]
CHANNELS = 3
STD = (0.1, 0.1, 0.2, 0.2)
TRAINING = HeadTraining(
    batch_per_image=8,
    foreground_fraction=0.5,
    foreground_iou=0.5,
    background_iou=(0.0, 0.5),
    box_weight=1.0,
    smooth_l1_beta=1.0,
)
RULE = DetectionRule(min_score=0.1, nms_iou=0.5, max_detections=5)
SIZE = (64, 64)  # of every image, px


class RecordingPool(RoIAlign):
    """Keeps the regions it was asked for."""

    def __init__(self) -> None:
        super().__init__(size=2, stride=16, sampling=1)
        self.regions = torch.zeros(0, 5)

    def forward(self, features_BCHW: Tensor, regions_R5: Tensor) -> Tensor:
        self.regions = regions_R5
        return super().forward(features_BCHW, regions_R5)


def head(
    num_classes: int = 2,
    class_agnostic: bool = False,
    training: HeadTraining = TRAINING,
    rule: DetectionRule = RULE,
    global_context: bool = False,
) -> RoIHead:
    torch.manual_seed(0)
    tail = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return RoIHead(
        RecordingPool(),
        tail,
        CHANNELS,
        num_classes,
        class_agnostic,
        STD,
        training,
        rule,
        global_context=global_context,
    )


def silent(model: RoIHead) -> RoIHead:
    """All classes as likely, all offsets 0."""
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    return model


def target(*rows: tuple[Box, int], ignore: bool = False) -> Target:
    boxes, labels = zip(*rows) if rows else ((), ())
    return Target(
        torch.tensor(boxes).reshape(-1, 4).float(),
        torch.tensor(labels, dtype=torch.int64),
        torch.full((len(rows),), ignore),
    )


def loss(model: RoIHead, proposals: list[list[Box]], targets: list[Target]) -> Losses:
    sizes = torch.tensor([SIZE] * len(targets))
    batch = Batch(torch.zeros(len(targets), 3, 1, 1), sizes, sizes, ("",) * len(targets), tuple(targets))
    maps = torch.randn(len(targets), CHANNELS, 4, 4)
    return model.loss(maps, [torch.tensor(rows).reshape(-1, 4).float() for rows in proposals], batch)


def regions(model: RoIHead) -> list[list[float]]:
    """Image and box of the regions of the last call."""
    assert isinstance(model.pool, RecordingPool)
    return sorted(model.pool.regions.tolist())


OBJECT: Box = (0, 0, 32, 32)
WHOLE = [0.0, 0, 0, 64, 64]  # the whole image: drawn only where nothing else can be
# IoU 1/2 with OBJECT, whose offsets from it are ty = (16 - 8) / 16 and th = log(32 / 16); divided by STD:
HALF: Box = (0, 0, 32, 16)
TY, TH = 0.5 / 0.1, math.log(2) / 0.2


@pytest.mark.parametrize("class_agnostic", [False, True])
def test_losses_by_hand(class_agnostic: bool) -> None:
    model = silent(head(3, class_agnostic, replace(TRAINING, box_weight=2.0)))
    losses = loss(model, [[HALF]], [target((OBJECT, 1))])
    assert regions(model) == sorted([[0, *HALF], [0, *OBJECT]])  # the object itself is a candidate
    assert losses["head_class"].item() == pytest.approx(math.log(4))  # three classes and background
    assert losses["head_box"].item() == pytest.approx(2 * ((TY - 0.5) + (TH - 0.5)) / 2)


def test_class_specific_offsets_are_those_of_the_objects_class() -> None:
    model = silent(head(3))
    offsets = model.regressor.bias.data.view(3, 4)
    offsets[0], offsets[2] = 100, -100  # of no interest to an object of class 1
    offsets[1] = torch.tensor([0, TY, 0, TH])
    losses = loss(model, [[HALF]], [target((OBJECT, 1))])
    # Right for HALF; the object itself wants 0, and two regions are drawn.
    assert losses["head_box"].item() == pytest.approx(((TY - 0.5) + (TH - 0.5)) / 2)


def test_each_region_has_its_own_objects_class() -> None:
    model = head(3, training=replace(TRAINING, background_iou=(0.9, 1.0)))
    second: Box = (40, 40, 60, 60)
    for image in (target((OBJECT, 2), (second, 0)), target((second, 0), (OBJECT, 2))):
        silent(model)
        model.zero_grad()
        loss(model, [[]], [image])["head_class"].backward()
        assert model.classifier.bias.grad is not None
        # Mean over two regions of 1/4 - wanted: one wants class 0, one class 2.
        torch.testing.assert_close(model.classifier.bias.grad, torch.tensor([-0.25, 0.25, -0.25, 0.25]))


def test_background_is_the_last_logit() -> None:
    model = silent(head(3))
    loss(model, [[]], [target()])["head_class"].backward()
    assert model.classifier.bias.grad is not None
    torch.testing.assert_close(model.classifier.bias.grad, torch.tensor([0.25, 0.25, 0.25, -0.75]))


def test_background_overlaps_at_least_the_least() -> None:
    near: Box = (0, 0, 32, 8)  # IoU 8 / 32 with OBJECT
    touching: Box = (0, 0, 32, 1)  # 1 / 32
    far: Box = (48, 48, 60, 60)
    everything = [[0, *near], [0, *touching], [0, *far], [0, *OBJECT]]
    for least, absent in ((0.0, []), (0.1, [[0, *touching], [0, *far]])):
        model = head(training=replace(TRAINING, background_iou=(least, 0.5)))
        loss(model, [[near, touching, far]], [target((OBJECT, 0))])
        assert regions(model) == sorted(row for row in everything if row not in absent)


def test_counts_are_each_images_own() -> None:
    few: list[Box] = [(i, 0, i + 32, 32) for i in range(6)]  # IoU with OBJECT at least 27 / 37
    many: list[Box] = [(40, i, 60, i + 20) for i in range(20)]
    model = head()
    loss(model, [few + many, many], [target((OBJECT, 0)), target()])
    drawn = regions(model)
    assert sum(row[0] == 0 for row in drawn) == 8 and sum(row[0] == 1 for row in drawn) == 8
    assert sum(row[0] == 0 and row[1] < 40 and row[3] < 64 for row in drawn) == 4  # half of eight are foreground


IMAGES: dict[str, tuple[list[list[Box]], list[Target]]] = {
    "no proposals, no objects": ([[]], [target()]),
    "no proposals": ([[]], [target((OBJECT, 1))]),
    "no objects": ([[OBJECT, HALF]], [target()]),
    "only ignored objects": ([[OBJECT, HALF]], [target((OBJECT, 1), ignore=True)]),
    "an image with and one without": ([[HALF], []], [target((OBJECT, 1)), target()]),
}


@pytest.mark.parametrize(("proposals", "targets"), IMAGES.values(), ids=IMAGES)
@pytest.mark.parametrize("class_agnostic", [False, True])
@pytest.mark.parametrize("background_iou", [(0.0, 0.5), (0.1, 0.5)])
def test_losses_are_finite_and_reach_every_parameter(
    proposals: list[list[Box]], targets: list[Target], class_agnostic: bool, background_iou: tuple[float, float]
) -> None:
    training = replace(TRAINING, background_iou=background_iou)
    model = head(2, class_agnostic, training, global_context=class_agnostic)
    losses = loss(model, proposals, targets)
    assert set(losses) == {"head_class", "head_box"} and losses["head_class"].item() > 0
    (losses["head_class"] + losses["head_box"]).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.isfinite().all()), name
    assert {row[0] for row in regions(model)} == set(range(len(targets)))  # no image goes without a region


def test_ignored_objects_are_no_candidates_and_their_regions_not_background() -> None:
    model = head()
    far: Box = (40, 40, 60, 60)
    loss(model, [[HALF, far]], [target((OBJECT, 1), ignore=True)])
    assert regions(model) == [[0, *far]]


def test_an_ignored_object_on_another_object_is_no_candidate_either() -> None:
    wanted: Box = (0, 0, 32, 24)  # IoU 24 / 32 with OBJECT
    both = target((OBJECT, 1), (wanted, 0))
    model = head()
    loss(model, [[]], [Target(both.boxes, both.labels, torch.tensor([True, False]))])
    assert regions(model) == [[0, *wanted]]


@pytest.mark.parametrize("proposals", [[], [HALF]])  # none at all, or one that may well be right
def test_the_whole_image_is_background_where_nothing_can_be_learned_from(proposals: list[Box]) -> None:
    model = silent(head(3))
    loss(model, [proposals], [target((OBJECT, 1), ignore=True)])["head_class"].backward()
    assert regions(model) == [WHOLE]
    assert model.classifier.bias.grad is not None
    torch.testing.assert_close(model.classifier.bias.grad, torch.tensor([0.25, 0.25, 0.25, -0.75]))


@pytest.mark.parametrize("class_agnostic", [False, True])
def test_score_moves_each_region_by_its_offsets_in_deviations(class_agnostic: bool) -> None:
    model = silent(head(2, class_agnostic))
    model.regressor.bias.data[-4:] = torch.tensor([1.0, -2.0, math.log(2) / 0.2, 0])  # of the last class, or the only
    boxes = torch.tensor([[[10.0, 20, 30, 60], [0, 0, 10, 10]]])
    probabilities, refined = model.score(torch.zeros(1, CHANNELS, 4, 4), boxes, torch.tensor([SIZE]))
    torch.testing.assert_close(probabilities, torch.full((1, 2, 3), 1 / 3))
    assert refined.shape == (1, 2, 1 if class_agnostic else 2, 4)
    # 20 x 40 px round (20, 40): 0.1 of the width to the right, 0.2 of the height up, twice as wide: 40 x 40 round
    # (22, 32). 10 x 10 round (5, 5): 20 x 10 round (6, 3).
    torch.testing.assert_close(refined[0, :, -1], torch.tensor([[2.0, 12, 42, 52], [-4, -2, 16, 8]]))
    if not class_agnostic:
        torch.testing.assert_close(refined[0, :, 0], boxes[0])


@pytest.mark.parametrize("global_context", [False, True])
@pytest.mark.parametrize("at_once", [None, 4])
def test_score_of_a_batch_is_one_by_one(global_context: bool, at_once: int | None) -> None:
    model = head(global_context=global_context)
    model.regions_at_once = at_once
    maps, boxes = torch.randn(3, CHANNELS, 4, 4) * 50, torch.rand(3, 5, 4) * 20 + torch.tensor([0.0, 0, 30, 30])
    sizes = torch.tensor([SIZE, (32, 64), (64, 40)])
    together = model.score(maps, boxes, sizes)
    for i in range(3):
        alone = model.score(maps[i : i + 1], boxes[i : i + 1], sizes[i : i + 1])
        torch.testing.assert_close((together[0][i], together[1][i]), (alone[0][0], alone[1][0]))
    assert not torch.allclose(together[0][0], together[0][1])
    torch.testing.assert_close(together[0].sum(dim=2), torch.ones(3, 5))


def test_global_context_stands_behind_each_region() -> None:
    model = silent(head(2, class_agnostic=True, global_context=True))
    # Each class looks at one channel of the whole image alone: 2 x 4 cells of the first, all 16 of the second.
    model.classifier.weight.data[:2, CHANNELS : CHANNELS + 2] = torch.eye(2)
    maps = torch.zeros(2, CHANNELS, 4, 4)
    maps[0, 0, :2], maps[0, 0, 2:], maps[1, 1] = 3, 100, 2  # 100: padding below the first image
    sizes = torch.tensor([(32, 64), SIZE])
    boxes = torch.tensor([[[0.0, 0, 5, 5], [30, 20, 40, 30]]]).expand(2, -1, -1)
    probabilities, _ = model.score(maps, boxes, sizes)
    expected = torch.tensor([[3.0, 0, 0], [0, 2, 0]]).softmax(dim=1)
    torch.testing.assert_close(probabilities, expected[:, None].expand(-1, 2, -1))
    assert isinstance(model.pool, RecordingPool) and len(model.pool.regions) == 4  # the regions were pooled last


def test_regions_are_not_scored_by_their_context_alone() -> None:
    model = head(2, global_context=True)
    scores, _ = model.score(torch.randn(1, CHANNELS, 4, 4) * 50, torch.rand(1, 3, 4) * 20 + 20, torch.tensor([SIZE]))
    assert len(scores[0].unique(dim=0)) == 3


SIZE_30_35 = torch.tensor([30, 35])  # height, width
A, NEAR_A, PAST_THE_EDGE = (0.0, 0.0, 10.0, 10.0), (1.0, 0.0, 11.0, 10.0), (20.0, 20.0, 40.0, 40.0)
SCORES = torch.tensor([[0.80, 0.15, 0.05], [0.60, 0.30, 0.10], [0.10, 0.85, 0.05]])  # two classes and background
BOXES = torch.tensor([[A], [NEAR_A], [PAST_THE_EDGE]])  # one a region
ALL_REAL = torch.ones(3, dtype=torch.bool)


def select(
    model: RoIHead, scores: Tensor = SCORES, boxes: Tensor = BOXES, real: Tensor = ALL_REAL
) -> list[tuple[list[float], float, int]]:
    """The detections as rows, padding left out."""
    found_boxes, found_scores, labels = model.select(scores, boxes, real, SIZE_30_35, model.rule)
    assert len(found_boxes) == len(found_scores) == len(labels) == min(model.rule.max_detections, len(scores) * 2)
    assert bool((found_scores.diff() <= 0).all())  # so that padding, 0, comes last
    rows = zip(found_boxes.tolist(), found_scores.tolist(), labels.tolist(), strict=True)
    return [(box, round(score, 4), label) for box, score, label in rows if score > 0]


CUT = [20.0, 20.0, 35.0, 30.0]  # PAST_THE_EDGE within 35 x 30 px


@pytest.mark.parametrize("boxes", [BOXES, BOXES.expand(-1, 2, -1)], ids=["agnostic", "by class"])
def test_select_by_hand(boxes: Tensor) -> None:
    # IoU of A and NEAR_A: 90 / 110. Class 0: A suppresses NEAR_A; 0.10 is not above min_score. Class 1: NEAR_A (0.30)
    # suppresses A (0.15).
    expected = [(CUT, 0.85, 1), ([*A], 0.80, 0), ([*NEAR_A], 0.30, 1)]
    assert select(head(class_agnostic=boxes.shape[1] == 1), boxes=boxes) == expected


def test_select_takes_each_class_its_own_box() -> None:
    boxes = torch.tensor([[A, PAST_THE_EDGE], [NEAR_A, A], [PAST_THE_EDGE, NEAR_A]])
    # Class 1: PAST_THE_EDGE 0.15, A 0.30 suppressed by NEAR_A 0.85.
    assert select(head(), boxes=boxes) == [([*NEAR_A], 0.85, 1), ([*A], 0.80, 0), (CUT, 0.15, 1)]


def test_select_obeys_its_rule() -> None:
    def found(rule: DetectionRule) -> list[float]:
        return [score for _, score, _ in select(head(rule=rule))]

    assert found(replace(RULE, nms_iou=0.9)) == [0.85, 0.8, 0.6, 0.3, 0.15]
    assert found(replace(RULE, max_detections=2)) == [0.85, 0.8]
    assert found(replace(RULE, min_score=0.35)) == [0.85, 0.8]
    assert found(replace(RULE, min_score=0.9)) == []
    assert found(replace(RULE, max_detections=50, min_score=0.0)) == [0.85, 0.8, 0.3, 0.1]


def test_padding_regions_and_boxes_outside_are_not_detected() -> None:
    # Without region 0 nothing suppresses NEAR_A in class 0.
    real = torch.tensor([False, True, True])
    assert select(head(), real=real) == [(CUT, 0.85, 1), ([*NEAR_A], 0.6, 0), ([*NEAR_A], 0.3, 1)]
    outside = BOXES + torch.tensor([100.0, 0, 100, 0])  # beyond 35 px: nothing is left after clipping
    assert select(head(), boxes=outside) == []
    assert select(head(), real=~ALL_REAL) == []


def test_select_is_nms_class_by_class() -> None:
    torch.manual_seed(3)
    model = head(rule=DetectionRule(0.2, 0.4, 1000))
    scores = (torch.randn(40, 3) * 2).softmax(dim=1)
    corners = torch.rand(40, 2, 2) * torch.tensor([25.0, 20.0])
    boxes = torch.cat([corners, corners + 3 + torch.rand(40, 2, 2) * 12], dim=2)
    found_boxes, found_scores, labels = model.select(
        scores, boxes, torch.ones(40, dtype=torch.bool), SIZE_30_35, model.rule
    )
    for label in range(2):
        mine = box_ops.clip(boxes[:, label], SIZE_30_35)[scores[:, label] > 0.2]
        its_scores = scores[:, label][scores[:, label] > 0.2]
        kept = box_ops.nms(mine, its_scores, 0.4)
        here = (labels == label) & (found_scores > 0)
        torch.testing.assert_close(found_boxes[here], mine[kept])
        torch.testing.assert_close(found_scores[here], its_scores[kept])
        assert 3 < len(kept) < len(mine)


def test_background_of_a_federated_image_teaches_nothing_of_its_unknown_classes() -> None:
    """Two images without objects, one of which was looked through for class 1 alone: its softmax has two columns."""
    model = silent(head(3))
    nothing = target()
    looked_for_one = replace(nothing, unknown=torch.tensor([True, False, True]))
    losses = loss(model, [[OBJECT], [OBJECT]], [looked_for_one, nothing])
    assert losses["head_class"].item() == pytest.approx((math.log(2) + math.log(4)) / 2)
    losses["head_class"].backward()
    assert model.classifier.bias.grad is not None
    of_one, of_both = torch.tensor([0, 0.5, 0, -0.5]), torch.tensor([0.25, 0.25, 0.25, -0.75])
    torch.testing.assert_close(model.classifier.bias.grad, (of_one + of_both) / 2)


def test_a_region_with_an_object_of_a_federated_image_learns_against_all_classes() -> None:
    model = silent(head(3, training=replace(TRAINING, background_iou=(0.9, 1.0))))
    image = replace(target((OBJECT, 1)), unknown=torch.tensor([True, False, True]))
    assert loss(model, [[]], [image])["head_class"].item() == pytest.approx(math.log(4))
