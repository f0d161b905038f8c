"""From images as stored to a batch of the size that a detector takes; boxes and proposals follow their image.

The resize is the papers': the shorter side to `short_side`, but the longer at most `long_side`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from detkit.structures import Batch, Sample, Size, Target

if TYPE_CHECKING:
    from torch import Tensor


LEAST_SIDE = 32  # px of a batch's images, two cells of stride 16: there are networks that cannot look at less


@dataclass(frozen=True)
class Resize:
    short_side: int | None  # px; None: images stay as they are
    long_side: int  # px, at most

    def scale(self, size: Size) -> float:
        return 1.0 if self.short_side is None else min(self.short_side / min(size), self.long_side / max(size))

    def __call__(self, sample: Sample, factor: float = 1.0) -> Sample:
        """The sample at its size for the network, times `factor`."""
        height, width = sample.image.shape[1:]
        scale = self.scale((height, width)) * factor
        new_height, new_width = max(1, round(height * scale)), max(1, round(width * scale))
        if (new_height, new_width) == (height, width):
            return sample
        image = np.asarray(cv2.resize(to_array(sample), (new_width, new_height)), dtype=np.uint8)  # bilinear
        ratio = [new_width / width, new_height / height] * 2
        target = sample.target
        if target is not None:
            target = replace(target, boxes=target.boxes * target.boxes.new_tensor(ratio))
        proposals = None if sample.proposals is None else sample.proposals * sample.proposals.new_tensor(ratio)
        return changed(sample, image, target, proposals)


def collate(samples: Sequence[Sample]) -> Batch:
    """Pad the samples' images with zeros to the largest height and width among them, and to LEAST_SIDE."""
    import torch

    height = max(LEAST_SIDE, *(s.image.shape[1] for s in samples))
    width = max(LEAST_SIDE, *(s.image.shape[2] for s in samples))
    images = torch.zeros(len(samples), 3, height, width, dtype=torch.uint8)
    for image, sample in zip(images, samples, strict=True):
        image[:, : sample.image.shape[1], : sample.image.shape[2]] = sample.image
    targets = [s.target for s in samples if s.target is not None]
    proposals = [s.proposals for s in samples if s.proposals is not None]
    return Batch(
        images=images,
        sizes=torch.tensor([s.image.shape[1:] for s in samples]),
        original_sizes=torch.tensor([s.original_size for s in samples]),
        image_ids=tuple(s.image_id for s in samples),
        targets=tuple(targets) if len(targets) == len(samples) else None,
        proposals=tuple(proposals) if len(proposals) == len(samples) else None,
    )


def to_array(sample: Sample) -> NDArray[np.uint8]:
    """The image of a sample as (H, W, 3), contiguous."""
    return np.ascontiguousarray(sample.image.permute(1, 2, 0).numpy())


def changed(sample: Sample, image: NDArray[np.uint8], target: Target | None, proposals: "Tensor | None") -> Sample:
    """The sample with another image (H, W, 3) and what goes with it."""
    tensor = as_tensor(image)
    return Sample(sample.image_id, tensor, sample.original_size, target, proposals)


def as_tensor(pixels: NDArray[np.uint8]) -> "Tensor":
    """(H, W, 3) as (3, H, W), copied only where torch cannot share it: read-only, or running backwards.

    numpy counts an array of one row as contiguous even where its rows run backwards; torch refuses it all the same.
    """
    import torch

    runs_backwards = min(pixels.strides) < 0
    shared = pixels.copy() if runs_backwards else np.require(pixels, requirements=["C", "W"])
    return torch.from_numpy(shared).permute(2, 0, 1)
