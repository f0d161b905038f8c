"""What training changes at random in an image, by albumentations; boxes and proposals follow the image.

The resize behind it is in resize.py: albumentations, slow to import, is for training alone.
"""

import os
import random
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from detkit.data.pipeline.prepare import Resize, changed, to_array
from detkit.ops import boxes as box_ops
from detkit.structures import Sample, Size, Target

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else importing it asks the package index for news
import albumentations as A

COLOR_RANGE = (0.7, 1.3)  # factor on brightness, contrast and saturation
HUE_RANGE = (-0.03, 0.03)  # turns of the colour wheel


@dataclass(frozen=True)
class Augmentation:
    """Chances of each change (config.Augment says what they are)."""

    horizontal_flip: float = 0.0
    vertical_flip: float = 0.0
    quarter_turns: float = 0.0
    scale_jitter: tuple[float, float] | None = None
    photometric: float = 0.0
    safe_crop: float = 0.0


class TrainTransform:
    """Resize and random changes; the same (sample, seeds) always give the same result."""

    def __init__(self, resize: Resize, augmentation: Augmentation) -> None:
        self.resize, self.scale_jitter = resize, augmentation.scale_jitter
        a = augmentation
        steps = [
            A.BBoxSafeRandomCrop(p=a.safe_crop),
            A.HorizontalFlip(p=a.horizontal_flip),
            A.VerticalFlip(p=a.vertical_flip),
            A.RandomRotate90(p=a.quarter_turns),
            A.ColorJitter(COLOR_RANGE, COLOR_RANGE, COLOR_RANGE, HUE_RANGE, p=a.photometric),
        ]
        chosen = [step for step in steps if step.p > 0]
        boxes = A.BboxParams("pascal_voc", label_fields=["index"])
        corners = A.KeypointParams("xy", remove_invisible=False)
        # NoOp: where colours are all that changes, albumentations warns that no step uses the boxes.
        self.steps = A.Compose([*chosen, A.NoOp()], bbox_params=boxes, keypoint_params=corners) if chosen else None

    def __call__(self, sample: Sample, seed: int, batch_seed: int) -> Sample:
        """`seed` decides the changes of this image, `batch_seed` those that all of its batch share."""
        return self.resize(self._change(sample, seed), self._factor(batch_seed))

    def _factor(self, batch_seed: int) -> float:
        """The same for a whole batch, so that its images stay of one size and need little padding."""
        if self.scale_jitter is None:
            return 1.0
        return float(np.exp(np.random.default_rng(batch_seed).uniform(*np.log(self.scale_jitter))))

    def _change(self, sample: Sample, seed: int) -> Sample:
        if self.steps is None:
            return sample
        target = sample.target or Target.empty()
        boxes = target.boxes.numpy()
        # One stream for all steps. Compose.set_random_seed would give each its own, all of the same seed: then steps of
        # equal chance happen together or not at all.
        self.steps.set_random_state(np.random.default_rng(seed), random.Random(seed))
        corners = _corners(sample.proposals)
        out = self.steps(image=to_array(sample), bboxes=boxes, index=np.arange(len(boxes)), keypoints=corners)
        index = torch.as_tensor(np.asarray(out["index"], dtype=np.int64))
        new_boxes = torch.as_tensor(np.asarray(out["bboxes"], dtype=np.float32).reshape(-1, 4))
        proposals = None if sample.proposals is None else _from_corners(out["keypoints"], out["image"].shape[:2])
        target = replace(target, boxes=new_boxes, labels=target.labels[index], ignore=target.ignore[index])
        return changed(sample, out["image"], target, proposals)


def _corners(proposals: torch.Tensor | None) -> NDArray[np.float32]:
    """Two opposite corners of each proposal (2N, 2), where albumentations has pixel 0's centre at 0.

    As points they are carried along without a say in the change: a crop that keeps all objects need not keep them.
    """
    if proposals is None:
        return np.zeros((0, 2), dtype=np.float32)
    return np.asarray(proposals.reshape(-1, 2).numpy() - 0.5, dtype=np.float32)


def _from_corners(points: NDArray[np.float32], size: Size) -> torch.Tensor:
    """What is left of the proposals in an image of `size`: (N, 4)."""
    pairs = torch.as_tensor(np.asarray(points, dtype=np.float32).reshape(-1, 2, 2)) + 0.5
    boxes = box_ops.clip(torch.cat([pairs.amin(dim=1), pairs.amax(dim=1)], dim=1), torch.tensor(size))
    return boxes[box_ops.long_enough(boxes, 0)]
