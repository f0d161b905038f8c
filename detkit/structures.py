"""The values that cross between the parts of detkit.

Boxes, everywhere: float32 (x1, y1, x2, y2) in pixels of the image at hand, continuous, 0-based, covering
[x1, x2) x [y1, y2), so that width = x2 - x1. Labels are 0..C-1; background is C, the last logit.
File formats with another convention (VOC: 1-based, both corners inside) are converted where they are read or written.

torch is imported only where a tensor is made: what reads, checks and converts data sets does without.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Losses: TypeAlias = "dict[str, Tensor]"  # scalars, already weighted: their sum is what training minimises
Size = tuple[int, int]  # (height, width) in pixels


@dataclass(frozen=True)
class Target:
    """The annotated objects of one image.

    `ignore` marks objects that are neither asked for nor held against a detector (VOC "difficult", COCO "iscrowd").
    `unknown`, of federated data sets such as LVIS alone, marks classes that were not looked for in the image, or not
    in all of it: a region without an object may well be one of these.
    """

    boxes: Tensor  # (M, 4) float32
    labels: Tensor  # (M,) int64
    ignore: Tensor  # (M,) bool
    unknown: Tensor | None = None  # (C,) bool; None: all classes were looked for

    def to(self, device: torch.device) -> Target:
        boxes, labels, ignore = (t.to(device, non_blocking=True) for t in (self.boxes, self.labels, self.ignore))
        unknown = None if self.unknown is None else self.unknown.to(device, non_blocking=True)
        return Target(boxes, labels, ignore, unknown)

    @staticmethod
    def empty() -> Target:
        import torch

        return Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.bool))


@dataclass(frozen=True)
class Sample:
    """One image as a dataset reads it, or as a transform leaves it."""

    image_id: str
    image: Tensor  # (3, H, W) uint8 RGB
    original_size: Size  # as stored in the file, before any resize
    target: Target | None = None  # None: not annotated (an image to detect in)
    proposals: Tensor | None = None  # (N, 4), for detectors that take proposals from a file


@dataclass(frozen=True)
class Batch:
    """Samples padded to a common size on the right and at the bottom."""

    images: Tensor  # (B, 3, H, W) uint8 RGB
    sizes: Tensor  # (B, 2) int64: height and width of each image without padding
    original_sizes: Tensor  # (B, 2) int64
    image_ids: tuple[str, ...]
    targets: tuple[Target, ...] | None = None
    proposals: tuple[Tensor, ...] | None = None

    def __len__(self) -> int:
        return len(self.image_ids)

    def to(self, device: torch.device) -> Batch:
        return Batch(
            self.images.to(device, non_blocking=True),
            self.sizes.to(device, non_blocking=True),
            self.original_sizes.to(device, non_blocking=True),
            self.image_ids,
            None if self.targets is None else tuple(target.to(device) for target in self.targets),
            None if self.proposals is None else tuple(p.to(device, non_blocking=True) for p in self.proposals),
        )


@dataclass(frozen=True)
class Detections:
    """What a detector found in one image, best score first, in pixels of the original image."""

    boxes: Tensor  # (K, 4) float32
    scores: Tensor  # (K,) float32, 0..1
    labels: Tensor  # (K,) int64

    def __len__(self) -> int:
        return len(self.scores)

    @staticmethod
    def empty() -> Detections:
        import torch

        return Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))


@dataclass(frozen=True)
class Pyramid:
    """Feature maps of the same images at several sizes, for regions that each choose theirs."""

    maps: tuple[Tensor, ...]  # (B, C, H_s, W_s) each
    factors: tuple[float, ...]  # size of the images behind each map, as a factor on the batch's; ascending

    @property
    def base(self) -> Tensor:
        """The map of the images as they are in the batch, or the nearest to it."""
        return min(zip(self.maps, self.factors, strict=True), key=lambda pair: abs(pair[1] - 1))[0]


Features: TypeAlias = "Tensor | Pyramid"  # what a detector computes once an image


Clock = Callable[[str], AbstractContextManager[None]]  # times the named stage of detecting while it is entered


def no_clock(stage: str) -> AbstractContextManager[None]:
    """A Clock that measures nothing."""
    return nullcontext()
