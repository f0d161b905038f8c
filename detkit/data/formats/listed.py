"""A data set held as a list of image files and a table of objects: what VOC, COCO and YOLO files are read into."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from detkit.data.ground_truth import GroundTruth, learned_boxes
from detkit.data.io.deep_images import DeepRange
from detkit.data.io.images import read_image_of_size
from detkit.structures import Sample, Size, Target


class ListedDataset:
    """A DetectionDataset. Training sees boxes clipped to their image, without those that have no area there."""

    def __init__(self, ground_truth: GroundTruth, paths: Sequence[Path]) -> None:
        self.classes, self.image_ids = ground_truth.classes, ground_truth.image_ids
        self.paths = tuple(paths)
        self.deep_range: DeepRange | None = None  # None: deep images by a range of their own, with a warning
        self._ground_truth = ground_truth
        # One array for all, not thousands of small ones: worker processes share it and copy it quickly.
        objects = ground_truth.objects
        boxes, learned = learned_boxes(ground_truth)
        self._boxes = boxes[learned].astype(np.float32)
        self._labels = objects.labels[learned]
        self._ignore = objects.ignore[learned]
        counts = np.bincount(ground_truth.image_index[learned], minlength=len(self.image_ids))
        self._ends = np.cumsum(counts)

    @property
    def num_learned(self) -> int:
        """Objects that a detector learns from: with area in their image, and not ignored."""
        return int((~self._ignore).sum())

    def __len__(self) -> int:
        return len(self.image_ids)

    def with_deep_range(self, deep_range: DeepRange | None) -> Self:
        """The same images, of which deep ones are read by this range of values."""
        other = copy.copy(self)
        other.deep_range = deep_range
        return other

    def read(self, index: int) -> Sample:
        """Decode image `index`, with its target. Raises ImageError where the file is broken or of another size."""
        import torch  # here and below: who checks and converts data sets makes no tensors

        size = self.size(index)
        image = torch.from_numpy(read_image_of_size(self.paths[index], size, self.deep_range)).permute(2, 0, 1)
        return Sample(self.image_ids[index], image, size, self.target(index))

    def target(self, index: int) -> Target:
        import torch

        end = int(self._ends[index])
        begin = int(self._ends[index - 1]) if index else 0
        here = slice(begin, end)
        boxes, labels, ignore = (
            torch.from_numpy(rows[here].copy()) for rows in (self._boxes, self._labels, self._ignore)
        )
        federated = self._ground_truth.federated
        unknown = None if federated is None else torch.from_numpy(federated.unknown(index))
        return Target(boxes, labels, ignore, unknown if unknown is not None and unknown.any() else None)

    def size(self, index: int) -> Size:
        height, width = self._ground_truth.sizes[index].tolist()
        return height, width

    def ground_truth(self) -> GroundTruth:
        return self._ground_truth
