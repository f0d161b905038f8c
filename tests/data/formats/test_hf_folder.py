"""Folders of Hugging Face: where metadata are found, which columns are objects, and what is refused with its row."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from detkit.data.faults import CLIPPED, LISTED_TWICE, NOT_ANNOTATED, DatasetMissing
from detkit.data.formats import hf_folder
from detkit.data.formats.hf_folder import find_hf_folder_splits, read_hf_folder_split
from detkit.data.formats.hf_objects import NUMBERS_AS_NAMES
from detkit.data.formats.read_split import NO_AREA, ReadSplit
from tests.data.formats.told import errors, warnings

HEIGHT, WIDTH = 20, 40
Row = dict[str, object]
BOX = [10, 5, 20, 10]


def image(path: Path, shade: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT), (shade, 2, 3)).save(path)
    return path


def metadata(folder: Path, *rows: Row) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "metadata.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def row(name: object = "a.png", boxes: object = None, classes: object = None, **others: object) -> Row:
    objects = {"bbox": [BOX] if boxes is None else boxes, "category": ["dog"] if classes is None else classes}
    return {"file_name": name, "objects": objects | others}


def read(root: Path, *rows: Row) -> ReadSplit:
    image(root / "train/a.png")
    metadata(root / "train", *rows)
    return read_hf_folder_split(root, "train")


# Objects


@pytest.mark.parametrize(
    "columns",
    [
        {"objects": {"bbox": [BOX], "category": ["dog"]}},
        {"objects": {"bboxes": [BOX], "labels": ["dog"]}},
        {"objects": {"boxes": [BOX], "categories": [" dog "], "id": [7], "other": "x"}},
        {"objects": [{"bbox": BOX, "category": "dog"}]},
        {"bbox": [BOX], "label": ["dog"]},
        {"objects": json.dumps({"bbox": [BOX], "categories": ["dog"]})},  # as in CSV files
        {"objects": {"bbox": [[10.0, 5.0, 20.0, 10.0]], "category": ["dog"]}, "width": WIDTH, "height": HEIGHT},
    ],
)
def test_columns_that_are_read(tmp_path: Path, columns: Row) -> None:
    found = read(tmp_path, {"file_name": "a.png", **columns})
    assert found.faults == ()
    assert found.truth.classes == ("dog",)
    assert found.truth.objects.boxes.tolist() == [[10, 5, 30, 15]]
    assert found.name_object(0) == "line 1 ('a.png'), object 0 (dog)"


def test_marks_and_areas_of_objects(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        row(
            boxes=[BOX] * 3,
            classes=["dog"] * 3,
            iscrowd=[0, 1, 0],
            difficult=[True, False, None],
            truncated=[0, 0, 1],
            area=[150, None, -1],
        ),
    )
    assert found.faults == ()
    objects = found.truth.objects
    assert objects.crowd.tolist() == [False, True, False] and objects.ignore.tolist() == [True, True, False]
    assert objects.truncated.tolist() == [False, False, True] and objects.area.tolist() == [150, 200, 200]


@pytest.mark.parametrize("objects", [None, {"bbox": [], "category": []}, [], "", {"bbox": None, "category": None}, {}])
def test_rows_without_objects_are_background(tmp_path: Path, objects: object) -> None:
    found = read(tmp_path, {"file_name": "a.png", "objects": objects})
    assert found.faults == () and len(found.truth) == 1 and len(found.truth.objects) == 0


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            row(boxes=[[1, 2, 3]]),
            "line 1 ('a.png'), object 0 (dog): bbox: is [1, 2, 3], expected [x, y, width, height]",
        ),
        (row(boxes=[[1, 2, 3, "4"]]), "bbox: is [1, 2, 3, '4'], expected"),
        (row(boxes=[[1, 2, 3, 1e300]]), "expected [x, y, width, height] in px"),
        (row(boxes=[None]), "bbox: is None, expected"),
        (row(boxes=[[1, 2, -3, 4]]), "bbox: (1, 2, -3, 4) has a negative side"),
        (row(boxes=[[50, 2, 3, 4]]), "bbox: (50, 2, 53, 6) lies outside the image of 40 x 20"),
        (row(boxes=[BOX, BOX]), "line 1 ('a.png'): category: has 1 values for 2 boxes"),
        (row(boxes=7), "line 1 ('a.png'): bbox: is 7, expected a list of [x, y, width, height]"),
        (row(classes=[True]), "object 0: category: is True, expected the name or the number of a class"),
        (row(classes=[0.5]), "object 0: category: is 0.5, expected the name"),
        (row(classes=[None]), "object 0: category: is None, expected the name"),
        (row(classes=[" "]), "object 0 (''): class: '' is empty"),
        (row(iscrowd=[2]), "object 0 (dog): iscrowd: is 2, expected 0 or 1"),
        ({"file_name": "a.png", "objects": 5}, "line 1 ('a.png'): objects: is 5, expected lists of bbox"),
        ({"file_name": "a.png", "objects": [5]}, "objects: is [5], expected bbox and category of each"),
        ({"file_name": "a.png", "objects": "{'bbox': []}"}, "expected JSON (json.dumps writes it)"),
        ({"file_name": "a.png", "objects": {"bbox": [BOX]}}, "category: has None for 1 boxes"),
        (row("gone.png"), "line 1: file_name: is 'gone.png', which is not there"),
        (row("../../x.png"), "file_name: is '../../x.png', which is not there"),
        (row(3), "file_name: is 3, which is not there"),
        (row() | {"width": 80, "height": 40}, "line 1 ('a.png'): width, height: is 80 x 40, the image is 40 x 20"),
    ],
)
def test_rows_that_are_errors(tmp_path: Path, columns: Row, message: str) -> None:
    found = read(tmp_path, columns)
    assert message in errors(found)[0]
    assert errors(found)[0].startswith(str(tmp_path / "train/metadata.jsonl"))


def test_boxes_beyond_the_image_or_without_area_are_warnings(tmp_path: Path) -> None:
    found = read(tmp_path, row(boxes=[[30, 5, 12, 5], [30, 5, 0, 5], [30, 5, 10.000001, 5]], classes=["dog"] * 3))
    assert warnings(found) == [CLIPPED, NO_AREA]
    assert found.truth.objects.boxes.tolist() == [[30, 5, 40, 10], [30, 5, 40, 10]]


def test_boxes_that_must_be_corners_are_an_error(tmp_path: Path) -> None:
    found = read(tmp_path, row(boxes=[[10, 5, 30, 15], [20, 10, 35, 18]], classes=["dog", "dog"]))
    assert errors(found) == [
        f"{tmp_path / 'train/metadata.jsonl'}: bbox: 1 of 2 boxes reach beyond their image as [x, y, width, height] "
        "and none does as [x1, y1, x2, y2]; write width and height in place of x2 and y2"
    ]


# Names of classes

README = """---
license: mit
dataset_info:
  features:
  - name: image
    dtype: image
  - name: objects
    {kind}:
    - name: bbox
      sequence: float32
    - name: category
      dtype:
        class_label:
          names:
            '0': dog
            '1': hex nut
---
# Mine
"""


def test_numbers_have_names_by_the_files_of_the_set_else_they_are_the_names(tmp_path: Path) -> None:
    def classes() -> tuple[str, ...]:
        return read(tmp_path, row(classes=[1])).truth.classes

    assert warnings(read(tmp_path, row(classes=[1]))) == [NUMBERS_AS_NAMES] and classes() == ("1",)
    (tmp_path / "classes.txt").write_text("a\nb\n")
    assert classes() == ("b",)
    feature = {"_type": "ClassLabel", "names": ["c", "d"]}
    info = {"features": {"objects": {"bbox": {"_type": "List"}, "category": {"feature": feature, "_type": "List"}}}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    assert classes() == ("d",)
    for kind in ("sequence", "struct", "list"):
        (tmp_path / "README.md").write_text(README.format(kind=kind))
        found = read(tmp_path, row(classes=[1.0]))
        assert found.faults == () and found.truth.classes == ("hex nut",)
    assert "object 0: category: is 2, expected 0..1" in errors(read(tmp_path, row(classes=[2])))[0]
    (tmp_path / "README.md").write_text("---\na: [\n---\n")
    assert "README.md: names of classes cannot be read (not valid YAML" in errors(read(tmp_path, row(classes=[1])))[0]


# Files and folders


def test_folders_of_splits_and_names_with_folders_spaces_and_parentheses(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        image(tmp_path / f"data/{split}/cam a/f (1).png")
        image(tmp_path / f"data/{split}/b.png", 1)
        metadata(tmp_path / f"data/{split}", row("cam a\\f (1).png"), row("./b.png", boxes=[], classes=[]))
    assert find_hf_folder_splits(tmp_path) == ("train", "validation")
    found = read_hf_folder_split(tmp_path, "validation")
    assert found.faults == () and found.truth.image_ids == ("cam_a_f_(1)", "b")
    assert found.truth.counts.tolist() == [1, 0]
    with pytest.raises(DatasetMissing, match="split 'test' has no metadata file with objects; splits there: train, v"):
        read_hf_folder_split(tmp_path, "test")


def test_one_file_at_the_root_whose_names_have_the_folders_of_splits(tmp_path: Path) -> None:
    for place in ("images/train/a.png", "images/train/left.png", "images/val/a.png"):
        image(tmp_path / place)
    metadata(tmp_path, row("images/train/a.png"), row("images/val/a.png"))
    assert find_hf_folder_splits(tmp_path) == ("train", "val")
    train = read_hf_folder_split(tmp_path, "train")
    assert train.truth.image_ids == ("a",) and warnings(train) == [NOT_ANNOTATED]
    assert train.faults[0].file == tmp_path / "images/train/left.png"
    assert read_hf_folder_split(tmp_path, "val").faults == ()
    metadata(tmp_path, row("images/train/a.png"), row("images/gone/a.png"))
    assert find_hf_folder_splits(tmp_path) == ("all", "train")


def test_a_set_without_splits_is_all(tmp_path: Path) -> None:
    image(tmp_path / "images/cam/a.png")
    image(tmp_path / "b.png")
    metadata(tmp_path, row("images/cam/a.png"), row("b.png"))
    assert find_hf_folder_splits(tmp_path) == ("all",)
    found = read_hf_folder_split(tmp_path, "all")
    assert found.faults == () and found.truth.image_ids == ("cam_a", "b")


def test_csv_files_hold_objects_as_json(tmp_path: Path) -> None:
    image(tmp_path / "train/a.png")
    with (tmp_path / "train/metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "objects", "width", "height"])
        writer.writerow(["a.png", json.dumps({"bbox": [BOX], "categories": ["dog"]}), WIDTH, HEIGHT])
    found = read_hf_folder_split(tmp_path, "train")
    assert found.faults == () and found.truth.objects.boxes.tolist() == [[10, 5, 30, 15]]
    with (tmp_path / "train/metadata.csv").open("a") as file:
        file.write("a.png\n")
    assert "line 3 has 1 columns, the first has 4" in errors(read_hf_folder_split(tmp_path, "train"))[0]


def test_parquet_is_read_with_pyarrow_and_needs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image(tmp_path / "train/a.png")
    path = tmp_path / "train/metadata.parquet"
    path.write_bytes(b"PAR1")
    monkeypatch.setattr(hf_folder, "find_spec", lambda name: None)
    assert find_hf_folder_splits(tmp_path) == ("train",)
    assert "needs pyarrow; install detkit[hf]" in errors(read_hf_folder_split(tmp_path, "train"))[0]
    monkeypatch.undo()
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    assert find_hf_folder_splits(tmp_path) == ()
    parquet.write_table(pyarrow.Table.from_pylist([row()]), path)
    found = read_hf_folder_split(tmp_path, "train")
    assert found.faults == () and found.truth.objects.boxes.tolist() == [[10, 5, 30, 15]]
    assert found.name_object(0) == "row 0 ('a.png'), object 0 (dog)"


def test_a_row_listed_twice_and_two_images_of_one_id(tmp_path: Path) -> None:
    assert warnings(read(tmp_path, row(), row())) == [LISTED_TWICE]
    assert "has other objects in metadata.jsonl before" in errors(read(tmp_path, row(), row(classes=["cat"])))[0]
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "train/a.jpg")
    assert "has the id of" in errors(read(tmp_path, row(), row("a.jpg")))[0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2 is not JSON"),
        ('{"file_name": NaN}', "line 2 is not JSON"),
        ("[1]", "line 2 is [1], expected file_name and objects"),
        ("[" * 100_000, "line 2 is not JSON"),
        ("\xff", "line 2 is not JSON"),
    ],
)
def test_broken_lines_are_errors(tmp_path: Path, line: str, message: str) -> None:
    image(tmp_path / "train/a.png")
    path = metadata(tmp_path / "train", row())
    path.write_bytes(path.read_bytes() + line.encode("latin-1"))
    found = read_hf_folder_split(tmp_path, "train")
    assert message in errors(found)[0] and len(found.truth) == 1


def test_folders_without_objects_are_not_of_this_form(tmp_path: Path) -> None:
    image(tmp_path / "train/a.png")
    metadata(tmp_path / "train", {"file_name": "a.png", "text": "a dog"})
    assert find_hf_folder_splits(tmp_path) == ()
    assert find_hf_folder_splits(tmp_path / "none") == ()
