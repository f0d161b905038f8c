"""Splits taken as one data set: images are known by their file, classes by their name."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detkit.data.faults import LISTED_TWICE, FaultError, Severity
from detkit.data.formats.forms import Form, find_form
from detkit.data.formats.merging import merged, numbered_classes, under_classes
from detkit.data.formats.opening import SplitReader, open_form
from detkit.data.formats.read_split import ReadSplit
from detkit.data.ground_truth import GroundTruth, Objects

Content = dict[str, list[list[float]]]  # of each file the boxes, all of class 0


def split(name: str, content: Content, classes: tuple[str, ...] = ("dog", "cat"), first: int = 1) -> ReadSplit:
    """Images have the stem of their file as id, and are numbered from `first` on; so are classes."""
    parts = [Objects.of_boxes(np.zeros(len(b), dtype=np.int64), np.reshape(b, (-1, 4))) for b in content.values()]
    truth = GroundTruth(
        classes,
        tuple(Path(file).stem for file in content),
        np.full((len(parts), 2), 60),
        Objects.joined(parts),
        np.array([len(part) for part in parts], dtype=np.int64),
        tuple(range(first, first + len(classes))),
        tuple(range(first, first + len(parts))),
    )
    paths = tuple(map(Path, content))
    return ReadSplit(name, Path(f"{name}.txt"), truth, paths, paths, lambda row: f"object {row}", "bbox", "class", ())


def all_of(*splits: ReadSplit) -> list[np.ndarray]:
    return [np.ones(len(one.truth), dtype=np.bool_) for one in splits]


BOX, OTHER = [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 5.0]


def test_ids_that_two_files_have_get_the_name_of_their_split() -> None:
    splits = (split("train", {"t/0.png": [BOX], "t/1.png": []}), split("my val", {"v/0.png": [OTHER, BOX]}))
    truth, paths, faults = merged(splits, all_of(*splits), states_numbers=False)
    assert truth.image_ids == ("train_0", "1", "my_val_0")
    assert paths == [Path("t/0.png"), Path("t/1.png"), Path("v/0.png")]
    assert truth.counts.tolist() == [1, 0, 2]
    assert truth.objects.boxes.tolist() == [BOX, OTHER, BOX]
    assert faults == []


def test_new_names_that_are_taken_are_counted() -> None:
    splits = (split("a", {"x/0.png": [], "x/a_0.png": []}), split("b", {"y/0.png": [], "y/b_0_2.png": []}))
    truth, _, _ = merged(splits, all_of(*splits), states_numbers=False)
    assert truth.image_ids == ("a_0", "a_0_2", "b_0", "b_0_2")


@pytest.mark.parametrize(
    ("first", "states_numbers", "numbers"),
    [(1, True, (1, 2, 3)), (7, True, (1, 2, 7)), (7, False, (1, 2, 3))],
)
def test_numbers_of_images(first: int, states_numbers: bool, numbers: tuple[int, ...]) -> None:
    splits = (split("train", {"t/a.png": [], "t/b.png": []}), split("val", {"v/c.png": []}, first=first))
    truth, _, _ = merged(splits, all_of(*splits), states_numbers)
    assert truth.image_numbers == numbers


def test_the_same_file_counts_once(tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    Image.new("RGB", (4, 4)).save(image)
    (tmp_path / "link.png").symlink_to(image)
    splits = (split("train", {str(image): [BOX]}), split("val", {str(tmp_path / "link.png"): [BOX]}))
    truth, paths, (fault,) = merged(splits, all_of(*splits), states_numbers=False)
    assert (truth.image_ids, paths) == (("a",), [image])
    assert (fault.severity, fault.summary, fault.file) == (Severity.WARNING, LISTED_TWICE, Path("val.txt"))
    assert str(fault) == f"val.txt: image {tmp_path}/link.png: is also in 'train' (train.txt)"


@pytest.mark.parametrize("boxes", [[], [OTHER], [BOX, BOX], [BOX, OTHER]])
def test_the_same_file_with_other_objects_is_an_error(boxes: list[list[float]]) -> None:
    splits = (split("train", {"a.png": [BOX]}), split("val", {"a.png": boxes}))
    _, _, (fault,) = merged(splits, all_of(*splits), states_numbers=False)
    assert fault.severity is Severity.ERROR
    assert str(fault) == "val.txt: image a.png: has other objects than in 'train' (train.txt); keep one of the two"


def test_images_that_are_not_kept_take_no_part() -> None:
    splits = (split("train", {"a.png": [BOX], "b.png": [BOX]}), split("val", {"a.png": [OTHER], "c.png": [OTHER]}))
    kept = [np.array([False, True]), np.array([True, False])]
    truth, paths, faults = merged(splits, kept, states_numbers=False)
    assert (truth.image_ids, paths, faults) == (("b", "a"), [Path("b.png"), Path("a.png")], [])
    assert truth.objects.boxes.tolist() == [BOX, OTHER]


def test_classes_are_known_by_name() -> None:
    one = split("train", {}, ("dog", "cat"), first=4)
    assert numbered_classes([one]) == {"dog": 4, "cat": 5}
    assert numbered_classes([one, split("val", {}, ("cat", "eel", "dog"), first=4)]) == {"dog": 4, "cat": 5, "eel": 6}
    assert numbered_classes([one, split("val", {}, ("eel",), first=4)]) == {"dog": 4, "cat": 5, "eel": 6}
    assert numbered_classes([]) == {}
    moved = under_classes(split("val", {"a.png": [BOX]}, ("eel", "dog")), ("dog", "eel"), (1, 2))
    assert moved.truth.objects.labels.tolist() == [1]


def coco(root: Path, name: str, category: dict[str, object]) -> None:
    (root / name).mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(root / name / "0.png")
    image = {"id": 0, "file_name": "0.png", "height": 30, "width": 40}
    box = {"id": 0, "image_id": 0, "category_id": category["id"], "bbox": [1, 2, 3, 4]}
    content = {"images": [image], "annotations": [box], "categories": [category]}
    (root / name / "_annotations.coco.json").write_text(json.dumps(content))


def test_exports_that_count_from_0_in_each_file(tmp_path: Path) -> None:
    coco(tmp_path, "train", {"id": 0, "name": "dog"})
    coco(tmp_path, "valid", {"id": 0, "name": "cat"})
    form = find_form(tmp_path)
    assert (form.splits, form.faults) == (("train", "valid"), ())
    data = open_form(form, form.splits, None, pytest.fail)
    assert (data.classes, data.image_ids) == (("dog", "cat"), ("train_0", "valid_0"))
    assert data.ground_truth().objects.labels.tolist() == [0, 1]
    train, valid = SplitReader(form).read(form.splits)
    assert train.truth.classes == valid.truth.classes == ("dog", "cat")
    assert open_form(form, ["valid"], None, pytest.fail).image_ids == ("0",)


@pytest.mark.parametrize("kind", ["voc", "yolo"])
def test_cameras_that_count_alike_in_each_folder(tmp_path: Path, kind: str) -> None:
    for number, name in enumerate(("train", "val")):
        (tmp_path / name).mkdir()
        Image.new("RGB", (40, 30)).save(tmp_path / name / "0.png")
        box = f"<bndbox><xmin>{number + 1}</xmin><ymin>1</ymin><xmax>20</xmax><ymax>9</ymax></bndbox>"
        text = f"<annotation><object><name>dog</name>{box}</object></annotation>"
        label = (".xml", text) if kind == "voc" else (".txt", f"0 0.5 0.5 0.5 0.{number + 1}\n")
        (tmp_path / name / f"0{label[0]}").write_text(label[1])
    if kind == "yolo":
        (tmp_path / "classes.txt").write_text("dog\n")
    form = find_form(tmp_path)
    data = open_form(form, ["train", "val"], None, pytest.fail)
    assert (form.kind, data.image_ids) == (kind, ("train_0", "val_0"))
    assert len(data.ground_truth().objects) == 2
    (tmp_path / "val/0.png").unlink()
    (tmp_path / "val/0.png").symlink_to(tmp_path / "train/0.png")
    with pytest.raises(FaultError, match=r"image .*val/0\.png: has other objects than in 'train'"):
        open_form(Form(form.kind, tmp_path, ()), ["train", "val"], None)
