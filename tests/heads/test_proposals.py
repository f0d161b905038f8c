"""Proposals that come with the images, and boxes drawn at random."""

import pytest
import torch
from torch import Tensor

from detkit.heads.proposals import FileProposals, RandomBoxes
from detkit.structures import Batch, Target

NOTHING = torch.zeros(0)  # features are not looked at
TWO, ONE, NONE = torch.arange(8.0).reshape(2, 4), torch.tensor([[9.0, 9, 20, 20]]), torch.zeros(0, 4)


def batch(proposals: tuple[Tensor, ...] | None, count: int = 1, targets: tuple[Target, ...] | None = None) -> Batch:
    count = count if proposals is None else len(proposals)
    sizes = torch.tensor([[40, 80]] * count)
    return Batch(torch.zeros(count, 3, 40, 80), sizes, sizes, ("a", "b", "c")[:count], targets, proposals)


def test_proposals_of_a_file_are_learned_from_as_they_are() -> None:
    proposals, losses = FileProposals().learn(NOTHING, batch((TWO, NONE, ONE)))
    assert losses == {}
    assert [p.tolist() for p in proposals] == [TWO.tolist(), [], ONE.tolist()]


def test_proposals_to_detect_in_are_padded_and_stay_in_order() -> None:
    boxes, real = FileProposals().propose(NOTHING, batch((TWO, NONE, ONE)))
    assert real.tolist() == [[True, True], [False, False], [True, False]]
    assert torch.equal(boxes[0], TWO) and torch.equal(boxes[2, :1], ONE)
    assert not bool(boxes[~real].any())


def test_a_batch_without_any_proposal_has_one_row_of_padding() -> None:
    for proposals in ((NONE,), (NONE, NONE)):
        boxes, real = FileProposals().propose(NOTHING, batch(proposals))
        assert boxes.shape == (len(proposals), 1, 4) and not bool(real.any())


def test_images_without_proposals_are_told() -> None:
    for ask in (FileProposals().learn, FileProposals().propose):
        with pytest.raises(ValueError, match=r"image a: no proposals; make them with detkit make-proposals"):
            ask(NOTHING, batch(None))


def target(*boxes: tuple[float, float, float, float]) -> Target:
    labels = torch.zeros(len(boxes), dtype=torch.int64)
    return Target(torch.tensor(boxes).reshape(-1, 4).float(), labels, labels.bool())


def test_random_boxes_lie_in_the_image_and_about_the_objects() -> None:
    """Half of what a classifier of crops sees should show an object."""
    torch.manual_seed(0)
    objects = ((0.0, 0.0, 20.0, 10.0), (70.0, 30.0, 80.0, 40.0))
    for _ in range(20):
        (with_two, without), losses = RandomBoxes().learn(NOTHING, batch(None, 2, (target(*objects), target())))
        assert losses == {}
        assert with_two.shape == (2 * RandomBoxes.AROUND + RandomBoxes.ANYWHERE, 4)
        assert without.shape == (RandomBoxes.ANYWHERE, 4)
        for x1, y1, x2, y2 in [*with_two.tolist(), *without.tolist()]:
            assert 0 <= x1 < x2 <= 80 and 0 <= y1 < y2 <= 40
        for k, (x1, y1, x2, y2) in enumerate(with_two[: 2 * RandomBoxes.AROUND].tolist()):
            left, top, right, bottom = objects[k % 2]
            width, height = right - left, bottom - top
            x, y = (left + right) / 2, (top + bottom) / 2
            reach = 0.3 + 1.5 / 2  # of the object's sides, from its centre: the shift, and half of the growth
            assert x - reach * width <= x1 < x2 <= x + reach * width + 1e-4
            assert y - reach * height <= y1 < y2 <= y + reach * height + 1e-4


def test_random_boxes_differ_from_call_to_call_by_the_seed_alone() -> None:
    def draw(seed: int) -> Tensor:
        torch.manual_seed(seed)
        (boxes,), _ = RandomBoxes().learn(NOTHING, batch(None, 1, (target((0, 0, 20, 10)),)))
        return boxes

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    assert len(draw(1).unique(dim=0)) == len(draw(1))


def test_random_boxes_are_not_to_detect_in() -> None:
    with pytest.raises(NotImplementedError, match="training"):
        RandomBoxes().propose(NOTHING, batch(None))
