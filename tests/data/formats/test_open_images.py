"""Files of Open Images: where they are found, which rows are objects, and what is refused with line and column."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detkit.data.faults import CLIPPED, NOT_ANNOTATED, DatasetMissing
from detkit.data.formats.open_images import NO_IMAGE, find_open_images_splits, read_open_images_split
from detkit.data.formats.read_split import NO_AREA, ReadSplit
from tests.data.formats.told import errors, warnings

HEIGHT, WIDTH = 20, 40
HEADER = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
DOG = "a,xclick,/m/0bt9lr,1,0.25,0.75,0.25,0.75,0,0,0,0,0"  # (10, 5, 30, 15) px
CLASSES = "/m/0bt9lr,Dog\n/m/01yrx,Cat\n"


def image(path: Path, shade: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT), (shade, 2, 3)).save(path)
    return path


def table(path: Path, *rows: str, header: str = HEADER) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in (header, *rows)))
    return path


def read(root: Path, *rows: str) -> ReadSplit:
    image(root / "train/a.png")
    table(root / "train-annotations-bbox.csv", *rows)
    (root / "class-descriptions-boxable.csv").write_text(CLASSES)
    return read_open_images_split(root, "train")


def test_rows_are_boxes_in_px_and_groups_are_crowds(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        DOG,
        "a,,/m/01yrx,1,0.1,0.2,0.3,0.5,1,1,1,1,1",
        "a,,/m/01yrx,,0,1,0,1,-1,-1,-1,-1,-1",
        "a,,/m/01yrx,,5e-1,1.,.5,1.0,,,,,",
    )
    assert found.faults == ()
    assert found.truth.classes == ("Cat", "Dog") and found.truth.objects.labels.tolist() == [1, 0, 0, 0]
    boxes = [[10, 5, 30, 15], [4, 6, 8, 10], [0, 0, 40, 20], [20, 10, 40, 20]]
    np.testing.assert_allclose(found.truth.objects.boxes, boxes, atol=1e-9)
    assert found.truth.objects.crowd.tolist() == [False, True, False, False]
    assert found.truth.objects.truncated.tolist() == [False, True, False, False]
    assert found.name_object(0) == "line 2 (Dog)"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (DOG.replace("0.25,0.75,0.25", "x,0.75,0.25"), "line 2 (Dog): XMin: is 'x', expected a number from 0 to 1"),
        (DOG.replace("0.25,0.75,0.25", "nan,0.75,0.25"), "XMin: is 'nan'"),
        (DOG.replace("0.25,0.75,0.25", "1e999,0.75,0.25"), "XMin: 1e999 looks like pixels"),
        (DOG.replace("0.25,0.75,0.25", "10,30,0.25"), "XMin: 10 looks like pixels; write fractions"),
        (DOG.replace("0.25,0.75,0.25", "-0.02,0.75,0.25"), "XMin: -0.02 is outside 0..1"),
        (DOG.replace("0.25,0.75,0.25", "0.8,0.75,0.25"), "(32, 5, 30, 15) is no box"),
        (DOG.replace("0,0,0,0,0", "0,0,2,0,0"), "line 2 (Dog): IsGroupOf: is '2', expected 0, 1 or -1"),
        (DOG.replace("0,0,0,0,0", "0,yes,0,0,0"), "IsTruncated: is 'yes', expected 0, 1 or -1"),
        (
            DOG.replace("/m/0bt9lr", "/m/none"),
            "line 2: LabelName: '/m/none' has no name; put class-descriptions-boxable",
        ),
        (DOG.replace("/m/0bt9lr", ""), "line 2 (''): class: '' is empty"),
        (DOG.replace(",1,", ","), "line 2 has 12 columns, the first has 13"),
        ('"a' + DOG[1:], "is no CSV file (unexpected end of data, line 2)"),
        (DOG + "x" * (1 << 20), "has a line of over 1,048,576 characters"),
        (DOG + "x" * (1 << 18), "is no CSV file (field larger than field limit"),
    ],
)
def test_rows_that_are_errors(tmp_path: Path, row: str, message: str) -> None:
    found = read(tmp_path, row)
    assert len(found.truth.objects) == 0
    assert message in errors(found)[0]
    assert errors(found)[0].startswith(str(tmp_path / "train-annotations-bbox.csv"))


def test_boxes_beyond_the_image_or_without_area_are_warnings(tmp_path: Path) -> None:
    found = read(tmp_path, DOG.replace("0.75,0.25", "1.005,0.25"), DOG.replace("0.25,0.75,0.25", "0.5,0.5,0.25"))
    assert warnings(found) == [CLIPPED, NO_AREA] and errors(found) == []
    np.testing.assert_allclose(found.truth.objects.boxes, [[10, 5, 40, 15]])


@pytest.mark.parametrize("prefix", ["", "oidv6-"])
@pytest.mark.parametrize("folder", ["train", "images/train", "data/train", "images"])
def test_the_official_files_beside_folders_of_images(tmp_path: Path, prefix: str, folder: str) -> None:
    image(tmp_path / folder / "a.png")
    table(tmp_path / f"{prefix}train-annotations-bbox.csv", DOG)
    (tmp_path / f"{prefix}class-descriptions.csv").write_text(f"LabelName,DisplayName\n{CLASSES}")
    assert find_open_images_splits(tmp_path) == ("train",)
    found = read_open_images_split(tmp_path, "train")
    assert found.faults == () and found.truth.classes == ("Dog",) and found.truth.image_ids == ("a",)
    with pytest.raises(DatasetMissing, match="split 'val' has no CSV file of Open Images; splits there: train"):
        read_open_images_split(tmp_path, "val")


def test_folders_of_fiftyone(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        image(tmp_path / f"{split}/data/a.png")
        image(tmp_path / f"{split}/data/b.png", 1)
        table(tmp_path / f"{split}/labels/detections.csv", DOG)
        (tmp_path / f"{split}/metadata").mkdir()
        (tmp_path / f"{split}/metadata/classes.csv").write_text(CLASSES)
        table(tmp_path / f"{split}/metadata/image_ids.csv", f"b,{split}", "gone,train", header="ImageID,Subset")
    assert find_open_images_splits(tmp_path) == ("train", "validation")
    found = read_open_images_split(tmp_path, "validation")
    assert found.faults == () and found.truth.image_ids == ("a", "b") and found.truth.counts.tolist() == [1, 0]


def test_folders_of_datumaro_with_names_for_labels_and_folders_in_ids(tmp_path: Path) -> None:
    image(tmp_path / "images/train/cam a/f (1).png")
    image(tmp_path / "images/train/b.png")
    image(tmp_path / "images/val/b.png")
    for split, identity in (("train", "cam a/f (1)"), ("val", "b")):
        table(tmp_path / f"annotations/{split}-annotations-bbox.csv", f"{identity},,hex nut,1,0,1,0,1,0,0,-1,-1,-1")
        table(tmp_path / f"annotations/{split}-images-with-rotation.csv", f"b,{split}", header="ImageID,Subset")
    (tmp_path / "annotations/class-descriptions.csv").write_text("hex nut,hex nut\n")
    found = read_open_images_split(tmp_path, "train")
    assert found.faults == ()
    assert dict(zip(found.truth.image_ids, found.truth.counts.tolist(), strict=True)) == {"b": 0, "cam_a_f_(1)": 1}
    assert found.truth.classes == ("hex nut",)


@pytest.mark.parametrize("identity", ["cam/a.png", "cam\\a.png", "./cam/a", "a", "a.png"])
def test_ids_may_be_paths_with_or_without_suffix_or_names_in_folders_of_classes(tmp_path: Path, identity: str) -> None:
    image(tmp_path / "train/cam/a.png")
    table(tmp_path / "train/boxes.csv", DOG.replace("a,", f"{identity},", 1).replace("/m/0bt9lr", "dog"))
    found = read_open_images_split(tmp_path, "train")
    assert found.faults == () and found.truth.image_ids == ("cam_a",) and len(found.truth.objects) == 1


def test_images_without_boxes_or_file_are_told(tmp_path: Path) -> None:
    image(tmp_path / "train/b.png", 1)
    found = read(tmp_path, DOG, DOG.replace("a,", "gone,", 1), DOG.replace("a,", "../other,", 1))
    assert sorted(warnings(found)) == sorted([NO_IMAGE, NOT_ANNOTATED]) and errors(found) == []
    assert "2 boxes are of images that are not there, such as 'gone'" in str(found.faults[0])
    assert found.truth.image_ids == ("a",)
    found = read(tmp_path, DOG.replace("a,", "gone,", 1))
    assert "ImageID: none of its images, such as 'gone', is there" in errors(found)[0]


def test_no_images_at_all_two_files_of_a_split_and_two_images_of_one_id(tmp_path: Path) -> None:
    path = table(tmp_path / "train-annotations-bbox.csv", DOG)
    (message,) = errors(read_open_images_split(tmp_path, "train"))
    assert message == f"{path}: none of its images is there; put them into {tmp_path / 'images' / 'train'}"
    image(tmp_path / "train/a.png")
    other = table(tmp_path / "oidv6-train-annotations-bbox.csv", DOG)
    assert errors(read_open_images_split(tmp_path, "train"))[0].startswith(f"{path}: has boxes of 'train' as {other}")
    other.unlink()
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "train/a.jpg")
    table(path, DOG.replace("a,", "a.png,", 1), DOG.replace("a,", "a.jpg,", 1))
    (tmp_path / "class-descriptions.csv").write_text(CLASSES)
    assert "has the id of" in errors(read_open_images_split(tmp_path, "train"))[0]


def test_labels_of_one_name_and_broken_files_of_classes(tmp_path: Path) -> None:
    read(tmp_path)
    rows = (DOG, DOG.replace("/m/0bt9lr", "/m/01yrx"), DOG.replace("/m/0bt9lr", "/m/01yrx"))
    (tmp_path / "class-descriptions-boxable.csv").write_text("/m/0bt9lr,Dog\n/m/01yrx,Dog\n")
    table(tmp_path / "train-annotations-bbox.csv", *rows)
    (message,) = errors(read_open_images_split(tmp_path, "train"))
    assert "line 3: LabelName: '/m/01yrx' has the name of /m/0bt9lr, 'Dog'; rename one" in message
    (tmp_path / "class-descriptions-boxable.csv").write_text("/m/0bt9lr\n")
    assert "line 1 has 1 columns, expected a label and its name" in errors(read_open_images_split(tmp_path, "train"))[0]
    (tmp_path / "class-descriptions-boxable.csv").write_bytes(b"\xff\xfe")
    assert "cannot be read as UTF-8" in errors(read_open_images_split(tmp_path, "train"))[0]


def test_other_csv_files_are_no_open_images(tmp_path: Path) -> None:
    table(
        tmp_path / "train/_annotations.csv", "a.png,40,20,dog,1,1,5,5", header="filename,width,height,class,xmin,ymin"
    )
    table(tmp_path / "labels.csv", "a,x,Dog,1", header="ImageID,Source,LabelName,Confidence")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "binary.csv").write_bytes(b"\xff\0" * 100)
    assert find_open_images_splits(tmp_path) == ()
    assert find_open_images_splits(tmp_path / "none") == ()
