"""Splits of YOLO's form that files name: each is read, or it is told why not."""

from pathlib import Path

import pytest
from PIL import Image

from detkit.data.faults import FaultError, Severity
from detkit.data.formats.forms import find_form
from detkit.data.formats.opening import open_form
from detkit.data.formats.yolo import read_yolo_split
from detkit.data.formats.yolo_layout import NOT_THERE, find_layout, yolo_layout_faults
from detkit.data.formats.yolo_places import label_path

DOG = "0 0.5 0.5 0.5 0.5\n"


def image(path: Path, label: Path | None = None) -> Path:
    """An image, and a file of one dog where `label` says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 20)).save(path)
    if label is not None:
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(DOG)
    return path


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def darknet(root: Path, prefix: str = "data/") -> Path:
    """As CVAT writes it: paths begin with data/, the folder that darknet takes it from."""
    for name in ("a", "b", "c"):
        image(root / f"obj_train_data/{name}.png", root / f"obj_train_data/{name}.txt")
    write(root / "train.txt", f"{prefix}obj_train_data/a.png\n{prefix}obj_train_data/b.png\n")
    write(root / "valid.txt", f"{prefix}obj_train_data/c.png\n")
    write(root / "obj.names", "dog\ncat\n")
    pairs = f"classes = 2\ntrain = {prefix}train.txt\nvalid = {prefix}valid.txt\nnames = {prefix}obj.names\n"
    write(root / "obj.data", f"{pairs}backup = backup/\n")
    return root


@pytest.mark.parametrize("prefix", ["data/", "", "build/darknet/x64/data/", "/home/me/darknet/data/"])
@pytest.mark.parametrize("has_data_file", [True, False])
def test_lists_of_darknet_divide_a_set(tmp_path: Path, prefix: str, has_data_file: bool) -> None:
    darknet(tmp_path, prefix)
    if not has_data_file:
        (tmp_path / "obj.data").unlink()
    form = find_form(tmp_path)
    assert (form.kind, form.splits, form.faults) == ("yolo", ("train", "valid"), ())
    train, valid = (open_form(form, [split], None, pytest.fail) for split in form.splits)
    assert (train.image_ids, valid.image_ids) == (("a", "b"), ("c",))
    assert train.classes == ("dog", "cat")


def test_a_data_file_of_any_name(tmp_path: Path) -> None:
    (darknet(tmp_path) / "obj.data").rename(tmp_path / "fish.data")
    assert find_form(tmp_path).splits == ("train", "valid")
    write(tmp_path / "obj.data", (tmp_path / "fish.data").read_text())
    with pytest.raises(ValueError, match=r"has 2 files that describe a data set \(fish\.data, obj\.data\); keep one"):
        find_form(tmp_path)


@pytest.mark.parametrize("has_data_file", [True, False])
@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("gone.png\n", "image is there"),
        ("a" * 300 + "/gone.png\n", "image is there"),
        ("", "image is there"),
        ("obj_train_data/d.png\n", "image has a label file"),
    ],
)
def test_lists_that_are_of_no_use_are_errors(tmp_path: Path, has_data_file: bool, lines: str, why: str) -> None:
    darknet(tmp_path)
    image(tmp_path / "obj_train_data/d.png")
    write(tmp_path / "valid.txt", lines)
    if not has_data_file:
        (tmp_path / "obj.data").unlink()
    form = find_form(tmp_path)
    (fault,) = form.faults
    assert (form.splits, fault.severity, fault.summary) == (("train",), Severity.ERROR, NOT_THERE)
    assert "'valid'" in str(fault) and "valid.txt" in str(fault)
    assert has_data_file or f"of which no {why}" in str(fault)


def test_no_list_vanishes_where_all_are_of_no_use(tmp_path: Path) -> None:
    image(tmp_path / "images/a.png", tmp_path / "labels/a.txt")
    write(tmp_path / "classes.txt", "dog\n")
    write(tmp_path / "train.txt", "elsewhere/a.png\n")
    write(tmp_path / "val.txt", "elsewhere/b.png\n")
    write(tmp_path / "train_log.txt", "lists nothing\n")
    form = find_form(tmp_path)
    assert form.splits == ("all",)
    assert [fault.message.split()[0] for fault in form.faults] == ["'train'", "'val'"]
    assert {fault.severity for fault in form.faults} == {Severity.ERROR}


@pytest.mark.parametrize(
    ("entry", "severity", "why"),
    [
        ("val: images/val", Severity.ERROR, "'val' is 'images/val' in data.yaml, of which no image has a label file"),
        ("val: images/gone", Severity.WARNING, "'val' is 'images/gone' in data.yaml, which is not there"),
        ("test: images/val", Severity.WARNING, "'test' is 'images/val' in data.yaml, of which no image has a label"),
        ("val: [images/train, images/gone]", Severity.WARNING, "'val' is 'images/gone' in data.yaml, which is not"),
    ],
)
def test_splits_of_a_yaml_that_cannot_be_read_are_told(
    tmp_path: Path, entry: str, severity: Severity, why: str
) -> None:
    image(tmp_path / "images/train/a.png", tmp_path / "labels/train/a.txt")
    image(tmp_path / "images/val/b.png")
    file = write(tmp_path / "data.yaml", f"train: images/train\n{entry}\nnames: [dog]\n")
    (fault,) = yolo_layout_faults(tmp_path)
    assert (fault.file, fault.severity, fault.summary) == (file, severity, NOT_THERE)
    assert why in fault.message
    assert fault.message.endswith("put it there, or take it out of the file")
    assert fault in find_form(tmp_path).faults


def test_images_are_told_once(tmp_path: Path) -> None:
    image(tmp_path / "images/train/a.png", tmp_path / "labels/train/a.txt")
    image(tmp_path / "images/val/b.png")
    write(tmp_path / "data.yaml", "train: images/train\nval: images/val\nnames: [dog]\n")
    assert len(find_form(tmp_path).faults) == 1  # of the file, not of the folder images/val once more
    write(tmp_path / "data.yaml", "train: images/train\nnames: [dog]\n")
    (fault,) = find_form(tmp_path).faults
    assert (fault.file, fault.severity) == (tmp_path / "images/val", Severity.WARNING)


def test_labels_of_voc_named_folders(tmp_path: Path) -> None:
    assert label_path(tmp_path / "JPEGImages/x/a.png", tmp_path) == tmp_path / "labels/x/a.txt"
    assert label_path(tmp_path / "train/a.png", tmp_path) == tmp_path / "train/a.txt"
    image(tmp_path / "JPEGImages/a.png", tmp_path / "labels/a.txt")
    write(tmp_path / "data.yaml", "train: JPEGImages\nnames: [dog]\n")
    assert find_layout(tmp_path).places == {"train": (tmp_path / "JPEGImages",)}


def test_a_root_that_is_relative_and_lists_that_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = tmp_path / "images" / "set"  # a folder above is named images
    image(top / "train/a.png", top / "train/a.txt")
    image(top / "train/b.png", top / "train/b.txt")
    write(top / "train.txt", f"{top}/train/a.png\ntrain/b.png\n")
    write(top / "data.yaml", "train: train.txt\nnames: [dog]\n")
    monkeypatch.chdir(top.parent)
    data = open_form(find_form(Path("set")), ["train"], None, pytest.fail)
    assert (data.image_ids, len(data.ground_truth().objects)) == (("a", "b"), 2)


def test_labels_without_image_in_folders_of_their_own_are_told(tmp_path: Path) -> None:
    image(tmp_path / "images/train/a.png", tmp_path / "labels/train/a.txt")
    image(tmp_path / "images/train/deep/b.png", tmp_path / "labels/train/deep/b.txt").unlink()
    write(tmp_path / "classes.txt", "dog\n")
    (fault,) = read_yolo_split(tmp_path, "train").faults
    assert (str(fault), fault.severity) == (f"{tmp_path}/labels/train/deep/b.txt: has no image", Severity.WARNING)


def test_corners_in_place_of_centre_and_size_stop(tmp_path: Path) -> None:
    image(tmp_path / "images/train/a.png", tmp_path / "labels/train/a.txt")
    write(tmp_path / "labels/train/a.txt", "0 0.5 0.5 0.9 0.8\n0 0.1 0.1 0.3 0.2\n0 0.6 0.1 0.9 0.9\n")
    write(tmp_path / "classes.txt", "dog\n")
    with pytest.raises(FaultError, match=r"all 3 boxes look like corners .* write class cx cy w h"):
        open_form(find_form(tmp_path), ["train"], None)


def test_a_copied_set_is_read_from_its_own_folder(tmp_path: Path) -> None:
    """FiftyOne writes the path of the machine, which may still have the set that this one was copied from."""
    for name, count in (("old", 2), ("new", 3)):
        for folder in ("images/train", "labels/train"):
            (tmp_path / name / folder).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (8, 8)).save(tmp_path / name / f"images/train/{number}.png")
            (tmp_path / name / f"labels/train/{number}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
        text = f"path: {tmp_path}/old\ntrain: images/train\nval: {tmp_path}/old/images/train\nnames: [dog]\n"
        (tmp_path / name / "data.yaml").write_text(text)
    places = find_layout(tmp_path / "new").places
    assert places == {"train": (tmp_path / "new/images/train",), "val": (tmp_path / "new/images/train",)}


def test_a_place_outside_of_the_folder_is_told(tmp_path: Path) -> None:
    for folder in ("elsewhere/images", "elsewhere/labels", "set"):
        (tmp_path / folder).mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "elsewhere/images/a.png")
    (tmp_path / "elsewhere/labels/a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "set/data.yaml").write_text(f"train: {tmp_path}/elsewhere/images\nnames: [dog]\n")
    [fault] = find_form(tmp_path / "set").faults
    assert fault.severity is Severity.WARNING and f"'train' is read from {tmp_path}/elsewhere/images" in str(fault)
