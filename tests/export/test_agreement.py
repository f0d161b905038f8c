"""What counts as the same detection, by hand."""

import pytest
import torch

from detkit.export.agreement import Agreement, compare
from detkit.structures import Detections

ROWS = [((0.0, 0.0, 10.0, 10.0), 0.9, 0), ((0.4, 0.0, 10.0, 10.0), 0.8, 0), ((50.0, 50.0, 60.0, 60.0), 0.7, 1)]


def found(*rows: tuple[tuple[float, float, float, float], float, int]) -> Detections:
    boxes, scores, labels = zip(*rows) if rows else ((), (), ())
    return Detections(torch.tensor(boxes).reshape(-1, 4), torch.tensor(scores), torch.tensor(labels, dtype=torch.int64))


def test_nothing_found_agrees() -> None:
    assert compare([found()], [found()]) == Agreement(1, 0, 0, 0.0, 0.0)
    assert compare([found()], [found()]).holds


def test_the_order_does_not_matter() -> None:
    assert compare([found(*ROWS)], [found(*reversed(ROWS))]) == Agreement(1, 3, 0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("changed", "alone", "box", "score"),
    [
        (((50.0, 50.0, 60.0, 60.5), 0.7, 1), 0, 0.5, 0.0),
        (((50.0, 50.0, 60.0, 60.0), 0.6, 1), 0, 0.0, 0.1),
        (((50.0, 50.0, 60.0, 61.0), 0.7, 1), 2, 0.0, 0.0),  # so far apart they are two
        (((50.0, 50.0, 60.0, 60.0), 0.7, 0), 2, 0.0, 0.0),  # another class
    ],
)
def test_differences(changed: tuple, alone: int, box: float, score: float) -> None:
    seen = compare([found(*ROWS), found()], [found(*ROWS[:2], changed), found()])
    assert (seen.images, seen.detections, seen.alone) == (2, 3, alone) and not seen.holds
    assert seen.box == pytest.approx(box) and seen.score == pytest.approx(score, abs=1e-6)
    assert ("only one of the two has" in str(seen)) == (alone > 0)


def test_small_differences_hold() -> None:
    near = found(((0.005, 0.0, 10.0, 10.0), 0.90005, 0))
    assert compare([found(ROWS[0])], [near]).holds
    assert not compare([found(ROWS[0])], [found()]).holds
