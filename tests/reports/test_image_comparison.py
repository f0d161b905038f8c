"""Two runs on the same images: who finds which object, whose mistakes are its own, and runs that cannot be compared."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from detkit.evaluation.assessment import Assessment
from detkit.reports.image_comparison import comparison_gallery, write_image_comparison
from detkit.structures import Detections

Assess = Callable[..., Assessment]


def detections(*rows: tuple[list[float], float, int]) -> Detections:
    boxes, scores, labels = zip(*rows)
    return Detections(torch.tensor(boxes), torch.tensor(scores), torch.tensor(labels))


SMALL, LARGE, NOTHING = [5.0, 5.0, 25.0, 25.0], [40.0, 20.0, 70.0, 50.0], [0.0, 50.0, 10.0, 60.0]


@pytest.fixture(scope="module")
def other(assessed: Assess, hostile: str) -> Assessment:
    """Finds the same cat and, in the second image, both objects; makes the same mistake there and one of its own."""
    first = detections((SMALL, 0.8, 0), (NOTHING, 0.7, 0), (LARGE, 0.1, 1))
    second = detections((LARGE, 0.9, 1), (SMALL, 0.6, 0), (NOTHING, 0.5, 0))
    return assessed({"one": first, hostile: second}, ("voc07", "coco"))


def test_who_finds_what(assessment: Assessment, other: Assessment) -> None:
    gallery = comparison_gallery(["a", "b"], [assessment, other], min_score=0.3)
    keys = [kind.key for kind in gallery.kinds]
    assert keys == ["found-2", "found-all", "found-0", "false-0", "false-1"]
    names = {kind.key: kind.name for kind in gallery.kinds}
    assert (names["found-2"], names["false-0"]) == ("found: only b", "false: only a")
    entries = gallery.entries
    rows = [(keys[kind], row) for kind, row in zip(entries.kind.tolist(), entries.object.tolist())]
    assert rows[:4] == [("found-2", 3), ("found-2", 2), ("found-all", 0), ("found-0", 1)]
    # Of a: a duplicate, a poor place and a wrong class; nothing in the second image is a mistake of both.
    assert Counter(key for key, _ in rows[4:]) == {"false-0": 3, "false-1": 1}
    assert entries.score[:4].tolist() == pytest.approx([0.9, 0.6, 0.9, -1])  # of the first run that finds it
    assert gallery.start == "found-2"  # a group of one


def test_scores_decide_what_counts(assessment: Assessment, other: Assessment) -> None:
    gallery = comparison_gallery(["a", "b"], [assessment, other], min_score=0.05)
    keys = [gallery.kinds[kind].key for kind in gallery.entries.kind.tolist()]
    assert Counter(keys)["found-2"] == 3 and "found-0" not in keys


def test_page(tmp_path: Path, assessment: Assessment, other: Assessment, hostile: str) -> None:
    path = write_image_comparison(tmp_path, ["a", hostile], [assessment, other])
    assert path == tmp_path / "compare.html"
    text = path.read_text(encoding="utf-8")
    assert "alert(1)</script>" not in text
    assert ">+30.3<" in text and "54.5" in text  # cat: 6 / 11, and (6 + 5 * 2 / 3) / 11
    assert {one.name for one in (tmp_path / "report_files").rglob("*.*")} == {"data.js", "0.jpg", "1.jpg"}


def test_runs_that_cannot_be_compared(
    tmp_path: Path, assessed: Assess, assessment: Assessment, squares: Any, every_kind: dict[str, Detections]
) -> None:
    with pytest.raises(ValueError, match="1 runs, 1 names: expected two or more"):
        write_image_comparison(tmp_path, ["a"], [assessment])
    with pytest.raises(ValueError, match="2 runs, 1 names"):
        write_image_comparison(tmp_path, ["a"], [assessment, assessment])
    empty = assessed(every_kind, ("voc07", "coco"), squares(has_objects=False))
    with pytest.raises(
        ValueError, match=r"not as a are b \(other boxes in the same images: 0 instead of \d+\); score them alike"
    ):
        write_image_comparison(tmp_path, ["a", "b"], [assessment, empty])
    with pytest.raises(ValueError, match=r"not as a are b \(scored by voc10 instead of voc07 \+ coco\)"):
        write_image_comparison(tmp_path, ["a", "b"], [assessment, assessed(every_kind, ("voc10",))])
    assert not list(tmp_path.iterdir())
