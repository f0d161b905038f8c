"""detkit eval with little said: the newest run, by the usual metric of its data; and a run that is not there."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from detkit.commands.eval import usual_metrics
from detkit.config.data import ShapesData

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
