"""Samples brought together: how they become a batch."""

import torch

from detkit.data.pipeline.prepare import collate
from detkit.structures import Sample, Target


def sample(name: str, height: int, width: int, target: Target | None, proposals: torch.Tensor | None = None) -> Sample:
    return Sample(
        name, torch.full((3, height, width), 7, dtype=torch.uint8), (2 * height, 2 * width), target, proposals
    )


def test_collate_pads_right_and_below_with_zeros() -> None:
    batch = collate([sample("a", 34, 46, Target.empty()), sample("b", 45, 33, Target.empty())])
    assert batch.image_ids == ("a", "b")
    assert batch.images.shape == (2, 3, 45, 46) and batch.images.dtype == torch.uint8
    assert batch.sizes.tolist() == [[34, 46], [45, 33]]
    assert batch.original_sizes.tolist() == [[68, 92], [90, 66]]
    assert (batch.images[0, :, :34, :] == 7).all() and (batch.images[0, :, 34:, :] == 0).all()
    assert (batch.images[1, :, :, :33] == 7).all() and (batch.images[1, :, :, 33:] == 0).all()
    assert batch.targets is not None and len(batch.targets) == 2
    assert batch.proposals is None


def test_a_batch_is_never_smaller_than_what_networks_can_look_at() -> None:
    batch = collate([sample("thin", 4, 60, Target.empty())])
    assert batch.images.shape == (1, 3, 32, 60) and batch.sizes.tolist() == [[4, 60]]
    assert (batch.images[0, :, :4] == 7).all() and (batch.images[0, :, 4:] == 0).all()


def test_collate_without_targets_and_with_proposals() -> None:
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    batch = collate([sample("a", 4, 6, None, boxes), sample("b", 4, 6, None, boxes[:0])])
    assert batch.targets is None
    assert batch.proposals is not None and [len(p) for p in batch.proposals] == [1, 0]
