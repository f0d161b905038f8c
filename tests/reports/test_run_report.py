"""The report page: complete with all parts or few, self-contained, and safe with any name; and its drawing."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from detkit.evaluation.voc import evaluate
from detkit.reports import gallery
from detkit.reports.drawing import draw_boxes
from detkit.reports.run_report import write_report
from detkit.structures import Detections, Sample, Size, Target

HOSTILE = "<script>alert(1)</script>_$x^{"


class Squares:
    """Two grey pictures, each with a square of class 0 and one of class 1."""

    image_ids = ("one", HOSTILE)

    def __init__(self, classes: tuple[str, ...] = ("cat", HOSTILE), has_objects: bool = True) -> None:
        self.classes = classes
        self.has_objects = has_objects

    def __len__(self) -> int:
        return len(self.image_ids)

    def read(self, index: int) -> Sample:
        image = torch.full((3, 60, 80), 128, dtype=torch.uint8)
        return Sample(self.image_ids[index], image, (60, 80), self.target(index))

    def target(self, index: int) -> Target:
        if not self.has_objects:
            return Target.empty()
        boxes = torch.tensor([[5.0, 5.0, 25.0, 25.0], [40.0, 20.0, 70.0, 50.0]])
        return Target(boxes, torch.tensor([0, 1]), torch.zeros(2, dtype=torch.bool))

    def size(self, index: int) -> Size:
        return (60, 80)


def every_kind_of_error() -> dict[str, Detections]:
    """In the first image a hit, a duplicate and a poor place; in the second a wrong class and nothing there."""
    first = torch.tensor([[5.0, 5.0, 25.0, 25.0], [5.0, 5.0, 25.0, 24.0], [40.0, 20.0, 70.0, 30.0]])
    second = torch.tensor([[40.0, 20.0, 70.0, 50.0], [0.0, 50.0, 10.0, 60.0]])
    return {
        "one": Detections(first, torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 0, 1])),
        HOSTILE: Detections(second, torch.tensor([0.6, 0.5]), torch.tensor([0, 0])),
    }


class Page(HTMLParser):
    """Tags and what they load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]


FULL: dict[str, Any] = {
    "metric": "voc07",
    "images": 2,
    "fps": 4.5,
    "device": "a machine",
    "seconds_per_image": {"decode": 0.002},
    "stages_ms": {"backbone": {"p50": 10.0, "p95": 14.0, "mean": 11.0}},
}
LOG = [
    {"step": 10, "loss": 2.0, "loss/_odd$": 0.5, "lr": 0.1, "images_per_second": 3.0},
    {"step": 20, "loss": 1.0, "loss/_odd$": 0.2, "lr": 0.1},
    {"step": 20, "val_map": 0.4},
]


def report(folder: Path, dataset: Squares, detections: dict[str, Detections], metrics: dict[str, Any], log: Any) -> str:
    result = evaluate(detections, dataset, "voc07")
    path = write_report(folder, HOSTILE, metrics, result, detections, dataset, f"lr: 1 # {HOSTILE}", log)
    assert path == folder / "report.html"
    return path.read_text()


def test_full_page_is_safe_and_self_contained(tmp_path: Path) -> None:
    text = report(tmp_path, Squares(), every_kind_of_error(), FULL, LOG)
    page = Page(text)
    assert "script" not in page.tags
    assert all(link.startswith(("data:", "#")) for link in page.links)
    assert "url(http" not in text and "@import" not in text
    for shown in ("Training", "backbone", "a machine", "4.5", "Missed objects", "&lt;script&gt;"):
        assert shown in text
    assert {path.name for path in tmp_path.glob("*.png")} >= {"precision_recall.png", "loss.png"}


def test_page_of_a_foreign_file_leaves_out_what_is_unknown(tmp_path: Path) -> None:
    text = report(tmp_path, Squares(), every_kind_of_error(), {}, None)
    assert "<h2>Speed" not in text and "<h2>Training" not in text


@pytest.mark.parametrize(
    ("dataset", "detections", "shown"),
    [
        (Squares(), {}, "No detection found an object"),
        (Squares(has_objects=False), every_kind_of_error(), "no class has an object"),
        (Squares(classes=tuple(f"class {k}" for k in range(80))), every_kind_of_error(), "mean of 2 classes"),
    ],
    ids=["no detections", "no objects", "80 classes"],
)
def test_pages_of_little(tmp_path: Path, dataset: Squares, detections: dict[str, Detections], shown: str) -> None:
    assert shown in report(tmp_path, dataset, detections, FULL, LOG)


def test_false_positives_are_explained() -> None:
    dataset, detections = Squares(), every_kind_of_error()
    result = evaluate(detections, dataset, "voc07")
    rows = [(name, row) for name, one in result.classes.items() for row in np.flatnonzero(one.is_false)]
    kinds = [gallery._explained(result, detections, dataset, name, row).caption for name, row in rows]
    assert kinds == ["duplicate", "confusion", "background", "localisation"]
    worst = list(gallery.worst_false_positives(result, detections, dataset))
    assert [(one.caption, one.image_index) for one in worst] == [("duplicate", 0), ("confusion", 1)]


def test_missed_objects_are_the_largest_of_each_image() -> None:
    dataset = Squares()
    missed = list(gallery.missed_objects(evaluate(every_kind_of_error(), dataset, "voc07"), dataset))
    assert [(one.image_index, one.objects) for one in missed] == [(0, (1,)), (1, (1,))]


@pytest.mark.parametrize("size", [(8, 8), (60, 80), (900, 1200)])
@pytest.mark.parametrize("dashed", [False, True])
def test_drawing_stays_inside_and_leaves_the_original(size: tuple[int, int], dashed: bool) -> None:
    image = np.full((*size, 3), 128, dtype=np.uint8)
    boxes = [[-5.0, -5.0, 4.0, 4.0], [size[1] - 3.0, 1.0, size[1] + 50.0, size[0] + 50.0]]
    texts = ["a label longer than a small picture is wide", ""]
    drawn = draw_boxes(image, boxes, texts, [(255, 0, 0), (0, 0, 90)], dashed)
    assert drawn.shape == image.shape and drawn.dtype == np.uint8
    assert (image == 128).all() and (drawn != 128).any()


def test_drawing_nothing_and_too_little() -> None:
    image = np.zeros((10, 10, 3), dtype=np.uint8)
    assert (draw_boxes(image, np.zeros((0, 4)), [], []) == 0).all()
    with pytest.raises(ValueError, match="'texts': 0"):
        draw_boxes(image, [[0, 0, 5, 5]], [], [(1, 1, 1)])
