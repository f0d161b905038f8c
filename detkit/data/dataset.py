"""What every data set looks like to the rest of detkit."""

from pathlib import Path
from typing import Protocol

from detkit.data.ground_truth import GroundTruth
from detkit.structures import Sample, Size, Target


class DetectionDataset(Protocol):
    """Annotated images in a fixed order. Faults in the files are errors at construction or reading, never later."""

    classes: tuple[str, ...]  # label i is classes[i]
    image_ids: tuple[str, ...]  # unique
    paths: tuple[Path, ...]  # of each image: what it is known by beside other data sets, whose ids may be equal

    def __len__(self) -> int: ...

    def read(self, index: int) -> Sample:
        """Decode image `index`, with its target."""
        ...

    def target(self, index: int) -> Target:
        """The objects of image `index`, without decoding it."""
        ...

    def size(self, index: int) -> Size:
        """(height, width) of image `index` as decoded, without decoding it."""
        ...

    def ground_truth(self) -> GroundTruth:
        """All objects as the files state them, for scoring."""
        ...
