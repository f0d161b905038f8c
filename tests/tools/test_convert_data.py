"""detkit convert-data: what it prints and writes, and its errors in one line."""

from collections.abc import Callable
from pathlib import Path

Inside = Callable[..., tuple[int, str, str]]


def test_convert(inside: Inside, voc_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "yolo"
    status, output, errors = inside("convert_data", voc_root, "--to", "yolo", "--out", out)
    assert (status, errors) == (0, "")
    lines = output.splitlines()
    assert lines[0] == f"{voc_root}: VOC form, splits test, train, val"
    assert lines[1:4] == ["test: 3 images, 6 objects", "train: 8 images, 14 objects", "val: 2 images, 4 objects"]
    assert lines[-1] == f"{out}: {voc_root} in YOLO form"
    assert len(list((out / "labels/train").iterdir())) == 8
    status, output, _ = inside(
        "convert_data", out, "--to", "coco", "--out", tmp_path / "coco", "--split", "val", "--link"
    )
    assert (status, output.splitlines()[0]) == (0, "val: 2 images, 4 objects")
    assert (tmp_path / "coco/annotations/instances_val.json").is_file()


def test_errors_are_one_line(inside: Inside, voc_root: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("")
    status, output, errors = inside("convert_data", voc_root, "--to", "coco", "--out", tmp_path, "--split", "val")
    message = f"error: {tmp_path}: is there and is no earlier conversion; choose another folder\n"
    assert (status, output, errors) == (2, "", message)


def test_help_has_examples(inside: Inside) -> None:
    status, output, _ = inside("convert_data", "--help")
    assert status == 0 and "detkit convert-data data/bccd --to coco" in output
