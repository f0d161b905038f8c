"""VOC annotations without ImageSets: which folders are splits, and which files belong together."""

from pathlib import Path

import pytest
from PIL import Image

from detkit.data.faults import DatasetMissing
from detkit.data.formats.forms import Form
from detkit.data.formats.opening import open_form
from detkit.data.formats.voc import NO_IMAGE, NOT_ANNOTATED, find_splits

BOX = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>3</ymax></bndbox>"


def add(images: Path, annotations: Path, name: str) -> None:
    for folder in (images, annotations):
        folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6)).save(images / f"{name}.png")
    (annotations / f"{name}.xml").write_text(f"<annotation><object><name>dog</name>{BOX}</object></annotation>")


@pytest.mark.parametrize(
    ("images", "annotations", "split"),
    [
        ("JPEGImages", "Annotations", "all"),
        ("images", "annotations", "all"),
        (".", ".", "all"),
        ("train", "train", "train"),
        ("valid/images", "valid/Annotations", "valid"),
    ],
)
def test_folders_that_are_splits(tmp_path: Path, images: str, annotations: str, split: str) -> None:
    add(tmp_path / images, tmp_path / annotations, "my dog")
    assert find_splits(tmp_path) == (split,)
    data = open_form(Form("voc", tmp_path, ()), [split], None, pytest.fail)
    assert data.image_ids == ("my_dog",)
    assert data.target(0).boxes.tolist() == [[0, 0, 3, 3]]
    with pytest.raises(DatasetMissing, match=f"splits below .*: {split}"):
        open_form(Form("voc", tmp_path, ()), ["gone"], None)


def test_files_that_stand_alone_are_left_out_with_a_warning(tmp_path: Path) -> None:
    add(tmp_path / "train", tmp_path / "train", "a")
    Image.new("RGB", (8, 6)).save(tmp_path / "train" / "b.png")
    (tmp_path / "train" / "c.xml").write_text("<annotation/>")
    warnings: list[str] = []
    assert open_form(Form("voc", tmp_path, ()), ["train"], None, warnings.append).image_ids == ("a",)
    assert [NOT_ANNOTATED in warnings[0], NO_IMAGE in warnings[1]] == [True, True]


def test_names_that_cannot_be_told_apart_are_errors(tmp_path: Path) -> None:
    for name in ("a b", "a_b"):
        add(tmp_path, tmp_path, name)
    with pytest.raises(ValueError, match=r"differs from .* by white space and slashes only"):
        open_form(Form("voc", tmp_path, ()), ["all"], None)
    (tmp_path / "a b.xml").unlink()
    Image.new("RGB", (8, 6)).save(tmp_path / "a_b.jpg")
    with pytest.raises(ValueError, match=r"id 'a_b' has 2 images: a_b\.jpg, a_b\.png; keep one"):
        open_form(Form("voc", tmp_path, ()), ["all"], None)


def test_other_folders_are_no_splits(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "train.json").write_text("{}")
    (tmp_path / "images").mkdir()
    assert find_splits(tmp_path) == ()
