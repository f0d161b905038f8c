"""The sheet of detections beside ground truth: what is drawn where."""

import numpy as np
import torch

from detkit.build.data import build_dataset
from detkit.config.schema import Config
from detkit.data.dataset import DetectionDataset
from detkit.reports.drawing import class_color
from detkit.reports.overview import CAPTION, GAP, TILE, overview
from detkit.structures import Detections

BAR, BLOCK = 0, 1


def dataset_of(config: Config) -> DetectionDataset:
    return build_dataset(config.data, ["train"])


def holds(tile: np.ndarray, label: int) -> bool:
    """Whether something is drawn in the colour of the class, to the letter: no pixel of the images has it."""
    return bool((tile == class_color(label)).all(axis=-1).any())


def left_and_right(sheet: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return sheet[: TILE[0], : TILE[1]], sheet[: TILE[0], TILE[1] + GAP : 2 * TILE[1] + GAP]


def test_detections_on_the_left_and_objects_on_the_right(tiny_config: Config) -> None:
    dataset = dataset_of(tiny_config)
    found = Detections(
        torch.tensor([[8.0, 40, 40, 80], [50, 40, 80, 80]]), torch.tensor([0.9, 0.3]), torch.tensor([0, 1])
    )
    left, right = left_and_right(overview(dataset, {dataset.image_ids[0]: found}))
    assert (holds(left, BAR), holds(left, BLOCK)) == (True, False)  # the other scores too low
    assert (holds(right, BAR), holds(right, BLOCK)) == (True, True)


def test_boxes_grow_with_their_image(tiny_config: Config) -> None:
    dataset = dataset_of(tiny_config)
    image_id, (height, width) = dataset.image_ids[0], dataset.size(0)
    scale = min(TILE[0] / height, TILE[1] / width)
    box = dataset.target(0).boxes[:1]
    found = Detections(box, torch.tensor([0.9]), torch.tensor([BLOCK]))
    left, _ = left_and_right(overview(dataset, {image_id: found}))
    rows, columns = np.nonzero((left == class_color(BLOCK)).all(axis=-1))
    drawn = np.array([columns.min(), columns.max(), rows.max()])  # the label stands above the box
    expected = box[0].numpy()[[0, 2, 3]] * scale
    assert np.abs(drawn - expected).max() <= 3 and scale > 2


def test_as_many_images_as_there_are(tiny_config: Config) -> None:
    dataset = build_dataset(tiny_config.data, ["val"])
    sheet = overview(dataset, {}, rows=2, columns=2)
    height, width = TILE[0] + CAPTION + 2 * GAP, 2 * TILE[1] + 6 * GAP
    assert len(dataset) == 2 and sheet.shape == (2 * height, 2 * width, 3)
    assert (sheet[height:] == 255).all()
    assert not (sheet[:height, width:] == 255).all()
    assert (sheet[TILE[0] : TILE[0] + CAPTION, : TILE[1]] < 100).any()  # its caption
