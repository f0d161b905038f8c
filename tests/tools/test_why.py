"""detkit why as it is called."""

import json
from collections.abc import Callable
from pathlib import Path

Inside = Callable[..., tuple[int, str, str]]


def test_it_tells_of_every_object_and_writes_image_and_table(
    inside: Inside, finished_run: Path, tmp_path: Path
) -> None:
    status, output, _ = inside("why", finished_run, "000011", "--out", tmp_path / "why", "--min-score", 0.01)
    assert status == 0
    assert "of 2 objects found" in output
    assert "object 1 (bar) at (" in output and "object 2 (block) at (" in output
    assert (tmp_path / "why" / "why.jpg").is_file()
    table = json.loads((tmp_path / "why" / "why.json").read_text())
    assert all(one["text"] in output for one in table["objects"] + table["false_detections"])


def test_another_split_and_a_file_instead_of_the_run(inside: Inside, finished_run: Path, tmp_path: Path) -> None:
    status, output, _ = inside("why", finished_run / "model.pt", "000003", "--split", "train", "--out", tmp_path)
    assert status == 0 and output.startswith("image 000003: ")


def test_an_unknown_image(inside: Inside, finished_run: Path) -> None:
    status, _, errors = inside("why", finished_run, "11")
    assert status == 2
    assert "image '11': none of the 3 images" in errors and "000011" in errors


def test_a_run_that_is_not_there(inside: Inside, tmp_path: Path) -> None:
    status, _, errors = inside("why", tmp_path / "nowhere", "000011")
    assert status == 2 and errors.startswith("error: ") and "nowhere" in errors


def test_help_shows_an_example(inside: Inside) -> None:
    status, output, _ = inside("why", "--help")
    assert status == 0 and "detkit why runs/faster_rcnn_r101 000004" in output
