"""The data of the gallery: what became of each detection and object, and JSON that no name can break out of."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from detkit.evaluation.assessment import Assessment
from detkit.reports.gallery import Entries, Gallery, shortened, write_gallery
from detkit.reports.run_gallery import boxes_of, run_gallery


def read(path: Path) -> Any:
    text = path.read_text(encoding="ascii")
    assert "<" not in text and text.count("\n") == 1
    return json.loads(text.removeprefix("window.detkitGallery = ").removesuffix(";\n"))


def test_data_of_every_kind(tmp_path: Path, assessment: Assessment, hostile: str) -> None:
    path = write_gallery(tmp_path, run_gallery(assessment), np.array([True, False]))
    assert path == tmp_path / "report_files" / "data.js"
    data = read(path)
    entries = data["entries"]
    kinds = [data["kinds"][kind]["key"] for kind in entries["kind"]]
    detections = ["hit", "duplicate", "localisation", "confusion", "background"]
    assert kinds == [*detections, "missed", "missed", "missed"]
    assert entries["score"] == [0.9, 0.8, 0.7, 0.6, 0.5, -1, -1, -1]
    assert entries["image"] == [0, 0, 0, 1, 1, 0, 1, 1]  # the largest missed objects first
    assert entries["object"] == [0, 0, 1, 3, -1, 1, 3, 2]
    assert entries["label"] == [0, 0, 1, 0, 0, 1, 1, 0]
    assert entries["box"][:4] == [50, 50, 250, 250]  # tenths of a px
    assert [round(iou, 2) for iou in entries["iou"][:4]] == [1, 0.95, 0.33, 1]
    notes = [data["notes"][note] for note in entries["note"] if note >= 0]
    assert notes == ["detected in a poor place", "detected as another class", "no detection of it"]
    images = {"id": ["one", hostile], "width": [80, 80], "height": [60, 60]}
    assert data["images"] == images | {"with_thumbnail": [1, 0], "firstObject": [0, 2], "objects": [2, 2]}
    assert data["classes"] == ["cat", hostile]
    assert data["objects"]["box"][4:8] == [400, 200, 700, 500]


def test_the_surest_and_the_objects_are_kept(assessment: Assessment) -> None:
    gallery = run_gallery(assessment)
    assert shortened(gallery, 8) is gallery
    assert shortened(gallery, 4).entries.score.tolist() == [np.float32(0.9), -1, -1, -1]
    assert shortened(gallery, 2).entries.object.tolist() == [1, 3]


def test_boxes_are_found_by_image_and_row(assessment: Assessment) -> None:
    detections = assessment.detections
    boxes = boxes_of(detections, ("nothing", "one"), np.array([1, 1]), np.array([2, 0]))
    assert boxes.tolist() == detections["one"].boxes[[2, 0]].tolist()
    assert boxes_of({}, ("one",), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)).shape == (0, 4)


def test_boxes_beyond_all_bounds(tmp_path: Path, assessment: Assessment) -> None:
    truth, zero = assessment.truth, np.zeros(1, dtype=np.int64)
    boxes = np.array([[-1e30, 0.04, 1e30, 12.36]])
    entries = Entries(zero, zero, zero, np.ones(1), boxes, zero - 1, np.zeros(1), zero - 1)
    gallery = Gallery(truth, run_gallery(assessment).kinds, (), entries, "all")
    data = read(write_gallery(tmp_path, gallery, np.zeros(2, dtype=bool)))
    assert data["entries"]["box"] == [-10_000_000, 0, 10_000_000, 124]
