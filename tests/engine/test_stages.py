"""What each stage of a training took, through stops and failures."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from detkit.engine import stages
from detkit.engine.stages import FILE, StageTimes


def rows(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / FILE).read_text().splitlines()]


def test_stages_are_timed_in_the_order_they_were_worked_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([10.0, 12.5, 100.0, 100.25])
    monkeypatch.setattr(stages, "time", SimpleNamespace(perf_counter=lambda: next(now)))
    times = StageTimes(tmp_path)
    with times("finetune"):
        pass
    with times("svms"):
        pass
    times.add("features", 0.12345, 1_000_000)
    assert rows(tmp_path) == [
        {"stage": "finetune", "seconds": 2.5},
        {"stage": "svms", "seconds": 0.25},
        {"stage": "features", "seconds": 0.123, "bytes": 1_000_000},
    ]


def test_a_stage_that_is_stopped_and_goes_on_has_two_lines(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), StageTimes(tmp_path)("finetune"):
        raise KeyboardInterrupt
    with StageTimes(tmp_path)("finetune"):  # the same command again
        pass
    assert [row["stage"] for row in rows(tmp_path)] == ["finetune", "finetune"]


def test_whether_a_stage_was_worked_on(tmp_path: Path) -> None:
    times = StageTimes(tmp_path)
    assert not times.has("rpn")
    times.add("rpn_1", 1.0)
    assert times.has("rpn_1") and StageTimes(tmp_path).has("rpn_1")
    assert not times.has("rpn") and not times.has("seconds")
