"""YOLO files: where they are found, what is read, and what is refused with file, line and field."""

import math
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detkit.data.dataset import DetectionDataset
from detkit.data.faults import CLIPPED, DatasetMissing, FaultError, Severity
from detkit.data.formats.forms import Form
from detkit.data.formats.opening import open_form
from detkit.data.formats.yolo import NO_IMAGE, read_yolo_split
from detkit.data.formats.yolo_labels import NO_AREA, TWICE, YoloLabels, parse_labels
from detkit.data.formats.yolo_layout import find_yolo_splits

HEIGHT, WIDTH = 20, 40
NAMES = ("dog", "cat")
DOG = "0 0.5 0.5 0.5 0.5\n"  # (10, 5, 30, 15) px


def image(path: Path, labels: str | None = DOG, beside: bool = False, shade: int = 0) -> Path:
    """An image, and its label file where `labels` is not None."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT), (shade, 2, 3)).save(path)
    if labels is not None:
        parts = list(path.with_suffix(".txt").parts)
        if not beside:
            parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
        Path(*parts).parent.mkdir(parents=True, exist_ok=True)
        Path(*parts).write_text(labels)
    return path


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def parse(tmp_path: Path, text: str | bytes) -> YoloLabels:
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return parse_labels(path, (HEIGHT, WIDTH), NAMES)


# One label file


@pytest.mark.parametrize(
    ("line", "box", "area"),
    [
        ("0 0.5 0.5 1 1", [0, 0, 40, 20], 800),
        ("0 0.25 0.5 0.125 0.1", [7.5, 9, 12.5, 11], 10),
        ("  0.0\t5e-1 .5 1. 1.0  \r", [0, 0, 40, 20], 800),
        ("0 0 0 0.5 0 0.5 0.5", [0, 0, 20, 10], 100),  # a triangle: half of its box
        ("0 0.1 0.2 0.3 0.2 0.3 0.6 0.1 0.6", [4, 4, 12, 12], 64),
    ],
)
def test_lines_that_are_read(tmp_path: Path, line: str, box: list[float], area: float) -> None:
    found = parse(tmp_path, f"\ufeff{line}\n\n")
    assert found.faults == ()
    assert found.objects.labels.tolist() == [0]
    assert found.objects.boxes.dtype == np.float64
    np.testing.assert_allclose(found.objects.boxes, [box], atol=1e-12)
    np.testing.assert_allclose(found.objects.area, [area], atol=1e-12)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.5", "line 1 (dog): has 4 numbers, expected class cx cy w h"),
        ("0 0.5 0.5 0.5 0.5 0.9", "line 1 (dog): has 6 numbers, the last looks like a confidence"),
        ("0 .1 .1 .2 .2 .3 .3 .4", "has 8 numbers"),
        ("0 0.5 x 0.5 0.5", "line 1 (dog): box: 'x' is no finite number"),
        ("0 0.5 nan 0.5 0.5", "'nan' is no finite number"),
        ("0 0.5 1e999 0.5 0.5", "'1e999' is no finite number"),
        ("0 0.5 0_5 0.5 0.5", "'0_5' is no finite number"),
        ("dog 0.5 0.5 0.5 0.5", "line 1: class: is 'dog', expected the number of a class"),
        ("0.5 0.5 0.5 0.5 0.5", "class: is '0.5', expected the number"),
        ("2 0.5 0.5 0.5 0.5", "line 1: class: is 2, expected 0..1"),
        ("-1 0.5 0.5 0.5 0.5", "class: is -1, expected 0..1"),
        ("1 120 0.5 60 0.5", "line 1 (cat): box: 120 looks like pixels"),
        ("0 1.02 0.5 0.5 0.5", "1.02 is outside 0..1"),
        ("0 0.5 -0.02 0.5 0.5", "-0.02 is outside 0..1"),
        ("0 0.5 0.5 -0.005 0.5", "has the size -0.005 x 0.5"),
        ("0 0.1 0.1 7 0.1 0.3 0.3", "7 looks like pixels"),
    ],
)
def test_lines_that_are_errors(tmp_path: Path, line: str, message: str) -> None:
    found = parse(tmp_path, line)
    assert len(found.objects) == 0
    assert [fault.severity for fault in found.faults] == [Severity.ERROR]
    assert message in str(found.faults[0])
    assert str(found.faults[0]).startswith(str(tmp_path / "a.txt"))


@pytest.mark.parametrize(
    ("line", "boxes", "summary"),
    [
        ("0 0.75 0.5 1 0.5", [[10, 5, 40, 15]], CLIPPED),
        ("0 1.005 0.5 0.5 0.5", [[30.2, 5, 40, 15]], CLIPPED),
        ("0 -0.01 0 0.5 0 0.5 0.5", [[0, 0, 20, 10]], CLIPPED),
        ("0 0.5 0.5 0 0.5", [], NO_AREA),
        ("0 1.01 0.5 0.01 0.5", [], NO_AREA),
        (DOG + DOG, [[10, 5, 30, 15]], TWICE),
    ],
)
def test_lines_that_are_mended_with_a_warning(
    tmp_path: Path, line: str, boxes: list[list[float]], summary: str
) -> None:
    found = parse(tmp_path, line)
    np.testing.assert_allclose(found.objects.boxes, np.reshape(boxes, (-1, 4)), atol=1e-9)
    assert [(fault.severity, fault.summary) for fault in found.faults] == [(Severity.WARNING, summary)]


def test_six_digits_at_the_border_are_no_fault(tmp_path: Path) -> None:
    found = parse(tmp_path, "0 0.833334 0.5 0.333333 1.0")
    assert found.faults == ()
    assert found.objects.boxes[0, 2] == WIDTH


def test_files_without_lines_or_not_there_have_no_objects(tmp_path: Path) -> None:
    assert len(parse(tmp_path, "").objects) == len(parse(tmp_path, " \n\n").objects) == 0
    gone = parse_labels(tmp_path / "gone.txt", (HEIGHT, WIDTH), NAMES)
    assert gone.objects.boxes.shape == (0, 4) and gone.faults == ()


def test_files_that_are_no_text_and_places_of_objects(tmp_path: Path) -> None:
    assert "cannot be read as UTF-8" in str(parse(tmp_path, b"\xff\xfe0\0").faults[0])
    found = parse(tmp_path, "1 0.5 0.5 0.5 0.5\n\n" + DOG)
    assert found.places == ("line 1 (cat)", "line 3 (dog)") and found.faults == ()
    assert found.stated == ((0.5, 0.5, 0.5, 0.5),) * 2


def test_centre_and_size_come_back_from_pixels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(0, 1, (50, 2, 2)), axis=1)
    rows = np.concatenate([corners.mean(axis=1), corners[:, 1] - corners[:, 0]], axis=1)
    found = parse(tmp_path, "".join("0 " + " ".join(map(repr, row)) + "\n" for row in rows.tolist()))
    expected = corners.reshape(-1, 4) * [WIDTH, HEIGHT, WIDTH, HEIGHT]
    np.testing.assert_allclose(found.objects.boxes, expected, atol=1e-12)


# The data set


def ultralytics(root: Path, yaml: str = "path: .\ntrain: images/train\nval: images/val\nnames: [dog, cat]\n") -> Path:
    image(root / "images/train/a.png", "1 0.5 0.5 0.5 0.5\n" + DOG)
    image(root / "images/train/b.png", None, shade=9)
    image(root / "images/val/c.png")
    write(root / "data.yaml", yaml)
    return root


def test_a_data_set_reads_images_and_targets(tmp_path: Path) -> None:
    data: DetectionDataset = open_form(Form("yolo", ultralytics(tmp_path), ()), ["train"], None, pytest.fail)
    assert data.classes == NAMES
    assert data.image_ids == ("a", "b")
    assert data.size(0) == (HEIGHT, WIDTH)
    sample = data.read(0)
    assert sample.target is not None
    assert sample.target.labels.tolist() == [1, 0]
    assert sample.target.boxes.tolist() == [[10, 5, 30, 15]] * 2
    assert not sample.target.ignore.any()
    assert len(data.target(1).boxes) == 0
    assert data.ground_truth().category_numbers == (1, 2)


def test_given_classes_are_matched_by_name(tmp_path: Path) -> None:
    data = open_form(Form("yolo", ultralytics(tmp_path), ()), ["train", "val"], ["cat", "cow", "dog"], pytest.fail)
    assert data.ground_truth().objects.labels.tolist() == [0, 2, 2]
    with pytest.raises(ValueError, match=r"labels/train/a\.txt: line 1 \(cat\): class: 'cat' is not one of"):
        open_form(Form("yolo", tmp_path, ()), ["train"], ["dog"])


@pytest.mark.parametrize(
    "yaml",
    [
        "path: /home/other/machine\ntrain: images/train\nval: images/val\nnames: {0: dog, 1: cat}\nnc: 2\n",
        "path: ../datasets/mine\ntrain: ./images/train/\nval: [images/val]\nnames: [dog, cat]\n",
        "train: ../images/train\nval: ../images/val\ntest: ../images/test\nnc: 2\nnames: [dog, cat]\nroboflow: {}\n",
        "train: /home/me/x/images/train\nval: C:\\data\\images\\val\nnames: [dog, cat]\n",
        "train: [images/train]\nval: val.txt\nnames: [dog, cat]\n",
    ],
)
def test_places_in_the_yaml_are_found(tmp_path: Path, yaml: str) -> None:
    write(ultralytics(tmp_path, yaml) / "val.txt", "./images/val/c.png\n\n")
    assert find_yolo_splits(tmp_path) == ("train", "val")
    assert open_form(Form("yolo", tmp_path, ()), ["train", "val"], None, pytest.fail).image_ids == ("a", "b", "c")


def test_a_folder_that_the_path_names_is_used(tmp_path: Path) -> None:
    ultralytics(tmp_path / "images")
    root = tmp_path / "yaml"
    root.mkdir()
    write(root / "mine.yml", f"path: {tmp_path / 'images'}\ntrain: images/val\nnames: [dog, cat]\n")
    assert open_form(Form("yolo", root, ()), ["train"], None).image_ids == ("c",)


@pytest.mark.parametrize(
    ("place", "images", "splits", "ids"),
    [
        ("classes.txt", ["images/train/a.png", "images/test/b.png"], ("test", "train"), {"train": "a"}),
        ("obj.names", ["train/images/a.png", "valid/images/b.png"], ("train", "valid"), {"valid": "b"}),
        ("train/_darknet.labels", ["train/a.png", "valid/b.png"], ("train", "valid"), {"train": "a"}),
        ("classes.txt", ["images/a.png"], ("all",), {"all": "a"}),
        ("classes.txt", ["a.png"], ("all",), {"all": "a"}),
        ("classes.txt", ["images/train/x/a 1.png"], ("train",), {"train": "x_a_1"}),
    ],
)
def test_shapes_without_yaml(
    tmp_path: Path, place: str, images: list[str], splits: tuple[str, ...], ids: dict[str, str]
) -> None:
    for name in images:
        image(tmp_path / name, beside="images" not in name)
    write(tmp_path / place, "dog\ncat\n")
    assert find_yolo_splits(tmp_path) == splits
    for split, image_id in ids.items():
        data = open_form(Form("yolo", tmp_path, ()), [split], None, pytest.fail)
        assert (data.image_ids, data.classes, len(data.ground_truth().objects)) == ((image_id,), NAMES, 1)


def test_without_names_an_error_says_what_to_write(tmp_path: Path) -> None:
    image(tmp_path / "images/train/a.png")
    assert find_yolo_splits(tmp_path) == ("train",)
    with pytest.raises(ValueError, match=r"no file names the classes; write a data\.yaml"):
        open_form(Form("yolo", tmp_path, ()), ["train"], None)


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("train: images/train\nnames: [dog, cat\n", "is not valid YAML"),
        ("train: images/train\nnames: " + "[" * 3000, "is not valid YAML"),
        ("train: !!python/object/apply:os.getcwd []\nnames: [dog]\n", "is not valid YAML"),
        ("train: 3\nnames: [dog]\n", "train: is 3, expected a folder"),
        ("train: images/train\nnc: 2\n", "names: is None, expected a list"),
        ("train: images/train\nnames: []\n", "expected a list of class names"),
        ("train: images/train\nnames: {1: dog, 2: cat}\n", "names: has the numbers [1, 2], expected 0, 1, 2"),
        ("train: images/train\nnames: [dog, no]\n", "names: False is no text; put it in quotes"),
        ("train: images/train\nnames: [dog, [cat]]\n", "is no text"),
        ("train: images/train\nnames: [dog, dog]\n", "class 1: 'dog' is also that of class 0"),
        ("train: images/train\nnames: [dog, a/b]\n", "class 1: 'a/b' must be"),
        ("train: images/train\nnames: [dog, cat]\nnc: 3\n", "nc: is 3, but names has 2"),
        ("train: images/train\nnames: [dog]\nkpt_shape: [17, 3]\n", "labels of poses are not read"),
        ("#" + "x" * 300_000, "at most 262,144 are read"),
    ],
)
def test_yaml_files_that_are_refused(tmp_path: Path, yaml: str, message: str) -> None:
    ultralytics(tmp_path, yaml)
    with pytest.raises(ValueError) as caught:
        open_form(Form("yolo", tmp_path, ()), ["train"], None)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "data.yaml"))


def test_several_yaml_files(tmp_path: Path) -> None:
    ultralytics(tmp_path)
    write(tmp_path / "other.yaml", "train: images/val\nnames: [x]\n")
    write(tmp_path / "broken.yaml", "[")
    assert open_form(Form("yolo", tmp_path, ()), ["train"], None).classes == NAMES
    (tmp_path / "data.yaml").rename(tmp_path / "third.yaml")
    with pytest.raises(ValueError, match=r"has 2 YAML files .*\(other.yaml, third.yaml\); keep one"):
        find_yolo_splits(tmp_path)


def test_splits_that_are_not_there_or_have_no_labels(tmp_path: Path) -> None:
    ultralytics(tmp_path, "train: images/train\nval: images/test\ntest: images/gone\nnames: [dog, cat]\n")
    image(tmp_path / "images/test/t.png", None)
    assert find_yolo_splits(tmp_path) == ("train",)
    assert find_yolo_splits(tmp_path / "gone") == ()
    with pytest.raises(DatasetMissing, match=r"'test' is 'images/gone' in data\.yaml, which is not.*: train"):
        open_form(Form("yolo", tmp_path, ()), ["test"], None)
    with pytest.raises(DatasetMissing, match=r"'val' is .* of which no image has a label file"):
        open_form(Form("yolo", tmp_path, ()), ["val"], None)
    with pytest.raises(DatasetMissing, match=r"'dev' is neither in a data\.yaml"):
        open_form(Form("yolo", tmp_path, ()), ["dev"], None)


def test_ids_must_differ(tmp_path: Path) -> None:
    ultralytics(tmp_path)
    image(tmp_path / "images/val/a.png", shade=5)
    both = open_form(Form("yolo", tmp_path, ()), ["train", "val"], None, pytest.fail)
    assert both.image_ids == ("train_a", "b", "val_a", "c")  # of two splits: their images are two
    image(tmp_path / "images/train/x y.png")
    image(tmp_path / "images/train/x_y.png", shade=7)
    with pytest.raises(ValueError, match=r"x_y\.png: has the id of .*x y\.png, 'x_y'"):
        open_form(Form("yolo", tmp_path, ()), ["train"], None)


def test_lists_of_folders_and_of_images(tmp_path: Path) -> None:
    ultralytics(tmp_path, "train: [images/train, images/val]\nval: val.txt\nnames: [dog, cat]\n")
    write(tmp_path / "val.txt", f"{tmp_path}/images/val/c.png\nimages/train/a.png\n/other/images/val/c.png\n")
    assert open_form(Form("yolo", tmp_path, ()), ["train"], None).image_ids == ("train_a", "train_b", "val_c")
    warnings: list[str] = []
    assert open_form(Form("yolo", tmp_path, ()), ["val"], None, warnings.append).image_ids == ("val_c", "train_a")
    assert len(warnings) == 1 and "listed before in 'val'" in warnings[0]
    write(tmp_path / "val.txt", "images/val/c.png\nimages/val/gone.png\n")
    with pytest.raises(ValueError, match=r"val\.txt: line 2: 'images/val/gone\.png' is not there"):
        open_form(Form("yolo", tmp_path, ()), ["val"], None)


def test_warnings_are_told_once_a_kind(tmp_path: Path) -> None:
    root = ultralytics(tmp_path)
    write(root / "labels/train/a.txt", "0 0.9 0.5 0.5 0.5\n" * 3 + "1 0.9 0.5 0.5 0.5\n")
    write(root / "labels/train/orphan.txt", DOG)
    warnings: list[str] = []
    open_form(Form("yolo", root, ()), ["train"], None, warnings.append)
    assert len(warnings) == 3
    assert f"1 {NO_IMAGE}" in warnings[0]
    assert f"4 {CLIPPED}; the first: {root}/labels/train/a.txt: line 1 (dog): box" in warnings[1]
    assert f"2 {TWICE}" in warnings[2]


def test_a_split_as_read_holds_every_fault(tmp_path: Path) -> None:
    root = ultralytics(tmp_path)
    write(root / "labels/train/a.txt", "7 0.5 0.5 0.5 0.5\n" + DOG)
    write(root / "labels/train/orphan.txt", DOG)
    write(root / "images/train/b.png", "")
    read = read_yolo_split(root, "train")
    assert (read.truth.classes, read.truth.image_ids) == (NAMES, ("a", "b"))
    assert read.truth.sizes.tolist() == [[HEIGHT, WIDTH], [0, 0]]
    assert read.truth.objects.boxes.tolist() == [[10, 5, 30, 15]]
    assert read.name_object(0) == "line 2 (dog)" and read.annotation_of(0) == root / "labels/train/a.txt"
    assert [(fault.file.name, fault.field, fault.severity) for fault in read.faults] == [
        ("orphan.txt", "", Severity.WARNING),
        ("data.yaml", "", Severity.INFO),
        ("a.txt", "class", Severity.ERROR),
        ("b.png", "", Severity.ERROR),
    ]
    with pytest.raises(ValueError, match=r"expected 0\.\.1"):
        open_form(Form("yolo", root, ()), ["train"], None)
    write(root / "labels/train/a.txt", DOG)
    with pytest.raises(FaultError, match=r"b\.png: the file is empty"):
        open_form(Form("yolo", root, ()), ["train"], None)


def test_an_outline_without_area_has_that_of_its_box(tmp_path: Path) -> None:
    bow_tie = "0 0 0 0.5 0.5 0.5 0 0 0.5"
    found = parse(tmp_path, bow_tie)
    assert math.isclose(found.objects.area[0], 20 * 10)


def test_lines_of_pixels_are_told_once_and_quickly(tmp_path: Path) -> None:
    root = ultralytics(tmp_path)
    write(
        root / "labels/train/a.txt",
        "7 0.5 0.5 0.5 0.5\n" + "".join(f"0 {i} 9 9 9\n" for i in range(20_000)) + "8 0 0 1 1\n",
    )
    begun = time.process_time()
    faults = [fault for fault in read_yolo_split(root, "train").faults if fault.severity is Severity.ERROR]
    assert time.process_time() - begun < 10  # comparing each with each took minutes
    assert [fault.object for fault in faults] == ["line 1", "line 2 (dog)", "line 20002"]
    assert faults[1].message.endswith("(19,999 more lines are alike)")
