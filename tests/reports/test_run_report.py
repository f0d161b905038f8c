"""The report page: complete with all parts or few, loading nothing from afar, safe with any name; and its drawing."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detkit.evaluation.assessment import Assessment
from detkit.reports.drawing import draw_boxes
from detkit.reports.run_report import write_report
from detkit.structures import Detections

Assess = Callable[..., Assessment]


class Page(HTMLParser):
    """Tags, what they load, and the text of each cell of a table."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.cells: list[str] = []
        self.is_in_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag in ("td", "th"):
            self.cells.append("")
            self.is_in_cell = True

    def handle_endtag(self, tag: str) -> None:
        self.is_in_cell &= tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.is_in_cell:
            self.cells[-1] += data.strip()


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


def test_full_page_is_safe_and_loads_nothing_from_afar(tmp_path: Path, assessment: Assessment, hostile: str) -> None:
    path = write_report(tmp_path, hostile, FULL, assessment, f"lr: 1 # {hostile}", LOG, images=True)
    assert path == tmp_path / "report.html"
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.tags.count("script") == 5
    assert "alert(1)</script>" not in text and "&lt;script&gt;" in text
    own = ("data:,", "#", "report_files/data.js")
    assert all(link.startswith(own) for link in page.links)
    assert "url(http" not in text and "@import" not in text and "fetch(" not in text
    for shown in ("Training", "backbone", "a machine", "4.5", "AR100", "95% interval", "<noscript>"):
        assert shown in text
    assert {path.name for path in tmp_path.glob("*.png")} >= {"precision_recall.png", "loss.png"}
    assert {path.name for path in (tmp_path / "report_files").rglob("*.*")} == {"data.js", "0.jpg", "1.jpg"}


def test_numbers_of_the_page(tmp_path: Path, assessment: Assessment, hostile: str) -> None:
    page = Page(write_report(tmp_path, "run", {}, assessment, "", None, images=False).read_text(encoding="utf-8"))
    # AP, AP, AP50, AP75, objects, detections, hits, false, missed: the duplicate, a wrong class and nothing are cat's
    cat = page.cells.index("cat")
    assert page.cells[cat : cat + 10] == ["cat", "54.5", "50.5", "50.5", "50.5", "2", "4", "1", "3", "1"]
    other = page.cells.index(hostile)
    assert page.cells[other : other + 10] == [hostile, "0.0", "0.0", "0.0", "0.0", "2", "1", "0", "1", "2"]
    assert not list((tmp_path / "report_files").rglob("*.jpg"))


def test_page_of_a_foreign_file_leaves_out_what_is_unknown(tmp_path: Path, assessment: Assessment) -> None:
    text = write_report(tmp_path, "run", {}, assessment, "", None, images=False).read_text(encoding="utf-8")
    assert not {"<h2>Speed", "<h2>Training", "<h2>Configuration"} & set(re.findall(r"<h2>\w+", text))


@pytest.mark.parametrize(
    ("classes", "has_objects", "is_detected", "shown"),
    [
        (2, True, False, "as another class. 4 objects."),
        (2, False, True, "no class has an object"),
        (80, True, True, "The whole matrix of 80 classes"),
    ],
    ids=["no detections", "no objects", "80 classes"],
)
@pytest.mark.parametrize("metric", ["voc07", "coco"])
def test_pages_of_little(
    tmp_path: Path,
    assessed: Assess,
    squares: Any,
    every_kind: dict[str, Detections],
    classes: int,
    has_objects: bool,
    is_detected: bool,
    shown: str,
    metric: str,
) -> None:
    dataset = squares(tuple(f"class {number}" for number in range(classes)), has_objects)
    one = assessed(every_kind if is_detected else {}, (metric,), dataset)
    assert shown in write_report(tmp_path, "run", FULL, one, "", LOG, images=False).read_text(encoding="utf-8")


@pytest.mark.parametrize("size", [(8, 8), (60, 80), (900, 1200)])
@pytest.mark.parametrize("dashed", [False, True])
def test_drawing_stays_inside_and_leaves_the_original(size: tuple[int, int], dashed: bool) -> None:
    image = np.full((*size, 3), 128, dtype=np.uint8)
    boxes = [[-5.0, -5.0, 4.0, 4.0], [size[1] - 3.0, 1.0, size[1] + 50.0, size[0] + 50.0]]
    texts = ["a label longer than a small image is wide", ""]
    drawn = draw_boxes(image, boxes, texts, [(255, 0, 0), (0, 0, 90)], dashed)
    assert drawn.shape == image.shape and drawn.dtype == np.uint8
    assert (image == 128).all() and (drawn != 128).any()


def test_drawing_nothing_and_too_little() -> None:
    image = np.zeros((10, 10, 3), dtype=np.uint8)
    assert (draw_boxes(image, np.zeros((0, 4)), [], []) == 0).all()
    with pytest.raises(ValueError, match="'texts': 0"):
        draw_boxes(image, [[0, 0, 5, 5]], [], [(1, 1, 1)])
