"""Objects scored as detections: AP 1 where all can be found, else the objects that cannot, with the reason."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detkit.commands.check_data import frame_of, score_perfect
from detkit.config.loading import parse_config
from detkit.data.formats.read_split import ReadSplit
from detkit.data.ground_truth import Objects, numbered

CROWDED = [[x, y, x + 4, y + 4] for x in range(0, 55, 5) for y in range(0, 50, 5)]  # 110


def split(*images: list[list[float]], labels: list[int] | None = None, ignore: list[bool] | None = None) -> ReadSplit:
    """Images of 60 px; labels and `ignore` are of the first, else all are of class 0."""
    parts = [
        Objects.of_boxes(np.zeros(len(boxes), dtype=np.int64), np.array(boxes, dtype=np.float64).reshape(-1, 4))
        for boxes in images
    ]
    if images and images[0]:
        count = len(images[0])
        parts[0] = Objects.of_boxes(
            np.array(labels or [0] * count), np.array(images[0], dtype=np.float64), np.array(ignore or [False] * count)
        )
    ids = [f"i{number}" for number in range(len(images))]
    truth = numbered(("a", "b", "c"), ids, [(60, 60)] * len(images), parts)
    paths = tuple(Path(f"{image_id}.jpg") for image_id in ids)
    return ReadSplit("train", Path("train.txt"), truth, paths, paths, lambda row: f"object {row}", "bbox", "class", ())


def test_all_can_be_found() -> None:
    scores, faults = score_perfect(split([[0, 0, 9, 9], [3, 3, 12, 12]], [[5, 5, 60, 60]], [], labels=[0, 1]))
    assert faults == []
    assert scores.voc[:2].tolist() == pytest.approx([1, 1])
    assert scores.coco[:2].tolist() == pytest.approx([1, 1])
    assert np.isnan(scores.voc[2]) and np.isnan(scores.coco[2])


@pytest.mark.parametrize(
    ("boxes", "row", "reason", "voc", "coco"),
    [
        ([[0, 0, 9, 9], [0, 0, 9, 9]], 1, "VOC's rules let only one", 0.5, 1.0),
        ([[0, 0, 9, 9], [5, 5, 5, 9]], 1, "has no area (0 x 4 px)", 1.0, 51 / 101),
        ([[0, 0, 9, 9], [70, 5, 80, 9]], 1, "lies outside its image", 1.0, 51 / 101),
        # Inside its image 2/3 are left: IoU .5 to .65 are met, the other 6 thresholds miss the half of the recalls.
        ([[0, 0, 9, 9], [40, 0, 70, 9]], 1, "by IoU 0.67", 1.0, (4 + 6 * 51 / 101) / 10),
    ],
)
def test_what_cannot_be_found(boxes: list[list[float]], row: int, reason: str, voc: float, coco: float) -> None:
    scores, faults = score_perfect(split([], boxes))
    (fault,) = faults
    assert reason in fault.message and fault.object == f"object {row}" and fault.file == Path("i1.jpg")
    assert scores.coco[0] == pytest.approx(coco)
    assert scores.voc[0] == pytest.approx(voc)


def test_ignored_objects_are_not_asked_for() -> None:
    scores, faults = score_perfect(split([[0, 0, 9, 9], [5, 5, 5, 9], [20, 20, 30, 30]], ignore=[False, True, True]))
    assert faults == []
    assert (scores.voc[0], scores.coco[0]) == (pytest.approx(1), pytest.approx(1))


def test_more_than_a_hundred_of_a_class() -> None:
    scores, faults = score_perfect(split([[float(side) for side in box] for box in CROWDED]))
    assert len(faults) == 10 and all("is one of 110 of its class" in fault.message for fault in faults)
    assert scores.voc[0] == pytest.approx(1) and scores.coco[0] == pytest.approx(91 / 101)


def test_nothing() -> None:
    scores, faults = score_perfect(split())
    assert faults == [] and np.isnan(scores.voc).all() and np.isnan(scores.coco).all()


def test_frame_of_a_config(tiny: dict[str, Any]) -> None:
    tiny["model"]["rpn"] = {"sizes": [10.0, 20.0], "ratios": [1.0], "across_border": True}
    tiny["data"] |= {"short_side": 64, "long_side": 96}
    frame = frame_of(parse_config(tiny, "tiny"))
    assert (frame.sizes, frame.cell.shape, frame.across_border) == ((10.0, 20.0), (2, 4), True)
    assert (frame.resize.short_side, frame.resize.long_side) == (64, 96)
    assert frame_of(None).describe().startswith("images of 600 px (at most 1,000), 9 anchors of 128 256 512 px")
