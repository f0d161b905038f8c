"""The files of each form, key by key, as the tools that it comes from write and read them."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from detkit.data.formats.writers.writing import image_folders, names_read, write_objects
from detkit.data.formats.writers.written import AnnotatedImage, WrittenSet, WrittenSplit, decimal
from detkit.data.formats.written_forms import TITLES, WRITTEN, WrittenForm
from detkit.data.ground_truth import Objects

NAMES = ("hex nut", 'say "x", <no>')


def small_set() -> WrittenSet:
    """An image with a difficult and truncated object and a crowd, and one without objects."""
    boxes = np.array([[1.5, 2.0, 11.25, 18.0], [0.0, 0.0, 40.0, 30.0]])
    objects = Objects.of_boxes(np.array([1, 0]), boxes, np.array([True, True]), np.array([True, False]))
    objects = replace(objects, crowd=np.array([False, True]), area=np.array([100.5, 1200.0]))
    train = (AnnotatedImage("a.b.png", (30, 40), False, 7, objects),)
    val = (AnnotatedImage("c.jpg", (30, 40), True, 9, Objects.joined([])),)
    return WrittenSet(NAMES, (3, 90), (WrittenSplit("train", train), WrittenSplit("val", val)))


def written(target: WrittenForm, root: Path) -> Path:
    write_objects(root, target, small_set())
    return root


def test_voc(tmp_path: Path) -> None:
    root = written("voc", tmp_path)
    assert (root / "ImageSets/Main/train.txt").read_text() == "a.b\n"
    annotation = ElementTree.parse(root / "Annotations/a.b.xml").getroot()
    assert annotation.findtext("filename") == "a.b.png"
    assert annotation.findtext("source/annotation") == "counted from 1"
    first, second = annotation.findall("object")
    assert [first.findtext(tag) for tag in ("name", "truncated", "difficult", "iscrowd")] == [NAMES[1], "1", "1", None]
    assert [second.findtext(tag) for tag in ("name", "truncated", "difficult", "iscrowd")] == [NAMES[0], "0", "1", "1"]
    corners = [[one.findtext(f"bndbox/{tag}") for tag in ("xmin", "ymin", "xmax", "ymax")] for one in (first, second)]
    assert corners == [["2.5", "3", "11.25", "18"], ["1", "1", "40", "30"]]
    empty = ElementTree.parse(root / "Annotations/c.xml").getroot()
    assert (empty.findtext("size/depth"), empty.findall("object")) == ("1", [])


def test_coco(tmp_path: Path) -> None:
    content = json.loads((written("coco", tmp_path) / "annotations/instances_train.json").read_text())
    assert content["categories"] == [{"id": 3, "name": NAMES[0]}, {"id": 90, "name": NAMES[1]}]
    assert content["images"] == [{"id": 7, "file_name": "a.b.png", "width": 40, "height": 30}]
    common = {"image_id": 7, "segmentation": [], "iscrowd": 1}
    assert content["annotations"] == [
        common
        | {"id": 1, "category_id": 90, "bbox": [1.5, 2, 9.75, 16], "area": 100.5, "difficult": 1, "truncated": 1},
        common | {"id": 2, "category_id": 3, "bbox": [0, 0, 40, 30], "area": 1200},
    ]


def test_darknet(tmp_path: Path) -> None:
    root = written("darknet", tmp_path)
    lines = ["classes = 2", "train = train.txt", "valid = valid.txt", "names = obj.names", "backup = backup/"]
    assert (root / "obj.data").read_text().splitlines() == lines
    assert (root / "obj.names").read_text().splitlines() == list(NAMES)
    assert (root / "train.txt").read_text() == "obj_train_data/a.b.png\n"
    assert (root / "obj_train_data/a.b.txt").read_text().startswith("1 0.159375 ")
    assert (root / "obj_valid_data/c.txt").read_text() == ""


def test_labelme(tmp_path: Path) -> None:
    root = written("labelme", tmp_path)
    content = json.loads((root / "train/a.b.json").read_text())
    shape = {"group_id": None, "description": "", "shape_type": "rectangle", "mask": None}
    assert content.pop("shapes") == [
        shape | {"label": NAMES[1], "points": [[1.5, 2], [11.25, 18]], "flags": {"difficult": True, "truncated": True}},
        shape | {"label": NAMES[0], "points": [[0, 0], [40, 30]], "flags": {"crowd": True}},
    ]
    size = {"imageHeight": 30, "imageWidth": 40}
    assert content == {"version": "5.5.0", "flags": {}, "imagePath": "a.b.png", "imageData": None} | size
    assert json.loads((root / "val/c.json").read_text())["shapes"] == []


def test_cvat(tmp_path: Path) -> None:
    root = ElementTree.parse(written("cvat", tmp_path) / "train.xml").getroot()
    assert root.tag == "annotations" and root.findtext("version") == "1.1"
    assert [label.findtext("name") for label in root.findall("meta/task/labels/label")] == list(NAMES)
    (image,) = root.findall("image")
    assert image.attrib == {"id": "0", "name": "a.b.png", "subset": "train", "width": "40", "height": "30"}
    box = image.findall("box")[0]
    corners = {"xtl": "1.5", "ytl": "2", "xbr": "11.25", "ybr": "18"}
    assert box.attrib == {"label": NAMES[1], "source": "manual", "occluded": "0", "z_order": "0"} | corners
    marks = [{one.get("name"): one.text for one in box.findall("attribute")} for box in image.findall("box")]
    assert marks == [
        {"difficult": "true", "truncated": "true", "is_crowd": "false"},
        {"difficult": "false", "truncated": "false", "is_crowd": "true"},
    ]


def test_open_images(tmp_path: Path) -> None:
    folder = written("openimages", tmp_path) / "annotations"

    def rows(name: str) -> list[list[str]]:
        with (folder / name).open(newline="") as file:
            return list(csv.reader(file))

    assert rows("class-descriptions-boxable.csv") == [[name, name] for name in NAMES]
    header, *boxes = rows("train-annotations-bbox.csv")
    fields = [dict(zip(header, row, strict=True)) for row in boxes]
    assert fields[0]["ImageID"] == "a.b" and fields[0]["LabelName"] == NAMES[1]
    assert [fields[0][edge] for edge in ("XMin", "XMax", "YMin", "YMax")] == ["0.0375", "0.28125", str(2 / 30), "0.6"]
    assert [(row["IsTruncated"], row["IsGroupOf"]) for row in fields] == [("1", "0"), ("0", "1")]
    assert len(rows("val-annotations-bbox.csv")) == 1
    assert rows("val-images-with-rotation.csv")[1][:2] == ["c", "val"]


def test_hugging_face(tmp_path: Path) -> None:
    root = written("huggingface", tmp_path)
    (line,) = (root / "train/metadata.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        "file_name": "a.b.png",
        "width": 40,
        "height": 30,
        "objects": {
            "bbox": [[1.5, 2, 9.75, 16], [0, 0, 40, 30]],
            "category": [NAMES[1], NAMES[0]],
            "area": [100.5, 1200],
            "iscrowd": [0, 1],
            "difficult": [1, 0],
            "truncated": [1, 0],
        },
    }
    assert '"bbox":[[1.5,2.0,' in line  # a column of floats, also where all are whole
    assert json.loads((root / "val/metadata.jsonl").read_text())["objects"]["bbox"] == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (25.999959999999998, "25.99996"),
        (1e-7, "0.0000001"),
        (1e-12, "0"),
        (10 / 3, "3.3333333333"),
        (0.0, "0"),
    ],
)
def test_decimals(value: float, text: str) -> None:
    assert decimal(value) == text


def test_every_form_has_a_title_a_folder_a_name_a_split() -> None:
    assert TITLES.keys() == set(WRITTEN)
    for target in WRITTEN:
        assert image_folders(target, ["train", "val"]).keys() == names_read(target, ["train", "val"]).keys()
    assert image_folders("darknet", ["train", "val"])["val"] == Path("obj_valid_data")
    assert image_folders("cvat", ["train"])["train"] == Path("images/train")
