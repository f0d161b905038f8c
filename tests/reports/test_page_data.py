"""What the page says of an assessment: causes by their cost, bins by their titles, confusions by their number."""

import numpy as np
import pytest

from detkit.evaluation.assessment import Assessment
from detkit.evaluation.confusion import Confusion
from detkit.reports import page_data


def test_headline(assessment: Assessment) -> None:
    scores = page_data.headline(assessment)
    assert [score.name[:9] for score in scores] == ["VOC 2007,", "COCO AP, ", "COCO AP50"]
    assert scores[0].value == pytest.approx(6 / 11 / 2)
    assert all(one.low is not None and one.high is not None and one.low <= one.high for one in scores)


def test_causes_stand_by_their_cost(assessment: Assessment) -> None:
    main, sums = page_data.causes(assessment.errors)
    losses = [cause.loss for cause in main]
    assert losses == sorted(losses, reverse=True) and len(main) == 6 and len(sums) == 2
    assert max(cause.percent for cause in (*main, *sums)) == pytest.approx(100)
    counts = {cause.key: cause.count for cause in main}
    assert counts == {"missed": 1, "confusion": 1, "localisation": 1, "duplicate": 1, "background": 1, "both": 0}


def test_classes_by_what_they_lose(assessment: Assessment, hostile: str) -> None:
    rows = page_data.class_losses(assessment.errors)
    assert {name for name, _ in rows} == {"cat", hostile}
    assert max(rows[0][1]) >= max(rows[1][1])


def test_bins(assessment: Assessment) -> None:
    groups = page_data.bin_groups(assessment)
    assert [(group.title, len(group.bins)) for group in groups[:2]] == [("Size", 3), ("Size within the class", 5)]
    assert [bin.num_objects for bin in groups[0].bins] == [4, 0, 0]
    assert "Truncation" not in {group.title for group in groups}  # the files say nothing of it


def test_matrix() -> None:
    counts = np.array([[6, 3, 0, 1], [0, 0, 0, 0], [2, 0, 2, 0], [1, 0, 0, 0]])
    matrix = page_data.matrix(Confusion(("cat", "dog", "bird"), counts))
    assert matrix.names == ["cat", "dog", "bird", "missed"]
    assert [name for name, _ in matrix.rows] == ["cat", "dog", "bird", "background"]
    assert [cell.percent for cell in matrix.rows[0][1]] == [60, 30, 0, 10]
    assert [[cell.is_own for cell in cells].index(True) for _, cells in matrix.rows] == [0, 1, 2, 3]
    assert [(pair.object, pair.detected, pair.count, pair.share) for pair in matrix.pairs] == [
        ("cat", "dog", 3, 0.3),
        ("bird", "cat", 2, 0.5),
    ]
    assert not matrix.is_large
