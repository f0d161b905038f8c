"""One image that shows at a glance how a detector does: detections in the first images of a data set."""

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from detkit.data.dataset import DetectionDataset
from detkit.reports.drawing import class_color, draw_boxes
from detkit.structures import Detections

TILE = (240, 320)  # px, height and width


def overview(
    dataset: DetectionDataset,
    detections: Mapping[str, Detections],
    rows: int = 2,
    columns: int = 3,
    min_score: float = 0.5,
) -> NDArray[np.uint8]:
    """`rows` x `columns` images with their detections of at least `min_score`: (H, W, 3) uint8 RGB."""
    sheet = np.full((rows * TILE[0], columns * TILE[1], 3), 255, dtype=np.uint8)
    for place in range(min(rows * columns, len(dataset))):
        sample = dataset.read(place)
        found = detections.get(sample.image_id, Detections.empty())
        tile = _tile(draw_detections(sample.image.permute(1, 2, 0).numpy(), found, dataset.classes, min_score))
        y, x = place // columns * TILE[0], place % columns * TILE[1]
        sheet[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    return sheet


def draw_detections(
    image: NDArray[np.uint8], found: Detections, classes: tuple[str, ...], min_score: float
) -> NDArray[np.uint8]:
    """A copy of `image` (H, W, 3) with boxes, class names and scores of the detections of at least `min_score`."""
    shown = (found.scores >= min_score).nonzero().flatten().tolist()[::-1]  # the best are drawn last, on top
    labels = found.labels[shown].tolist()
    texts = [f"{classes[label]} {found.scores[i]:.2f}" for i, label in zip(shown, labels, strict=True)]
    return draw_boxes(image, found.boxes[shown].numpy(), texts, [class_color(label) for label in labels])


def _tile(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scale = min(TILE[0] / image.shape[0], TILE[1] / image.shape[1])
    size = (max(1, int(image.shape[1] * scale)), max(1, int(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
