"""Two grey images with two squares each, detections of every kind, and what is said about them."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
import torch

from detkit.data.ground_truth import GroundTruth, Objects, numbered
from detkit.evaluation.assessment import Assessment, MetricName, assess
from detkit.structures import Detections, Sample, Size, Target

HOSTILE = "</script><script>alert(1)</script>\u2028_$x^{&'\""


class Squares:
    """In each image a square of class 0 and a larger one of class 1."""

    image_ids = ("one", HOSTILE)

    def __init__(self, classes: tuple[str, ...] = ("cat", HOSTILE), has_objects: bool = True) -> None:
        self.classes = classes
        self.boxes = torch.tensor([[5.0, 5.0, 25.0, 25.0], [40.0, 20.0, 70.0, 50.0]])[: 2 * has_objects]

    def __len__(self) -> int:
        return len(self.image_ids)

    def read(self, index: int) -> Sample:
        image = torch.full((3, 60, 80), 128, dtype=torch.uint8)
        return Sample(self.image_ids[index], image, (60, 80), self.target(index))

    def target(self, index: int) -> Target:
        count = len(self.boxes)
        return Target(self.boxes, torch.arange(count), torch.zeros(count, dtype=torch.bool))

    def size(self, index: int) -> Size:
        return (60, 80)

    def ground_truth(self) -> GroundTruth:
        objects = Objects.of_boxes(np.arange(len(self.boxes)), self.boxes.numpy())
        return numbered(self.classes, self.image_ids, [(60, 80)] * 2, [objects] * 2)


@pytest.fixture(scope="session")
def hostile() -> str:
    return HOSTILE


@pytest.fixture(scope="session")
def squares() -> type[Squares]:
    return Squares


@pytest.fixture(scope="session")
def every_kind() -> dict[str, Detections]:
    """In the first image a hit, a duplicate and a poor place; in the second a wrong class and nothing there."""
    first = torch.tensor([[5.0, 5.0, 25.0, 25.0], [5.0, 5.0, 25.0, 24.0], [40.0, 20.0, 70.0, 30.0]])
    second = torch.tensor([[40.0, 20.0, 70.0, 50.0], [0.0, 50.0, 10.0, 60.0]])
    return {
        "one": Detections(first, torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 0, 1])),
        HOSTILE: Detections(second, torch.tensor([0.6, 0.5]), torch.tensor([0, 0])),
    }


Assess = Callable[..., Assessment]


@pytest.fixture(scope="session")
def assessed() -> Assess:
    """assessed(detections, metrics, dataset), without the thousand resamples of real scores."""

    def make(
        found: Mapping[str, Detections], metrics: Sequence[MetricName] = ("voc07",), dataset: Squares | None = None
    ) -> Assessment:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("detkit.evaluation.assessment.RESAMPLES", 20)
            return assess(found, dataset or Squares(), metrics)

    return make


@pytest.fixture(scope="session")
def assessment(assessed: Assess, every_kind: dict[str, Detections]) -> Assessment:
    return assessed(every_kind, ("voc07", "coco"))
