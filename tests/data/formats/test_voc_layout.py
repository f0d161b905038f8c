"""VOC annotations without ImageSets: which folders are splits, and which files belong together."""

from pathlib import Path

import pytest
from PIL import Image

from detkit.data.faults import NOT_ANNOTATED, DatasetMissing, FaultError, Severity
from detkit.data.formats.forms import Form, find_form
from detkit.data.formats.listing import one_word
from detkit.data.formats.opening import open_form
from detkit.data.formats.voc import NO_IMAGE, find_splits
from detkit.data.formats.voc_layout import VocPlace, find_places

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


@pytest.mark.parametrize("annotations", ["Annotations", "annotations", "annots", "xmls", "xml", "labels"])
@pytest.mark.parametrize("images", ["JPEGImages", "images", "Images", "imgs", "img", "data"])
def test_names_of_the_two_folders(tmp_path: Path, images: str, annotations: str) -> None:
    add(tmp_path / images, tmp_path / annotations, "a")
    assert find_places(tmp_path) == {"all": VocPlace(tmp_path / images, tmp_path / annotations)}
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets" / "train.txt").write_text("a\n")
    listing = tmp_path / "ImageSets" / "train.txt"
    assert find_places(tmp_path) == {"train": VocPlace(tmp_path / images, tmp_path / annotations, listing)}


def test_lists_beside_the_folders_are_obeyed(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        add(tmp_path / "images", tmp_path / "annots", name)
    for split, lines in (("train", "images/a.png\nb\n"), ("val", "./c.png\n"), ("notes", "not a split\n")):
        (tmp_path / f"{split}.txt").write_text(lines)
    assert find_splits(tmp_path) == ("train", "val")
    data = open_form(Form("voc", tmp_path, ()), ["train", "val"], None, pytest.fail)
    assert data.image_ids == ("a", "b", "c")
    (tmp_path / "val.txt").write_text("")
    with pytest.raises(FaultError, match=r"val\.txt: 'val' lists no images"):
        open_form(Form("voc", tmp_path, ()), ["val"], None)


def test_folders_of_images_that_are_named_for_their_use_are_splits(tmp_path: Path) -> None:
    for split in ("train", "val", "extra"):
        add(tmp_path / "images" / split, tmp_path / "annotations" / split / "deeper", "a")
        (tmp_path / "images" / split / "deeper").mkdir()
        (tmp_path / "images" / split / "a.png").rename(tmp_path / "images" / split / "deeper" / "a.png")
    add(tmp_path / "images" / "test", tmp_path / "gone", "a")
    assert find_splits(tmp_path) == ("extra", "train", "val")  # not all as one, to be divided by chance
    (fault,) = find_form(tmp_path).faults
    assert fault.severity is Severity.WARNING
    assert str(fault).startswith(f"{tmp_path}/images/test: has images that are in no split")
    data = open_form(Form("voc", tmp_path, ()), ["train", "val"], None, pytest.fail)
    assert data.image_ids == ("train_deeper_a", "val_deeper_a")


def test_folders_of_images_that_are_named_for_other_things_are_one_split(tmp_path: Path) -> None:
    for camera in ("cam a", "cam b"):
        add(tmp_path / "images" / camera, tmp_path / "annotations" / camera, "f000")
    assert find_splits(tmp_path) == ("all",)
    assert open_form(Form("voc", tmp_path, ()), ["all"], None).image_ids == ("cam_a_f000", "cam_b_f000")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("cam a/f000", "cam a/f000"),
        ("cam a/f000", '"cam a/f000"'),
        ("cam a/f000", "cam a\\f000"),
        ("cam a/f000", "cam a/f000.png"),
        ("cam a/f000", "JPEGImages/cam a/f000.png"),
        ("cam a/f000", "/home/me/set/JPEGImages/cam a/f000.png"),
        ("cam a/f000", "C:\\set\\JPEGImages\\cam a\\f000.png"),
        ("cam a/f000", "cam a/f000 1"),
        ("cam a/f000", '"cam a/f000" -1'),
        ("my photo (1).v2", "my photo (1).v2"),
        ("my photo (1).v2", "./my photo (1).v2.PNG"),
        ("photo 1", "photo 1"),  # no mark of a class
        ("it's", "it's"),
    ],
)
def test_ids_as_tools_write_them(tmp_path: Path, name: str, line: str) -> None:
    add(tmp_path / "JPEGImages", tmp_path / "Annotations", "other")
    above = Path(name).parent
    add(tmp_path / "JPEGImages" / above, tmp_path / "Annotations" / above, Path(name).name)
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text(f"{line}\n")
    data = open_form(Form("voc", tmp_path, ()), ["train"], None, pytest.fail)
    assert data.paths == (tmp_path / "JPEGImages" / f"{name}.png",)
    assert data.image_ids == (one_word(name),)


@pytest.mark.parametrize("line", ["../out", "..\\out", "cam/../../out", "JPEGImages/../../out", "{}/out", '"../out"'])
def test_ids_never_lead_out_of_the_folder(tmp_path: Path, line: str) -> None:
    root = tmp_path / "set"
    add(root / "JPEGImages", root / "Annotations", "a")
    add(root, root, "out")  # outside of the two folders
    add(tmp_path, tmp_path, "out")
    (root / "ImageSets").mkdir()
    (root / "ImageSets" / "train.txt").write_text(f"{line.format(tmp_path)}\n")
    with pytest.raises(FaultError, match="leads to another folder"):
        open_form(Form("voc", root, ()), ["train"], None)


def test_other_folders_are_no_splits(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "train.json").write_text("{}")
    (tmp_path / "images").mkdir()
    assert find_splits(tmp_path) == ()


def test_the_name_of_the_set_says_nothing_of_its_splits(tmp_path: Path) -> None:
    root = tmp_path / "training set"
    for split in ("train", "val"):
        add(root / split / "deeper", root / split / "deeper", "a")
    assert find_splits(root) == ("train", "val")
