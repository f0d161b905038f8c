"""The stage clock, with a clock of our own in place of the machine's."""

import pytest

from detkit.evaluation.speed import StageClock, images_per_second
from detkit.structures import Clock


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Now; time passes when a test sets it."""
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    return now


def time_calls(clock: Clock, stage: str, durations: list[float], seconds: list[float]) -> None:
    for duration in durations:
        with clock(stage):
            seconds[0] += duration


def test_summary_is_in_milliseconds_without_the_first_call(seconds: list[float]) -> None:
    clock = StageClock()
    time_calls(clock, "backbone", [9.0, 0.1, 0.2, 0.3], seconds)
    time_calls(clock, "nms", [1.0, 3.0], seconds)
    summary = clock.summary()
    assert list(summary) == ["backbone", "nms"]
    assert summary["backbone"] == pytest.approx({"p50": 200, "p95": 290, "mean": 200})
    assert summary["nms"] == pytest.approx({"p50": 2000, "p95": 2900, "mean": 2000})


def test_a_stage_that_fails_is_not_counted(seconds: list[float]) -> None:
    clock = StageClock()
    with pytest.raises(KeyError), clock("head"):
        raise KeyError
    assert clock.summary() == {}


def test_images_per_second() -> None:
    assert images_per_second(50, 10) == 5
    with pytest.raises(ValueError, match="0 seconds for 50 images"):
        images_per_second(50, 0)
