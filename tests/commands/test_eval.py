"""detkit eval with little said: the newest run, by the usual metric of its data; and a run that is not there."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from detkit.commands.eval import usual_metrics
from detkit.config.data import ShapesData
from detkit.reports.metrics import read_metrics

Inside = Callable[..., tuple[int, str, str]]


def test_the_newest_run_by_the_usual_metric(
    inside: Inside, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished_run, tmp_path / "runs" / "tiny")
    monkeypatch.chdir(tmp_path)
    status, output, errors = inside("eval")
    lines = output.splitlines()
    assert status == 0, errors
    assert lines[0] == "no run named: runs/tiny, the newest"
    assert lines[1].startswith("no metric named: --voc07, the usual one of this data set")
    assert any(line.startswith("mAP (voc07)") for line in lines)
    assert (tmp_path / "runs" / "tiny" / "eval" / "test" / "metrics.json").is_file()


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        ("eval", ("{run}", "--voc07")),
        ("why", ("{run}", "000011")),
        ("detect", ("{run}", "{image}", "--out", "{out}")),
        ("export", ("{run}", "--onnx", "{out}.onnx")),
        ("report", ("{run}",)),
    ],
)
def test_a_missing_run_lists_those_there_are(
    tool: str, words: tuple[str, ...], inside: Inside, finished_run: Path, voc_root: Path, tmp_path: Path
) -> None:
    missing, image = finished_run.with_name("tinny"), voc_root / "JPEGImages" / "000000.png"
    status, output, errors = inside(
        tool, *(word.format(run=missing, image=image, out=tmp_path / "o") for word in words)
    )
    assert (status, output) == (2, "")
    assert errors.startswith(f"error: {missing}: no such run; there are {finished_run}")


def test_usual_metric_of_other_data(voc_root: Path, tmp_path: Path) -> None:
    own = ShapesData(kind="shapes")
    assert usual_metrics(own, None, None) == ["voc07"]
    assert usual_metrics(own, voc_root, None) == ["voc07"]
    file = tmp_path / "instances_val.json"
    file.touch()
    assert usual_metrics(None, file, None) == ["coco"]


def federated_set(root: Path) -> tuple[Path, Path]:
    """LVIS's file of an image with one of two cats marked, and no dog looked for; and detections of both."""
    image = {"id": 7, "height": 40, "width": 60, "coco_url": "http://host/val/7.png"}
    image |= {"neg_category_ids": [3], "not_exhaustive_category_ids": []}
    categories = [{"id": n, "name": name, "frequency": "f"} for n, name in ((1, "cat"), (2, "dog"), (3, "yak"))]
    cat = {"id": 1, "image_id": 7, "category_id": 1, "bbox": [0, 0, 20, 20], "area": 400}
    root.mkdir()
    truth, results = root / "lvis_v1_val.json", root / "results.json"
    truth.write_text(json.dumps({"images": [image], "annotations": [cat], "categories": categories}))
    boxes = [(1, [0, 0, 20, 20], 0.5), (2, [30, 0, 20, 20], 0.9), (1, [30, 0, 20, 20], 0.8)]
    results.write_text(json.dumps([{"image_id": 7, "category_id": c, "bbox": b, "score": s} for c, b, s in boxes]))
    return truth, results


def test_a_federated_set_is_scored_as_lvis_by_default_and_by_coco(inside: Inside, tmp_path: Path) -> None:
    truth, results = federated_set(tmp_path / "lvis")
    for asked in ((), ("--coco",), ("--lvis",)):
        status, output, errors = inside("eval", *asked, "--detections", results, "--data", truth)
        assert status == 0, errors
        assert "mAP (lvis) 0.5000" in output  # one hit behind a false cat; the dog does not count
        assert "lvis: AP 0.5000, AP50 0.5000" in output
        metrics = read_metrics(tmp_path / "lvis" / "results_eval" / "metrics.json")
        assert (metrics.metric, metrics.lvis["AR@300"], metrics.coco) == ("lvis", 1.0, {})
    page = (tmp_path / "lvis" / "results_eval" / "report.html").read_text(encoding="utf-8")
    assert "LVIS AP" in page and "COCO AP" not in page


def test_a_metric_that_takes_the_unknown_for_absent_is_refused(inside: Inside, tmp_path: Path) -> None:
    truth, results = federated_set(tmp_path / "lvis")
    status, _, errors = inside("eval", "--voc10", "--detections", results, "--data", truth)
    assert status == 2
    assert errors.startswith("error: voc10: this data set is federated")
