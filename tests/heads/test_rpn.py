"""The RPN: which anchor a logit belongs to, its losses by hand and without objects, and which proposals pass."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from detkit.heads.rpn import RPN, Anchors, RPNTraining, Selection
from detkit.structures import Batch, Pyramid, Target

Box = tuple[float, float, float, float]
ANCHORS = Anchors(sizes=(16.0, 40.0), ratios=(0.5, 1.0, 2.0), stride=16, offset=0.0, placing="centered")
ONE_ANCHOR = replace(ANCHORS, sizes=(16.0,), ratios=(1.0,))  # every cell's own square
TRAINING = RPNTraining(0.7, 0.3, 32, 0.5, across_border=True, box_weight=1.0, smooth_l1_beta=1 / 9)
KEEP_ALL = Selection(before_nms=10_000, after_nms=10_000, nms_iou=1.0, min_side=0.0)
CHANNELS = 4


def batch_of(sizes: Tensor) -> Batch:
    """Images of the sizes, without pixels: all that proposing reads of them."""
    return Batch(torch.zeros(len(sizes), 3, 0, 0, dtype=torch.uint8), sizes, sizes, ("",) * len(sizes))


def rpn(
    anchors: Anchors = ANCHORS,
    training: RPNTraining = TRAINING,
    train: Selection = KEEP_ALL,
    test: Selection = KEEP_ALL,
) -> RPN:
    torch.manual_seed(0)
    return RPN(CHANNELS, 8, anchors, training, train, test)


def silent(model: RPN) -> RPN:
    """All logits and offsets 0: every proposal is its anchor."""
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    return model


def target(*boxes: Box, ignore: bool = False) -> Target:
    labels = torch.zeros(len(boxes), dtype=torch.int64)
    return Target(torch.tensor(boxes).reshape(-1, 4).float(), labels, torch.full((len(boxes),), ignore))


def batch(*targets: Target, size: tuple[int, int]) -> Batch:
    """Images without content; the RPN sees features only."""
    sizes = torch.tensor([size] * len(targets))
    return Batch(torch.zeros(len(targets), 3, 1, 1), sizes, sizes, ("",) * len(targets), targets)


def features(count: int, height: int, width: int) -> Tensor:
    return torch.randn(count, CHANNELS, height, width, generator=torch.Generator().manual_seed(1))


def test_shapes_and_order() -> None:
    logits, offsets, anchors = rpn().predict(features(2, 3, 5))
    assert logits.shape == (2, 3 * 5 * 6) and offsets.shape == (2, 3 * 5 * 6, 4) and anchors.shape == (3 * 5 * 6, 4)
    assert logits.dtype == offsets.dtype == torch.float32
    assert logits.std().item() < 0.1 and offsets.std().item() < 0.1  # it starts from N(0, 0.01) layers


def marked(row: int, column: int, anchor: int, offsets: Box) -> tuple[RPN, Tensor]:
    """An RPN and a (1, C, 3, 5) map for which one anchor of one cell scores 5 and all others -1."""
    model = silent(rpn())
    model.conv.weight.data[0, 0, 1, 1] = 1  # hidden channel 0 repeats input channel 0
    model.objectness.bias.data.fill_(-1)
    model.objectness.weight.data[anchor, 0] = 6
    for k, value in enumerate(offsets):
        model.offsets.weight.data[4 * anchor + k, 0] = value
    image = torch.zeros(1, CHANNELS, 3, 5)
    image[0, 0, row, column] = 1
    return model, image


@pytest.mark.parametrize(("row", "column", "anchor"), [(0, 0, 0), (1, 3, 0), (1, 3, 4), (2, 1, 5), (2, 4, 2)])
def test_the_best_proposal_is_the_anchor_of_the_best_logit(row: int, column: int, anchor: int) -> None:
    model, image = marked(row, column, anchor, (0, 0, 0, 0))
    size, ratio = [(s, r) for s in ANCHORS.sizes for r in ANCHORS.ratios][anchor]
    x, y, w, h = 16 * column + 8, 16 * row + 8, size / math.sqrt(ratio), size * math.sqrt(ratio)
    clipped = [max(x - w / 2, 0), max(y - h / 2, 0), min(x + w / 2, 80), min(y + h / 2, 48)]
    boxes, real = model.propose(image, batch_of(torch.tensor([[48, 80]])))
    torch.testing.assert_close(boxes[0, 0], torch.tensor(clipped))
    assert bool(real[0, 0])


def test_offsets_move_the_anchor_they_belong_to() -> None:
    # Anchor 1 of the cell in row 1, column 2: 16 x 16 px round (40, 24). Moved by half its side to the right and a
    # quarter up, twice as wide and half as high: 32 x 8 px round (48, 20).
    model, image = marked(1, 2, 1, (0.5, -0.25, math.log(2), math.log(0.5)))
    boxes, _ = model.propose(image, batch_of(torch.tensor([[48, 80]])))
    torch.testing.assert_close(boxes[0, 0], torch.tensor([32.0, 16, 64, 24]))
    _, offsets, _ = model.predict(image)
    moved = offsets.abs().sum(dim=2).nonzero().tolist()
    assert moved == [[0, (1 * 5 + 2) * 6 + 1]]


def test_losses_by_hand() -> None:
    """Two cells side by side; all logits are 0, so each of the two anchors costs log 2."""
    model = silent(rpn(ONE_ANCHOR, replace(TRAINING, box_weight=3.0)))
    _, losses = model.learn(features(1, 1, 2), batch(target((0, 0, 16, 8)), size=(16, 32)))
    assert losses["rpn_objectness"].item() == pytest.approx(math.log(2))
    # The first anchor has IoU 1/2 only, but it is the object's best. ty = (4 - 8) / 16, th = log(8 / 16), both in the
    # linear part of smooth L1 with beta 1/9: |x| - 1/18. Per sampled anchor, of which there are two.
    assert losses["rpn_box"].item() == pytest.approx(3 * (0.25 - 1 / 18 + math.log(2) - 1 / 18) / 2)


def test_losses_are_means_over_the_anchors_of_all_images() -> None:
    model = silent(rpn(ONE_ANCHOR, replace(TRAINING, batch_per_image=2)))
    images = (target((0, 0, 16, 8)), target(), target())
    _, losses = model.learn(features(3, 1, 2), batch(*images, size=(16, 32)))
    assert losses["rpn_objectness"].item() == pytest.approx(math.log(2))
    assert losses["rpn_box"].item() == pytest.approx((0.25 - 1 / 18 + math.log(2) - 1 / 18) / 6)


def test_positive_anchors_are_pushed_up_and_negative_ones_down() -> None:
    model = silent(rpn(ONE_ANCHOR))
    model.conv.weight.data[:, :, 1, 1] = torch.eye(8, CHANNELS)
    image = torch.zeros(1, CHANNELS, 1, 2)
    image[0, 0, 0, 0] = image[0, 1, 0, 1] = 1  # channel 0 is on in the first cell, 1 in the second
    _, losses = model.learn(image, batch(target((0, 0, 16, 16)), size=(16, 32)))
    losses["rpn_objectness"].backward()
    assert model.objectness.weight.grad is not None
    # d/dlogit of cross-entropy at 0 is 0.5 - wanted, here over 2 anchors.
    torch.testing.assert_close(model.objectness.weight.grad[0, :2, 0, 0], torch.tensor([-0.25, 0.25]))


def test_anchors_across_the_border_are_left_out() -> None:
    """4 x 4 cells with 40 px anchors: only the 4 in the middle are inside 64 px, and each is an object."""
    middle = [(x, y) for y in (24, 40) for x in (24, 40)]
    objects = target(*((x - 20.0, y - 20.0, x + 20.0, y + 20.0) for x, y in middle))
    anchors = replace(ANCHORS, sizes=(40.0,), ratios=(1.0,))
    image = batch(objects, size=(64, 64))
    for across_border in (False, True):
        model = silent(rpn(anchors, RPNTraining(0.7, 0.3, 100, 1.0, across_border, 1.0, 1 / 9)))
        model.objectness.bias.data.fill_(2.0)
        _, losses = model.learn(features(1, 4, 4), image)
        assert losses["rpn_box"].item() == 0  # each positive anchor is its own object
        only_positive = math.log(1 + math.exp(-2))
        if across_border:
            assert losses["rpn_objectness"].item() > only_positive + 0.1
        else:
            assert losses["rpn_objectness"].item() == pytest.approx(only_positive)


IMAGES = {
    "no objects": (target(), True, (48, 80)),
    "only ignored objects": (target((0, 0, 30, 30), ignore=True), True, (48, 80)),
    "one object": (target((5, 5, 40, 40)), True, (48, 80)),
    "one object, anchors inside only": (target((5, 5, 40, 40)), False, (48, 80)),
    "no anchor inside": (target((0, 0, 5, 5)), False, (6, 6)),
    "no anchor inside and no object": (target(), False, (6, 6)),
    "the ignored object covers every anchor": (target((-50, -50, 500, 500), ignore=True), True, (48, 80)),
}


@pytest.mark.parametrize(("objects", "across_border", "size"), IMAGES.values(), ids=IMAGES)
def test_losses_are_finite_and_reach_every_parameter(
    objects: Target, across_border: bool, size: tuple[int, int]
) -> None:
    model = rpn(training=replace(TRAINING, across_border=across_border))
    proposals, losses = model.learn(features(1, 3, 5), batch(objects, size=size))
    assert set(losses) == {"rpn_objectness", "rpn_box"}
    assert not proposals[0].requires_grad and bool(proposals[0].isfinite().all())
    (losses["rpn_objectness"] + losses["rpn_box"]).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.isfinite().all()), name
    nothing_to_learn = size == (6, 6) or bool((objects.boxes > 400).any())
    assert (losses["rpn_objectness"].item() == 0) == nothing_to_learn
    learns_boxes = not nothing_to_learn and bool((~objects.ignore).any())
    assert (losses["rpn_box"].item() > 0) == learns_boxes


def test_training_and_testing_select_by_their_own_counts() -> None:
    model = rpn(train=Selection(50, 20, 1.0, 0.0), test=Selection(30, 10, 1.0, 0.0))
    maps, sizes = features(2, 3, 5), torch.tensor([[48, 80]] * 2)
    proposals, _ = model.learn(maps, batch(target(), target(), size=(48, 80)))
    assert [tuple(boxes.shape) for boxes in proposals] == [(20, 4)] * 2
    boxes, real = model.propose(maps, batch_of(sizes))
    assert boxes.shape == (2, 10, 4) and bool(real.all())
    for image in range(2):
        torch.testing.assert_close(boxes[image], proposals[image][:10])  # best first, and the best of both are the same


def plain_select(model: RPN, maps: Tensor, size: tuple[int, int], rule: Selection) -> list[list[float]]:
    """Faster R-CNN, section 3.3, box by box."""
    logits, offsets, anchors = model.predict(maps)
    kept: list[list[float]] = []
    for n in logits[0].argsort(descending=True)[: rule.before_nms].tolist():
        box = plain_moved(anchors[n].tolist(), offsets[0, n].tolist(), size)
        if box[2] - box[0] < rule.min_side or box[3] - box[1] < rule.min_side:
            continue
        if all(plain_iou(box, other) <= rule.nms_iou for other in kept):
            kept.append(box)
    return kept[: rule.after_nms]


def plain_moved(anchor: list[float], offset: list[float], size: tuple[int, int]) -> list[float]:
    """The anchor moved as R-CNN, appendix C has it, cut to the image."""
    x1, y1, x2, y2 = anchor
    tx, ty, tw, th = offset
    x, y, w, h = (x1 + x2) / 2 + tx * (x2 - x1), (y1 + y2) / 2 + ty * (y2 - y1), x2 - x1, y2 - y1
    w, h = w * math.exp(min(tw, math.log(1000 / 16))), h * math.exp(min(th, math.log(1000 / 16)))
    box = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
    return [min(max(value, 0), size[1 - k % 2]) for k, value in enumerate(box)]


def plain_iou(one: list[float], other: list[float]) -> float:
    width, height = (max(0.0, min(one[k + 2], other[k + 2]) - max(one[k], other[k])) for k in (0, 1))
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return width * height / (areas - width * height)


@pytest.mark.parametrize(
    "rule", [Selection(60, 25, 0.7, 1.0), Selection(90, 90, 0.3, 18.0), Selection(20, 20, 0.5, 1.0)]
)
def test_selection_is_the_plain_one_and_the_rest_is_padding(rule: Selection) -> None:
    model = rpn(test=rule)
    for layer in (model.objectness, model.offsets):
        torch.nn.init.normal_(layer.weight, std=3.0)
    maps = features(2, 3, 5)
    boxes, real = model.propose(maps, batch_of(torch.tensor([[44, 70]] * 2)))
    assert boxes.shape == (2, min(rule.after_nms, rule.before_nms), 4)
    with torch.no_grad():
        for image in range(2):
            expected = plain_select(model, maps[image : image + 1], (44, 70), rule)
            assert int(real[image].sum()) == len(expected) < rule.before_nms
            assert bool(real[image, : len(expected)].all())  # padding comes last
            torch.testing.assert_close(boxes[image, : len(expected)], torch.tensor(expected), atol=1e-3, rtol=1e-4)


def test_proposals_of_wild_offsets_are_no_nan() -> None:
    model = rpn(test=Selection(60, 30, 0.7, 4.0))
    torch.nn.init.normal_(model.offsets.weight, std=1e6)
    boxes, real = model.propose(features(1, 3, 5) * 100, batch_of(torch.tensor([[48, 80]])))
    assert bool(boxes.isfinite().all())
    sides = (boxes[..., 2:] - boxes[..., :2])[real]
    assert bool((sides >= 4).all())
    assert bool((boxes >= 0).all()) and bool((boxes <= torch.tensor([80.0, 48, 80, 48])).all())


def test_too_small_proposals_are_padding() -> None:
    model = silent(rpn(ONE_ANCHOR, test=replace(KEEP_ALL, min_side=10.0)))
    # Cells of 16 px in an image of 25 x 16: the second column is clipped to 9 px.
    boxes, real = model.propose(features(1, 1, 2), batch_of(torch.tensor([[16, 25]])))
    assert real.tolist() == [[True, False]]
    assert boxes[0, 0].tolist() == [0, 0, 16, 16]


# Ranked boxes for a file, the losses alone, and grids that begin inside the image


def test_ranked_proposals_are_the_proposed_ones_with_falling_logits() -> None:
    rule = Selection(60, 25, 0.7, 1.0)
    model = rpn(test=rule)
    for layer in (model.objectness, model.offsets):
        torch.nn.init.normal_(layer.weight, std=3.0)
    maps, sizes = features(2, 3, 5), torch.tensor([[44, 70]] * 2)
    boxes, scores = model.rank(maps, sizes, rule)
    proposed, real = model.propose(maps, batch_of(sizes))
    assert torch.equal(boxes, proposed) and torch.equal(scores > -torch.inf, real)
    assert bool((scores[:, :-1] >= scores[:, 1:]).all())
    logits, offsets, anchors = model.predict(maps)
    for image in range(2):
        moved = [plain_moved(anchors[n].tolist(), offsets[image, n].tolist(), (44, 70)) for n in range(len(anchors))]
        for box, score in zip(boxes[image, real[image]], scores[image, real[image]], strict=True):
            n = logits[image].tolist().index(score.item())  # the logit of the very anchor the box was moved from
            torch.testing.assert_close(box, torch.tensor(moved[n]), atol=1e-3, rtol=1e-4)
    few, _ = model.rank(maps, sizes, Selection(60, 3, 0.7, 1.0))
    assert torch.equal(few, boxes[:, :3])


def test_the_losses_alone_are_those_of_learning() -> None:
    model = rpn(training=replace(TRAINING, batch_per_image=10_000, positive_fraction=1.0))  # all: nothing is drawn
    maps, images = features(2, 3, 5), batch(target((5, 5, 40, 40)), target(), size=(48, 80))
    _, expected = model.learn(maps, images)
    losses = model.loss(maps, images)
    assert losses.keys() == expected.keys()
    for name, value in losses.items():
        torch.testing.assert_close(value, expected[name])
    assert losses["rpn_box"].item() > 0


def test_proposals_lie_on_the_grid_of_an_offset() -> None:
    model = silent(rpn(replace(ONE_ANCHOR, offset=5.5)))
    boxes, _ = model.rank(features(1, 1, 2), torch.tensor([[30, 30]]), KEEP_ALL)
    found = sorted(boxes[0].tolist())
    assert found == [[5.5, 5.5, 21.5, 21.5], [21.5, 5.5, 30, 21.5]]  # the second is clipped


def test_of_a_pyramid_the_map_of_the_batch_itself_is_read() -> None:
    model, maps, sizes = rpn(), features(1, 3, 5), torch.tensor([[48, 80]])
    pyramid = Pyramid((features(1, 2, 3), maps, features(1, 6, 10)), (0.5, 1.0, 2.0))
    for one, other in zip(model.rank(pyramid, sizes, KEEP_ALL), model.rank(maps, sizes, KEEP_ALL), strict=True):
        assert torch.equal(one, other)
