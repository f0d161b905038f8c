"""detkit check-data: its exit status, what it prints, and the page."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

Inside = Callable[..., tuple[int, str, str]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A COCO split of one image with 25 boxes of a px, and one twice."""
    root = tmp_path / "set"
    (root / "annotations").mkdir(parents=True)
    (root / "train").mkdir()
    Image.new("RGB", (80, 60), (9, 9, 9)).save(root / "train" / "one.png")
    boxes = [[2 * number, 1, 1, 1] for number in range(25)] + [[20, 20, 30, 30], [20, 20, 30, 30]]
    content = {
        "images": [{"id": 1, "file_name": "one.png", "height": 60, "width": 80}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": box} for box in boxes],
        "categories": [{"id": 1, "name": "dog"}],
    }
    (root / "annotations" / "instances_train.json").write_text(json.dumps(content))
    return root


def test_what_is_printed(inside: Inside, root: Path) -> None:
    status, output, errors = inside("check_data", root)
    lines = output.splitlines()
    assert (status, errors) == (0, "")
    assert lines[0].endswith("COCO form, split train (instances_train.json)")
    assert "warning: 25 boxes are 1 px or less wide or high:" in lines
    assert sum("is that meant?" in line for line in lines) == 20 and "  ... and 5 more (--all lists them)" in lines
    assert "AP below 100 for dog (VOC 96." in output
    assert lines[-1] == "1 images, 1 splits: 0 errors, 28 warnings; training can start"
    status, output, _ = inside("check_data", root, "--all")
    assert sum("is that meant?" in line for line in output.splitlines()) == 25


def test_exit_status(inside: Inside, root: Path, tmp_path: Path) -> None:
    status, output, _ = inside("check_data", root, "--form", "coco", "--split", "train", "--classes", "cat, bird")
    assert status == 1 and "error: " in output and "training would stop" in output
    status, output, errors = inside("check_data", tmp_path / "gone")
    assert (status, output, len(errors.splitlines())) == (2, "", 1)
    assert inside("check_data", root, "--split", "gone")[0] == 2
    assert inside("check_data", root, "--nonsense")[0] == 2
    assert inside("check_data", root, "--config", root / "gone.yaml")[0] == 2
    status, output, _ = inside("check_data", "--help")
    assert status == 0 and "--html check" in output


def test_page_and_config(inside: Inside, root: Path, tmp_path: Path) -> None:
    config = Path(__file__).parents[2] / "configs" / "demo.yaml"
    status, output, errors = inside("check_data", root, "--config", config, "--html", tmp_path / "out")
    assert (status, errors) == (0, "")
    assert "9 anchors of 128 256 512 px" not in output  # the demo's images and anchors are smaller
    assert output.splitlines()[-1] == f"page: {tmp_path / 'out' / 'index.html'}"
    assert (tmp_path / "out" / "index.html").is_file()
