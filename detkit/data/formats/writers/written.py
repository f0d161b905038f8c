"""A data set as it is to be written, whatever the form."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detkit.data.federated import Federated
from detkit.data.ground_truth import Floats, Objects
from detkit.structures import Size


@dataclass(frozen=True, eq=False)
class AnnotatedImage:
    name: str  # of its file; no two images of the set have one that differs by case or suffix only
    size: Size
    is_grey: bool
    number: int  # COCO's id
    objects: Objects  # those that the form can hold, as it can hold them (fitting.py)

    @property
    def stem(self) -> str:
        return Path(self.name).stem

    @property
    def limits(self) -> Floats:
        """(4,) width, height, width, height."""
        height, width = self.size
        return np.array([width, height, width, height], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class WrittenSplit:
    name: str  # fit for a file
    images: tuple[AnnotatedImage, ...]
    federated: Federated | None = None  # what is known of each class in each image, in their order

    @property
    def num_objects(self) -> int:
        return sum(len(image.objects) for image in self.images)


@dataclass(frozen=True, eq=False)
class WrittenSet:
    classes: tuple[str, ...]  # label i is classes[i]
    category_numbers: tuple[int, ...]  # COCO's id of each class
    splits: tuple[WrittenSplit, ...]


def decimal(value: float) -> str:
    """With ten decimals at most, and no point where it is whole."""
    value = round(value, 10)  # more than float32 holds, which they are read to; less than float64's rounding of x + w
    return str(int(value)) if value.is_integer() else format(value, ".10f").rstrip("0")
