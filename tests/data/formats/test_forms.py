"""Which form a folder has, what its splits are for, and splits that are divided."""

import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from detkit.data.faults import DatasetMissing, Severity
from detkit.data.formats.forms import (
    OF_OTHER_FORM,
    UNREAD,
    Form,
    Roles,
    SplitPart,
    describe_use,
    find_form,
    parse_split,
    roles,
)
from detkit.data.formats.opening import open_form
from tests.data.exports.truth import FOLDER

BOX = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>3</ymax></bndbox>"
COCO = '{"images": [], "annotations": [], "categories": []}'


def add_voc(folder: Path, count: int = 1, first: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        Image.new("RGB", (8, 6)).save(folder / f"{number}.png")
        name = "dog" if number % 2 else "cat"
        text = f"<annotation><object><name>{name}</name>{BOX}</object></annotation>"
        (folder / f"{number}.xml").write_text(text)
    return folder


def add_coco(root: Path) -> None:
    (root / "annotations").mkdir(parents=True)
    (root / "annotations" / "instances_val2017.json").write_text(COCO)
    (root / "annotations" / "image_info_test2017.json").write_text(COCO)


def add_yolo(root: Path) -> None:
    for folder in ("images/train", "labels/train"):
        (root / folder).mkdir(parents=True)
    Image.new("RGB", (8, 6)).save(root / "images/train/a.png")
    (root / "labels/train/a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (root / "data.yaml").write_text("train: images/train\nnames: [dog]\n")


def test_each_form_is_found_and_described(tmp_path: Path) -> None:
    add_voc(tmp_path / "voc" / "train")
    add_voc(tmp_path / "voc" / "valid", first=1)
    add_coco(tmp_path / "coco")
    add_yolo(tmp_path / "yolo")
    assert find_form(tmp_path / "voc") == Form("voc", tmp_path / "voc", ("train", "valid"))
    assert find_form(tmp_path / "voc").describe() == f"{tmp_path}/voc: VOC form, splits train, valid"
    described = f"{tmp_path}/coco: COCO form, split val2017 (instances_val2017.json)"  # not the test, which has none
    assert find_form(tmp_path / "coco").describe() == described
    assert find_form(tmp_path / "yolo", "yolo").splits == ("train",)
    assert open_form(find_form(tmp_path / "yolo"), ["train"], None).image_ids == ("a",)


def test_nothing_and_two_forms_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DatasetMissing, match="there is no such folder"):
        find_form(tmp_path / "gone")
    with pytest.raises(DatasetMissing, match=r"looked for ImageSets/Main/\*\.txt.*instances_\*\.json.*data\.yaml"):
        find_form(tmp_path)
    add_yolo(tmp_path)
    add_coco(tmp_path)
    with pytest.raises(ValueError, match=r"fits 2 forms, coco \(val2017\) and yolo \(train\); say which"):
        find_form(tmp_path)
    assert find_form(tmp_path, "coco").kind == "coco"
    with pytest.raises(DatasetMissing, match=r"ImageSets.*\(voc\)$"):
        find_form(tmp_path, "voc")


def test_folders_of_images_that_no_split_reads_are_told(tmp_path: Path) -> None:
    add_voc(tmp_path / "train")
    for name in ("val", "train2", "samples", "test"):
        (tmp_path / name).mkdir()
    for name in ("val", "train2", "samples"):
        Image.new("RGB", (8, 6)).save(tmp_path / name / "a.png")
    form = find_form(tmp_path)
    assert form.splits == ("train",)
    assert [(fault.file.name, fault.severity, fault.summary) for fault in form.faults] == [
        ("train2", Severity.WARNING, UNREAD),
        ("val", Severity.WARNING, UNREAD),
    ]


def test_folders_that_a_split_of_another_name_reads_are_not_told(tmp_path: Path) -> None:
    for folder in ("training", "valid", "test"):
        for inner in ("images", "labels"):
            (tmp_path / folder / inner).mkdir(parents=True)
        Image.new("RGB", (8, 6)).save(tmp_path / folder / "images/a.png")
        (tmp_path / folder / "labels/a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "data.yaml").write_text(
        "train: training/images\nval: ../valid/images\ntest: test/images\nnames: [dog]\n"
    )
    assert find_form(tmp_path) == Form("yolo", tmp_path, ("train", "val", "test"))


def test_broken_files_of_another_form_do_not_stop(tmp_path: Path) -> None:
    add_voc(tmp_path)
    (tmp_path / "data.yaml").write_text("[")
    (tmp_path / "numbers.data").write_bytes(b"\xff\x00")
    form = find_form(tmp_path)
    assert (form.kind, [fault.summary for fault in form.faults]) == ("voc", [OF_OTHER_FORM])
    assert "data.yaml: is not valid YAML" in str(form.faults[0])
    with pytest.raises(ValueError, match=r"data\.yaml: is not valid YAML"):
        find_form(tmp_path, "yolo")


@pytest.mark.parametrize(
    ("splits", "train", "val", "test"),
    [
        (("train", "val", "test"), ("train",), ("val",), ("test",)),
        (("train2017", "val2017"), ("train2017",), (), ("val2017",)),
        (("train", "valid", "test"), ("train",), ("valid",), ("test",)),
        (("train", "dev"), ("train",), (), ("dev",)),
        (("test", "train", "trainval", "val"), ("train",), ("val",), ("test",)),
        (("trainval", "test"), ("trainval",), (), ("test",)),
        (("VOC2007/test", "VOC2007/trainval", "VOC2012/trainval"), None, (), ("VOC2007/test",)),
        (("VOC2007_test", "VOC2007_trainval"), ("VOC2007_trainval",), (), ("VOC2007_test",)),
        (("train",), ("train[:80%]",), (), ("train[80%:]",)),
        (("all",), ("all[:80%]",), (), ("all[80%:]",)),
        (("a", "b"), ("a[:80%]", "b[:80%]"), (), ("a[80%:]", "b[80%:]")),
        (("train", "other"), ("train[:80%]",), (), ("train[80%:]",)),
    ],
)
def test_roles_follow_from_names(
    splits: tuple[str, ...], train: tuple[str, ...] | None, val: tuple[str, ...], test: tuple[str, ...]
) -> None:
    expected = Roles(splits[1:] if train is None else train, val, test)
    assert roles(Form("voc", Path("x"), splits)) == expected


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("train", ("train", SplitPart())),
        ("VOC2007/all[:80%]", ("VOC2007/all", SplitPart(0, 80))),
        ("all[80%:]", ("all", SplitPart(80, 100))),
        ("all[5%:10%]", ("all", SplitPart(5, 10))),
        ("odd[1]", ("odd[1]", SplitPart())),
    ],
)
def test_splits_are_parsed(split: str, expected: tuple[str, SplitPart]) -> None:
    assert parse_split(split) == expected


@pytest.mark.parametrize("split", ["a[80%]", "a[80%:80%]", "a[:101%]", "a[x%:]", "a[0%:0%]"])
def test_bad_parts_are_errors(split: str) -> None:
    with pytest.raises(ValueError, match="split 'a"):
        parse_split(split)


def test_parts_are_stable_and_share_nothing() -> None:
    ids = [str(number) for number in range(1000)]
    train = {image_id for image_id in ids if image_id in SplitPart(0, 80)}
    assert train.isdisjoint(image_id for image_id in ids if image_id in SplitPart(80, 100))
    assert 760 < len(train) < 840
    assert [image_id for image_id in ids[:12] if image_id not in train] == [
        "0",
        "5",
        "7",
    ]  # as on every machine, for ever


def test_parts_are_opened_with_the_classes_of_the_whole(tmp_path: Path) -> None:
    form = find_form(add_voc(tmp_path / "set", 12))
    whole = open_form(form, ["all"], None)
    train, test = (open_form(form, [split], None) for split in ("all[:80%]", "all[80%:]"))
    assert sorted(train.image_ids + test.image_ids) == sorted(whole.image_ids)
    assert test.classes == train.classes == ("cat", "dog")
    assert all(path.stem == image_id for path, image_id in zip(test.paths, test.image_ids, strict=True))
    expected = ["dog" if int(image_id) % 2 else "cat" for image_id in test.image_ids]
    assert [test.classes[label] for label in test.ground_truth().objects.labels] == expected
    with pytest.raises(ValueError, match=r"\['all\[99%:\]'\] has none of 12 images"):
        open_form(form, ["all[99%:]"], None)


def test_parts_of_several_splits(tmp_path: Path) -> None:
    add_voc(tmp_path / "a", 12)
    add_voc(tmp_path / "b", 12, first=100)
    found = open_form(find_form(tmp_path), ["a", "b[80%:]"], None).image_ids
    assert set(found) == {str(n) for n in range(12)} | {str(n) for n in range(100, 112) if str(n) in SplitPart(80, 100)}


@pytest.mark.parametrize("export", ["labelme_rectangles", "datumaro_open_images", "datasets_imagefolder_names"])
def test_a_folder_of_images_that_lost_its_annotations_is_told_of(export: str, tmp_path: Path) -> None:
    shutil.copytree(FOLDER / export, tmp_path / "set")
    assert find_form(tmp_path / "set").faults == ()
    for path in (tmp_path / "set").rglob("*"):
        if re.search("val", str(path.relative_to(tmp_path))) and path.suffix in {".json", ".jsonl", ".csv"}:
            path.unlink()
    form = find_form(tmp_path / "set")
    assert form.splits == ("train",)
    [fault] = form.faults
    assert fault.severity is Severity.WARNING and "has images that are in no split" in str(fault)


def test_what_splits_are_used_for_is_said() -> None:
    splits = ("extra", "test", "train", "val")
    told = "training on train; testing on test; weights are chosen on val; not used: extra"
    assert describe_use(Form("coco", Path("set"), splits)) == told
    assert describe_use(Form("coco", Path("set"), ("val", "x"))) == "training on nothing; testing on val; not used: x"
