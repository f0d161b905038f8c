"""One image that shows at a glance how a detector does: detections in some images, beside what is there to be found."""

from collections.abc import Mapping
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from detkit.data.dataset import DetectionDataset
from detkit.reports.drawing import class_color, draw_boxes
from detkit.structures import Detections, Target

TILE = (300, 400)  # px, height and width that an image is fitted into
CAPTION = 24  # px, height of the line below a tile
GAP = 4  # px, between the two images of a pair; pairs are further apart
LONGEST_ID = 28  # letters of an image id in a caption

Pixels = NDArray[np.uint8]  # (H, W, 3) RGB


def overview(
    dataset: DetectionDataset,
    detections: Mapping[str, Detections],
    rows: int = 3,
    columns: int = 2,
    min_score: float = 0.5,
) -> Pixels:
    """The first `rows` x `columns` images, each twice: with its detections of at least `min_score`, and its objects."""
    height, width = TILE[0] + CAPTION + 2 * GAP, 2 * TILE[1] + 6 * GAP
    sheet = np.full((rows * height, columns * width, 3), 255, dtype=np.uint8)
    for place in range(min(rows * columns, len(dataset))):
        sample = dataset.read(place)
        image, scale = _fitted(sample.image.permute(1, 2, 0).numpy())
        found = detections.get(sample.image_id, Detections.empty())
        found = replace(found, boxes=found.boxes * scale)
        objects = sample.target or Target.empty()
        tiles = (
            (
                draw_detections(image, found, dataset.classes, min_score),
                f"{sample.image_id[-LONGEST_ID:]}: scores from {min_score}",
            ),
            (_draw_objects(image, replace(objects, boxes=objects.boxes * scale), dataset.classes), "ground truth"),
        )
        for side, (tile, caption) in enumerate(tiles):
            y, x = place // columns * height, place % columns * width + side * (TILE[1] + GAP)
            sheet[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
            line = (x + 4, y + tile.shape[0] + CAPTION - 8)
            cv2.putText(sheet, caption, line, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return sheet


def draw_detections(image: Pixels, found: Detections, classes: tuple[str, ...], min_score: float) -> Pixels:
    """A copy of `image` (H, W, 3) with boxes, class names and scores of the detections of at least `min_score`."""
    shown = (found.scores >= min_score).nonzero().flatten().tolist()[::-1]  # the best are drawn last, on top
    labels = found.labels[shown].tolist()
    texts = [f"{classes[label]} {found.scores[i]:.2f}" for i, label in zip(shown, labels, strict=True)]
    return draw_boxes(image, found.boxes[shown].numpy(), texts, [class_color(label) for label in labels])


def _draw_objects(image: Pixels, target: Target, classes: tuple[str, ...]) -> Pixels:
    """With the boxes and class names of the objects; dashed, what is neither asked for nor counted against."""
    labels = target.labels.tolist()
    colors = [class_color(label) for label in labels]
    return draw_boxes(image, target.boxes.numpy(), [classes[i] for i in labels], colors, target.ignore.tolist())


def _fitted(image: Pixels) -> tuple[Pixels, float]:
    """The image as large as a tile takes, and how much larger that is."""
    scale = min(TILE[0] / image.shape[0], TILE[1] / image.shape[1])
    size = (max(1, int(image.shape[1] * scale)), max(1, int(image.shape[0] * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=method), dtype=np.uint8), scale
