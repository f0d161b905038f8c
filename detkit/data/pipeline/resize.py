"""From an image as stored to one of the size that a detector takes; boxes and proposals follow the image.

The resize is the papers': the shorter side to `short_side`, but the longer at most `long_side`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from detkit.structures import Sample, Size, Target

if TYPE_CHECKING:
    from torch import Tensor


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
            target = Target(target.boxes * target.boxes.new_tensor(ratio), target.labels, target.ignore)
        proposals = None if sample.proposals is None else sample.proposals * sample.proposals.new_tensor(ratio)
        return changed(sample, image, target, proposals)


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
