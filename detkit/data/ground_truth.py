"""All annotated objects of a data set as its files state them: what detections are scored against.

A detector learns from Targets, clipped and in float32 (listed.py); scores, conversions and statistics come from here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detkit.data.federated import Federated
from detkit.structures import Size

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_MAX_DIGITS = 19  # of a number that 64 bits hold


@dataclass(frozen=True, eq=False)
class Objects:
    """Objects of one image, or of many in the order of the images: one row each."""

    labels: Ints  # (M,)
    xywh: Floats  # (M, 4) left, top, width, height in px, continuous and 0-based: width and height as COCO states them
    area: Floats  # (M,) px, of the object's outline where the files state it, else of its box
    ignore: Bools  # (M,) VOC "difficult", COCO "iscrowd": neither learned nor held against a detector
    truncated: Bools  # (M,) VOC "truncated": reaches beyond the image; False where the files say nothing of it
    crowd: Bools  # (M,) those of `ignore` that are COCO's "iscrowd": a group, which any number of detections may find

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def boxes(self) -> Floats:
        """(M, 4) x1, y1, x2, y2."""
        return np.concatenate([self.xywh[:, :2], self.xywh[:, :2] + self.xywh[:, 2:]], axis=1)

    def rows(self, index: "NDArray[np.int64] | NDArray[np.bool_] | slice") -> "Objects":
        return Objects(
            self.labels[index],
            self.xywh[index],
            self.area[index],
            self.ignore[index],
            self.truncated[index],
            self.crowd[index],
        )

    @staticmethod
    def of_boxes(
        labels: Ints,
        boxes: Floats,
        difficult: Bools | None = None,
        truncated: Bools | None = None,
    ) -> "Objects":
        """From corners (M, 4) x1, y1, x2, y2; none of them is a crowd."""
        boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        sides = boxes[:, 2:] - boxes[:, :2]
        nothing = np.zeros(len(boxes), dtype=np.bool_)
        return Objects(
            np.asarray(labels, dtype=np.int64),
            np.concatenate([boxes[:, :2], sides], axis=1),
            sides.prod(axis=1),
            nothing if difficult is None else difficult,
            nothing if truncated is None else truncated,
            nothing,
        )

    @staticmethod
    def joined(parts: "Sequence[Objects]") -> "Objects":
        if not parts:
            return Objects.of_boxes(np.zeros(0, dtype=np.int64), np.zeros((0, 4)))
        return Objects(
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.xywh for part in parts]),
            np.concatenate([part.area for part in parts]),
            np.concatenate([part.ignore for part in parts]),
            np.concatenate([part.truncated for part in parts]),
            np.concatenate([part.crowd for part in parts]),
        )


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """The objects of every image of a data set, with the numbers that COCO's files know images and classes by."""

    classes: tuple[str, ...]  # label i is classes[i]
    image_ids: tuple[str, ...]  # unique
    sizes: Ints  # (N, 2) height and width, px
    objects: Objects  # of all images, in their order
    counts: Ints  # (N,) objects of each image
    category_numbers: tuple[int, ...]  # of each class
    image_numbers: tuple[int, ...]  # of each image, unique
    federated: Federated | None = None  # None: all classes were looked for in every image

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def image_index(self) -> Ints:
        """(M,) the image of each object, ascending."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @property
    def starts(self) -> Ints:
        """(N,) the first row of each image."""
        return np.cumsum(self.counts) - self.counts

    def of_image(self, index: int) -> Objects:
        start = int(self.starts[index])
        return self.objects.rows(slice(start, start + int(self.counts[index])))


def learned_boxes(truth: GroundTruth) -> tuple[Floats, Bools]:
    """Boxes (M, 4) clipped to their images, in float32's values, and which (M,) have area there: those are learned."""
    limits = truth.sizes[truth.image_index][:, [1, 0, 1, 0]]  # (M, 4)
    boxes = np.clip(truth.objects.boxes, 0, limits).astype(np.float32)
    is_learned: Bools = np.all(boxes[:, :2] < boxes[:, 2:], axis=1)
    return boxes.astype(np.float64), is_learned


def numbered(
    classes: Sequence[str], image_ids: Sequence[str], sizes: Sequence[Size], parts: Sequence[Objects]
) -> GroundTruth:
    """Of images whose files have no numbers."""
    return GroundTruth(
        tuple(classes),
        tuple(image_ids),
        np.array(sizes, dtype=np.int64).reshape(-1, 2),
        Objects.joined(parts),
        np.array([len(part) for part in parts], dtype=np.int64),
        tuple(range(1, len(classes) + 1)),
        image_numbers(image_ids),
    )


def image_numbers(image_ids: Sequence[str]) -> tuple[int, ...]:
    """Numbers of images that have none: an id of digits is its number, else they are counted from 1."""
    numbers = tuple(int(image_id) if _is_number(image_id) else -1 for image_id in image_ids)
    if -1 in numbers or len(set(numbers)) < len(numbers):
        return tuple(range(1, len(image_ids) + 1))
    return numbers


def _is_number(image_id: str) -> bool:
    return image_id.isascii() and image_id.isdecimal() and len(image_id) < _MAX_DIGITS
