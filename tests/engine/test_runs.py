"""Runs by their place: the newest first, and the likest where one is missing."""

import os
from pathlib import Path

import pytest

from detkit.engine.runs import finished_runs, missing_run, newest_run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """cells, demo and street in this order of time, and one that has no model yet."""
    for number, name in enumerate(("cells", "demo", "street")):
        model = tmp_path / "runs" / name / "model.pt"
        model.parent.mkdir(parents=True)
        model.touch()
        os.utime(model, (1000 + number, 1000 + number))
    (tmp_path / "runs" / "begun").mkdir()
    (tmp_path / "runs" / "begun" / "config.yaml").touch()
    return tmp_path / "runs"


def test_newest_first(runs: Path) -> None:
    assert [run.name for run in finished_runs(runs)] == ["street", "demo", "cells"]
    assert newest_run(runs) == runs / "street"


def test_no_run_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"no run with a model\.pt in .*; name a run .* or train one"):
        newest_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert missing_run(Path("runs/typo")) == "runs/typo: no such run"


def test_a_missing_run_names_the_likest_and_the_newest(runs: Path) -> None:
    listed = f"there are {runs / 'demo'}, {runs / 'cells'}, {runs / 'street'}; the newest is {runs / 'street'}"
    assert missing_run(runs / "demmo") == f"{runs / 'demmo'}: no such run; {listed}"
    assert missing_run(runs / "demo2" / "model.pt") == f"{runs / 'demo2' / 'model.pt'}: no such file; {listed}"


def test_a_run_elsewhere_is_told_of_those_in_runs(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs.parent)
    assert missing_run(Path("demo")).startswith("demo: no such run; there are runs/demo, ")


def test_folders_without_a_model(runs: Path) -> None:
    assert "this run has no model.pt yet" in missing_run(runs / "begun")
    assert "no run: this folder holds no model.pt" in missing_run(runs.parent)


def test_many_runs_are_counted(tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / f"run{number}").mkdir()
        (tmp_path / f"run{number}" / "model.pt").touch()
    assert " and 3 more; the newest is " in missing_run(tmp_path / "other")
