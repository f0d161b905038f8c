"""detkit report: what it prints and writes, and its errors in one line."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

Inside = Callable[..., tuple[int, str, str]]
METRICS = '{"metric": "voc07", "map": 0.5, "ap": {"bar": 0.5}, "images": 3, "split": "test"}'


@pytest.fixture
def run(tmp_path: Path, tiny: dict[str, Any]) -> Path:
    run = tmp_path / "runs" / "one"
    (run / "eval" / "test").mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump(tiny))
    (run / "eval" / "test" / "metrics.json").write_text(METRICS)
    return run


def test_report(inside: Inside, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    out = Path("runs/comparison")
    status, output, errors = inside("report", run)
    assert (status, errors) == (0, "")
    assert "| one (faster_rcnn, resnet 18) | 50.0 |" in output
    assert output.splitlines()[-1] == f"report: {out / 'index.html'}"
    assert {path.name for path in out.iterdir()} == {"index.html", "comparison.md", "comparison.json", "map.png"}
    # As runs/* gives it the next time, with the report among the runs; and a run named twice is one row.
    status, again, _ = inside("report", out, run, run)
    assert (status, again) == (0, output)


def test_out_and_split(inside: Inside, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "eval" / "test", run / "eval" / "VOC2012_val")
    status, _, _ = inside("report", run, "--split", "VOC2012/val", "--out", tmp_path / "there")
    assert status == 0 and (tmp_path / "there" / "index.html").is_file()


def test_errors_are_one_line(inside: Inside, run: Path, tmp_path: Path) -> None:
    status, output, errors = inside("report", run, "--split", "val", "--out", tmp_path / "out")
    command = f"detkit eval {run} --voc07 --split val"
    assert (status, output, errors) == (2, "", f"error: {run}: no evaluation; make it with: {command}\n")


def test_images_of_unlike_data_are_refused_before_anything_is_written(
    inside: Inside, finished_run: Path, tmp_path: Path, tiny: dict[str, Any]
) -> None:
    runs = [tmp_path / "runs" / name for name in ("one", "two", "three")]
    for run, split in zip(runs, ("test", "val", "test"), strict=True):
        (run / "eval" / "test").mkdir(parents=True)
        tiny["data"]["test"] = [split]
        (run / "config.yaml").write_text(yaml.safe_dump(tiny))
        scores = '{"metric": "voc07", "map": 0, "ap": {"bar": 0, "block": 0}, "metrics": {"voc07": {}}'
        (run / "eval" / "test" / "metrics.json").write_text(f'{scores}, "images": 3, "split": "test"}}')
        for name in ("bar", "block"):
            (run / "eval" / "test" / f"comp4_det_test_{name}.txt").touch()
    status, output, errors = inside("report", *runs, "--images", "--out", tmp_path / "out")
    assert (status, output) == (2, "") and errors.count("\n") == 1, errors
    assert "not as one are two (2 images instead of 3, of which 0 are the same); score them alike" in errors
    assert not (tmp_path / "out").exists()


def test_help_has_an_example(inside: Inside) -> None:
    status, output, _ = inside("report", "--help")
    assert status == 0 and "detkit report runs/" in output
