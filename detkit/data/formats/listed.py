"""A data set held as a list of image files and a table of objects: what VOC, COCO and YOLO files are read into."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from detkit.data.ground_truth import GroundTruth
from detkit.data.io.images import read_image_of_size
from detkit.structures import Sample, Size, Target


class ListedDataset:
    """A DetectionDataset. Training sees boxes clipped to their image, without those that have no area there."""

    def __init__(self, ground_truth: GroundTruth, paths: Sequence[Path]) -> None:
        self.classes, self.image_ids = ground_truth.classes, ground_truth.image_ids
        self.paths = tuple(paths)
        self._ground_truth = ground_truth
        # One array for all, not thousands of small ones: worker processes share it and copy it quickly.
        objects, image = ground_truth.objects, ground_truth.image_index
        limits = ground_truth.sizes[image][:, [1, 0, 1, 0]]  # (M, 4)
        boxes = np.clip(objects.boxes, 0, limits).astype(np.float32)
        learned = (boxes[:, :2] < boxes[:, 2:]).all(axis=1)
        self._boxes = torch.from_numpy(boxes[learned])
        self._labels = torch.from_numpy(objects.labels[learned])
        self._ignore = torch.from_numpy(objects.ignore[learned])
        self._ends = np.cumsum(np.bincount(image[learned], minlength=len(self.image_ids)))

    def __len__(self) -> int:
        return len(self.image_ids)

    def read(self, index: int) -> Sample:
        """Decode image `index`, with its target. Raises ImageError where the file is broken or of another size."""
        size = self.size(index)
        image = torch.from_numpy(read_image_of_size(self.paths[index], size)).permute(2, 0, 1)
        return Sample(self.image_ids[index], image, size, self.target(index))

    def target(self, index: int) -> Target:
        end = int(self._ends[index])
        begin = int(self._ends[index - 1]) if index else 0
        here = slice(begin, end)
        return Target(self._boxes[here].clone(), self._labels[here].clone(), self._ignore[here].clone())

    def size(self, index: int) -> Size:
        height, width = self._ground_truth.sizes[index].tolist()
        return height, width

    def ground_truth(self) -> GroundTruth:
        return self._ground_truth
