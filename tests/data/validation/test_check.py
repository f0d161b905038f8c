"""The checker tells every fault with its place, and whether training would stop, for data sets of all forms."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from detkit.data.faults import DatasetMissing, Severity
from detkit.data.formats.forms import find_form
from detkit.data.formats.opening import SplitReader
from detkit.data.validation.check import check_data
from detkit.data.validation.check_report import CheckReport


def object_xml(name: str = "dog", box: tuple[object, ...] = (1, 2, 10, 20)) -> str:
    corners = "".join(f"<{f}>{v}</{f}>" for f, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name><bndbox>{corners}</bndbox></object>"


def add(root: Path, split: str, image_id: str, *objects: str, shade: int | None = None) -> None:
    """Append an image to a split; its content is its own unless a shade is given."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    with (root / "ImageSets/Main" / f"{split}.txt").open("a") as file:
        file.write(f"{image_id}\n")
    colour = (7 * len(list((root / "JPEGImages").iterdir())) + 1, 0, 0) if shade is None else (0, shade, 0)
    Image.new("RGB", (40, 30), colour).save(root / "JPEGImages" / f"{image_id}.png")
    (root / "Annotations" / f"{image_id}.xml").write_text(f"<annotation>{''.join(objects)}</annotation>")


def check(root: Path, *splits: str, classes: list[str] | None = None) -> CheckReport:
    return check_data(SplitReader(find_form(root)), splits, classes)


def told(report: CheckReport, severity: Severity) -> list[str]:
    return [str(fault) for fault in report.faults if fault.severity is severity]


def assert_one(lines: list[str], *parts: str) -> None:
    assert len(lines) == 1
    for part in parts:
        assert part in lines[0]


def test_a_sound_data_set(tmp_path: Path) -> None:
    add(tmp_path, "train", "a", object_xml(), object_xml("cat"))
    add(tmp_path, "test", "b", object_xml())
    add(tmp_path, "test", "c")
    report = check(tmp_path)
    assert report.faults == ()
    assert list(report.lines()) == [
        "test: 2 images of 40 x 30 px (1 without objects), 1 objects",
        "train: 1 images of 40 x 30 px (0 without objects), 2 objects",
        "class       test      train",
        "cat            0          1",
        "dog            1          1",
        "3 images, 2 splits: 0 errors, 0 warnings; training can start",
    ]


def test_all_errors_are_told_at_once(tmp_path: Path) -> None:
    add(tmp_path, "train", "a", object_xml(box=(1, "x", 9, 9)), object_xml(box=(1, 1, "y", "z")))
    add(tmp_path, "train", "broken", object_xml(box=(9, 1, 2, 2)))
    image = tmp_path / "JPEGImages/broken.png"
    image.write_bytes(image.read_bytes()[:60])
    add(tmp_path, "train", "no_xml")
    (tmp_path / "Annotations/no_xml.xml").unlink()
    add(tmp_path, "train", "no_image")
    (tmp_path / "JPEGImages/no_image.png").unlink()
    report = check(tmp_path)
    errors = told(report, Severity.ERROR)
    assert report.count(Severity.ERROR)
    expected = (
        "a.xml: object 0 (dog): bndbox/ymin: is 'x'",
        "a.xml: object 1 (dog): bndbox/xmax: is 'y'",
        "a.xml: object 1 (dog): bndbox/ymax: is 'z'",
        "broken.png: cannot be decoded",
        "broken.xml: object 0 (dog): bndbox: xmin 9 is greater",
        "id 'no_xml': ",
        "id 'no_image' has no image",
    )
    assert len(errors) == len(expected)
    for part in expected:
        assert sum(part in error for error in errors) == 1
    stopped = replace(report, can_train=False)  # which is for the command to say: it tries what training does
    assert list(stopped.lines())[-1] == "2 images, 1 splits: 7 errors, 1 warnings; training would stop: mend the errors"


def test_a_misspelt_class_is_one_line_and_so_are_objects_of_others(tmp_path: Path) -> None:
    for number in range(30):
        add(tmp_path, "train", f"a{number:02d}", object_xml("cat"), object_xml("dog"))
    add(tmp_path, "trainval", "a00", object_xml("cat"), object_xml("dog"))  # which is in train already
    assert not check(tmp_path).count(Severity.ERROR)
    report = check(tmp_path, classes=["cat", "Dgo"])
    missing, others = told(report, Severity.ERROR)
    assert missing.endswith(
        "of the classes asked for, no object is of 'Dgo' (did you mean 'dog'?); classes that occur: cat 30, dog 30"
    )
    assert "30 objects are of classes not asked for: dog 30 (the first: " in others and "object 1 (dog)" in others


def test_a_class_that_never_occurs_alone_is_a_warning(tmp_path: Path) -> None:
    add(tmp_path, "train", "a", object_xml("cat"))
    report = check(tmp_path, classes=["cat", "zebra"])
    assert not report.count(Severity.ERROR)
    assert_one(told(report, Severity.WARNING), "no object is of 'zebra'; classes that occur: cat 1")


def test_a_class_asked_for_twice(tmp_path: Path) -> None:
    add(tmp_path, "train", "a", object_xml("cat"))
    with pytest.raises(ValueError, match="name each class once"):
        check(tmp_path, classes=["cat", "cat"])


def test_suspicious_boxes_are_warned_of(tmp_path: Path) -> None:
    add(tmp_path, "train", "a", object_xml(), object_xml("cat"), object_xml(box=(5, 5, 5, 9)), object_xml())
    report = check(tmp_path)
    assert not report.count(Severity.ERROR)
    one_pixel, twice = told(report, Severity.WARNING)
    assert "a.xml: object 2 (dog): bndbox: is 1 x 5 px" in one_pixel
    assert "a.xml: object 3 (dog): bndbox: has the class and box of object 0 (dog)" in twice


def test_an_image_in_train_and_test_is_warned_of(tmp_path: Path) -> None:
    for split in ("trainval", "train", "test"):
        add(tmp_path, split, "a", object_xml())
    warnings = told(check(tmp_path), Severity.WARNING)
    assert len(warnings) == 2  # test with train, test with trainval; train is part of trainval
    assert all("1 images are also in" in warning for warning in warnings)
    assert told(check(tmp_path, "train", "trainval"), Severity.WARNING) == []


def test_a_copy_of_a_training_image_in_test_is_warned_of(tmp_path: Path) -> None:
    add(tmp_path, "train", "a", object_xml(), shade=9)
    add(tmp_path, "train", "a_again", object_xml(), shade=9)
    add(tmp_path, "test", "b", object_xml(), shade=9)
    assert_one(told(check(tmp_path), Severity.WARNING), "b.png: in 'test': is byte for byte", ".png, in 'train'")


def test_names_that_differ_by_case_are_warned_of(tmp_path: Path) -> None:
    add(tmp_path, "train", "a", object_xml("Dog"), object_xml("dog"), object_xml("cat"))
    assert_one(told(check(tmp_path), Severity.WARNING), "the classes Dog, dog differ only by case")


def test_classes_only_in_test_are_warned_of(tmp_path: Path) -> None:
    add(tmp_path, "train", "a", object_xml("dog"))
    add(tmp_path, "test", "b", object_xml("cat"))
    assert_one(told(check(tmp_path), Severity.WARNING), "test.txt", "no other split has: cat")


def test_files_in_no_split_are_told(tmp_path: Path) -> None:
    for image_id in ("a", "spare", "only_xml", "only_image"):
        add(tmp_path, "train", image_id, object_xml())
    (tmp_path / "ImageSets/Main/train.txt").write_text("a\n")
    (tmp_path / "JPEGImages/only_xml.png").unlink()
    (tmp_path / "Annotations/only_image.xml").unlink()
    report = check(tmp_path)
    assert_one(told(report, Severity.WARNING), "Annotations: 1 files have no image: only_xml")
    unannotated, unused = told(report, Severity.INFO)
    assert "1 files have no annotation: only_image" in unannotated
    assert "1 files are in no split: spare" in unused


def test_images_turned_by_exif_are_told(tmp_path: Path) -> None:
    add(tmp_path, "train", "a", "<size><width>40</width><height>30</height></size>")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30)).save(tmp_path / "JPEGImages/a.png", exif=exif)
    report = check(tmp_path)
    assert_one(told(report, Severity.WARNING), "a.xml: size: says", "draw them anew")
    assert_one(told(report, Severity.INFO), "1 images are turned by their EXIF orientation (a)")


def test_a_folder_of_data_sets(tmp_path: Path) -> None:
    add(tmp_path / "VOC2007", "trainval", "a", object_xml(), shade=1)
    add(tmp_path / "VOC2012", "trainval", "b", object_xml(), shade=2)
    (tmp_path / "VOC2007/ImageSets/Main/dog_trainval.txt").write_text("a  1\n")
    report = check(tmp_path)
    assert list(report.splits) == ["VOC2007/trainval", "VOC2012/trainval"]
    assert report.faults == ()


def test_a_missing_folder_or_split_is_a_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(DatasetMissing, match="there is no such folder"):
        check(tmp_path / "gone")
    with pytest.raises(DatasetMissing, match="no data set is there"):
        check(tmp_path)
    add(tmp_path, "train", "a", object_xml())
    with pytest.raises(DatasetMissing, match=r"val\.txt is missing"):
        check(tmp_path, "val")


def test_faults_of_a_kind_follow_their_number(tmp_path: Path) -> None:
    for image_id in ("a", "b", "c"):
        add(tmp_path, "train", image_id, object_xml(box=(5, 5, 5, 9)))
    lines = list(check(tmp_path).lines(limit=2))
    assert lines[0] == "warning: 3 boxes are 1 px or less wide or high:"
    assert lines[1].endswith("a.xml: object 0 (dog): bndbox: is 1 x 5 px, is that meant?")
    assert lines[3] == "  ... and 1 more (--all lists them)"
    assert len([line for line in check(tmp_path).lines() if "is that meant" in line]) == 3


def scene(seed: int) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """An image with something to see: smooth random shapes."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(small, (160, 120), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def test_near_duplicates_between_splits_are_warned_of(tmp_path: Path) -> None:
    for split, image_id in (("train", "a"), ("train", "twin"), ("val", "b"), ("test", "c"), ("test", "d")):
        add(tmp_path, split, image_id, object_xml())
    images = tmp_path / "JPEGImages"
    for number, image_id in enumerate(("a", "d")):
        cv2.imwrite(str(images / f"{image_id}.png"), scene(number))
    half = cv2.resize(scene(0), (80, 60), interpolation=cv2.INTER_AREA)
    for image_id, pixels in (("twin", half), ("b", half), ("c", half[:, ::-1])):
        (images / f"{image_id}.png").unlink()
        cv2.imwrite(str(images / f"{image_id}.jpg"), pixels)
    (images / "b.jpg").write_bytes((images / "twin.jpg").read_bytes())  # told of as a copy, not again
    report = check(tmp_path)
    copied, *mirrored = told(report, Severity.WARNING)
    assert "b.jpg: in 'val': is byte for byte" in copied
    assert len(mirrored) == 2 and all("c.jpg: in 'test': mirrors" in warning for warning in mirrored)
    pairs = report.near_duplicates
    assert {(pair.first.name, pair.first_group) for pair in pairs} == {("twin.jpg", "train"), ("b.jpg", "val")}
    assert all(pair.is_mirrored and pair.second.name == "c.jpg" for pair in pairs)


def test_a_set_without_division_is_compared_with_itself_as_it_will_be_divided(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number}.xml").write_text(f"<annotation>{object_xml()}</annotation>")
        cv2.imwrite(str(tmp_path / f"{number}.jpg"), cv2.resize(scene(0), (100 + 5 * number, 100)))
    report = check(tmp_path)
    assert {(pair.first_group, pair.second_group) for pair in report.near_duplicates} == {("all[:80%]", "all[80%:]")}
    only = check_data(SplitReader(find_form(tmp_path)), ["all[:80%]"], None)
    assert list(only.splits) == ["all"]


def coco(root: Path, split: str, annotations: list[dict[str, Any]], **image: object) -> Path:
    """A split of one image of 40 x 30 px."""
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / split).mkdir()
    Image.new("RGB", (40, 30), (len(split), 0, 0)).save(root / split / "one.png")
    images = [{"id": 7, "file_name": "one.png", "height": 30, "width": 40} | image]
    categories = [{"id": 3, "name": "dog"}, {"id": 1, "name": "cat"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    path = root / "annotations" / f"instances_{split}.json"
    path.write_text(json.dumps(content))
    return path


def found(*box: float, category: int = 3) -> dict[str, Any]:
    return {"image_id": 7, "category_id": category, "bbox": list(box), "iscrowd": 0}


def test_coco(tmp_path: Path) -> None:
    coco(tmp_path, "train", [found(1, 2, 9, 9), found(1, 2, 9, 9, category=1), found(0, 0, 0.5, 9), found(1, 2, 9, 9)])
    coco(tmp_path, "test", [])
    report = check(tmp_path)
    tiny, again = told(report, Severity.WARNING)
    place = "instances_train.json: annotation"
    assert f"{place} 2 (dog): bbox: is 0.5 x 9 px" in tiny
    assert f"{place} 3 (dog): bbox: has the class and box of annotation 0 (dog); remove one" in again
    assert list(report.lines())[-6:] == [
        "test: 1 images of 40 x 30 px (1 without objects), 0 objects",
        "train: 1 images of 40 x 30 px (0 without objects), 4 objects",
        "class       test      train",
        "cat            0          1",
        "dog            0          3",
        "2 images, 2 splits: 0 errors, 2 warnings; training can start",
    ]


def test_images_of_another_size_than_stated(tmp_path: Path) -> None:
    coco(tmp_path, "train", [], width=41)
    assert_one(told(check(tmp_path), Severity.ERROR), "one.png: is 40 x 30 px, its annotations are for 41 x 30")


def test_a_missing_image_is_told_of_once(tmp_path: Path) -> None:
    coco(tmp_path, "train", [found(1, 2, 9, 9)])
    (tmp_path / "train/one.png").unlink()
    assert_one(told(check(tmp_path), Severity.ERROR), "none of its 1 images")


def test_yolo(tmp_path: Path) -> None:
    for split, labels in (("train", "0 0.5 0.5 0.01 0.5\n1 0.5 0.5 0.2\n"), ("val", "")):
        for folder in ("images", "labels"):
            (tmp_path / folder / split).mkdir(parents=True)
        Image.new("RGB", (40, 30), (len(split), 0, 0)).save(tmp_path / "images" / split / f"{split}.png")
        (tmp_path / "labels" / split / f"{split}.txt").write_text(labels)
    (tmp_path / "labels/train/orphan.txt").write_text("")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    broken = tmp_path / "images/train/broken.png"
    broken.write_bytes(b"GIF89a")
    (tmp_path / "labels/train/broken.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    report = check(tmp_path)
    line, image = sorted(told(report, Severity.ERROR), key=lambda text: "broken" in text)
    assert "labels/train/train.txt: line 2" in line and "broken.png: " in image
    orphan, thin = told(report, Severity.WARNING)
    assert "orphan.txt: has no image" in orphan and "train.txt: line 1 (cat): box: is 0.4 x 15 px" in thin
    assert "without objects: dog" in list(report.lines())


def test_a_split_that_lists_nothing_stops_training(tmp_path: Path) -> None:
    add(tmp_path, "train", "a", object_xml())
    (tmp_path / "ImageSets/Main/val.txt").write_text("")
    assert_one(told(check(tmp_path), Severity.ERROR), "val.txt: 'val' lists no images")
