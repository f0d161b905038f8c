"""Learning rates by hand."""

import pytest

from detkit.engine.schedule import cosine, step_drops, with_warmup


@pytest.mark.parametrize(("step", "factor"), [(0, 1), (9, 1), (10, 0.1), (19, 0.1), (20, 0.01), (1000, 0.01)])
def test_each_drop_multiplies(step: int, factor: float) -> None:
    assert step_drops([10, 20], 0.1)(step) == pytest.approx(factor)


def test_without_drops_the_rate_stays() -> None:
    assert step_drops([], 0.1)(10**6) == 1


@pytest.mark.parametrize(("step", "factor"), [(0, 1), (25, 0.8682), (50, 0.55), (75, 0.2318), (100, 0.1), (120, 0.1)])
def test_cosine(step: int, factor: float) -> None:
    """0.1 + 0.9 * (1 + cos(pi * step / 100)) / 2."""
    assert cosine(100, final=0.1)(step) == pytest.approx(factor, abs=1e-4)


@pytest.mark.parametrize(("step", "factor"), [(0, 0.2), (5, 0.6), (9, 0.92), (10, 1), (11, 1), (50, 0.5)])
def test_warmup_rises_linearly_to_the_schedule(step: int, factor: float) -> None:
    assert with_warmup(step_drops([50], 0.5), steps=10, factor=0.2)(step) == pytest.approx(factor)


def test_warmup_multiplies_a_schedule_that_falls_meanwhile() -> None:
    assert with_warmup(step_drops([2], 0.5), steps=4, factor=0.0)(2) == pytest.approx(0.5 * 0.5)


def test_no_warmup_changes_nothing() -> None:
    assert with_warmup(step_drops([2], 0.5), steps=0, factor=0.0)(0) == 1
