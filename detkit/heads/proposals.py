"""Where a detector's regions come from: the RPN (rpn.py), or boxes computed before, which come with the images."""

from typing import Protocol

import torch
from torch import Tensor, nn

from detkit.ops import boxes as box_ops
from detkit.structures import Batch, Features, Losses


class ProposalSource(Protocol):
    """A source of candidate boxes: the RPN, or a file of them."""

    def learn(self, features: Features, batch: Batch) -> tuple[list[Tensor], Losses]:
        """Proposals (N_i, 4) of each image to train the head on, and the source's own losses (none for a file)."""
        ...

    def propose(self, features: Features, batch: Batch) -> tuple[Tensor, Tensor]:
        """Proposals (B, K, 4) to detect in, best first, and which of them are real (B, K) bool: the rest is padding."""
        ...


class FileProposals(nn.Module):
    """The proposals that came with the images: what makes a two-stage detector a Fast R-CNN."""

    def learn(self, features: Features, batch: Batch) -> tuple[list[Tensor], Losses]:
        return list(_of(batch)), {}

    def propose(self, features: Features, batch: Batch) -> tuple[Tensor, Tensor]:
        return padded(batch)


class RandomBoxes(nn.Module):
    """Boxes drawn about the objects and anywhere in the image: to train a backbone as a classifier of crops."""

    AROUND, ANYWHERE = 4, 16  # boxes an object, boxes an image
    SHIFT, GROWTH = 0.3, 1.5  # of the object's sides, at most
    LEAST_SIDE = 0.05  # of the image, for boxes anywhere

    def learn(self, features: Features, batch: Batch) -> tuple[list[Tensor], Losses]:
        assert batch.targets is not None
        return [self._draw(t.boxes, size) for t, size in zip(batch.targets, batch.sizes, strict=True)], {}

    def propose(self, features: Features, batch: Batch) -> tuple[Tensor, Tensor]:
        raise NotImplementedError("random boxes are for training")

    def _draw(self, objects: Tensor, size: Tensor) -> Tensor:
        """Objects (M, 4) -> boxes (4 M + 16, 4) within the image of `size` (2,)."""
        about = objects.repeat(self.AROUND, 1)
        sides = about[:, 2:] - about[:, :2]
        center = (about[:, :2] + about[:, 2:]) / 2 + (torch.rand_like(sides) * 2 - 1) * self.SHIFT * sides
        half = sides / 2 * self.GROWTH ** (torch.rand_like(sides) * 2 - 1)
        image = size.flip(0).to(objects.dtype)
        part = self.LEAST_SIDE ** torch.rand(self.ANYWHERE, 2, device=objects.device)  # log-uniform
        corner = torch.rand_like(part) * (1 - part)
        anywhere = torch.cat([corner, corner + part], dim=1) * image.repeat(2)
        return box_ops.clip(torch.cat([torch.cat([center - half, center + half], dim=1), anywhere]), size)


def padded(batch: Batch) -> tuple[Tensor, Tensor]:
    """The proposals that came with the images as one tensor (B, K, 4), and which of them are real (B, K)."""
    proposals = _of(batch)
    count = max(1, *(len(p) for p in proposals))  # one row of padding for a batch without any
    boxes = torch.zeros(len(batch), count, 4, device=batch.images.device)
    real = torch.zeros(len(batch), count, dtype=torch.bool, device=batch.images.device)
    for i, p in enumerate(proposals):
        boxes[i, : len(p)] = p
        real[i, : len(p)] = True
    return boxes, real


def _of(batch: Batch) -> tuple[Tensor, ...]:
    if batch.proposals is None:
        raise ValueError(
            f"image {batch.image_ids[0]}: no proposals; make them with detkit make-proposals, or let detkit train "
            "and detkit eval make them"
        )
    return batch.proposals
