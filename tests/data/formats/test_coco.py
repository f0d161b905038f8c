"""COCO data sets: where files and images are found, what is learned and scored, and what stops them."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from detkit.data.dataset import DetectionDataset
from detkit.data.faults import CLIPPED, LISTED_TWICE, DatasetMissing, FaultError, Severity
from detkit.data.formats.coco import (
    FOREIGN,
    NO_AREA,
    NO_SIZE,
    NOT_READ,
    OUTSIDE,
    coco_annotation_file,
    find_coco_images,
    find_coco_splits,
    read_coco_split,
)
from detkit.data.formats.forms import Form, find_form
from detkit.data.formats.opening import open_form
from detkit.data.io.images import ImageError

HEIGHT, WIDTH = 30, 40
Content = dict[str, Any]


def content(*numbers: int, boxes: list[list[float]] | None = None) -> Content:
    """Images of these ids, the first with two dogs and a crowd of cats unless boxes of dogs are given."""
    annotations = [
        {"id": index, "image_id": numbers[0], "category_id": 9, "bbox": box}
        for index, box in enumerate(boxes or [[1, 2, 3, 4], [5.5, 6, 7, 8]], start=1)
    ]
    if boxes is None:
        crowd = {"id": 99, "image_id": numbers[0], "category_id": 4, "bbox": [0, 0, 20, 10], "iscrowd": 1, "area": 150}
        annotations.append(crowd)
    return {
        "images": [{"id": n, "file_name": f"{n:03d}.png", "height": HEIGHT, "width": WIDTH} for n in numbers],
        "annotations": annotations,
        "categories": [{"id": 9, "name": "dog"}, {"id": 2, "name": "zebra"}, {"id": 4, "name": "cat"}],
    }


def make(root: Path, file: str, images: str, value: Content) -> Path:
    path = root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    for image in value["images"]:
        path = root / images / image["file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(path)
    return root


def official(root: Path, value: Content, split: str = "train2017") -> Path:
    return make(root, f"annotations/instances_{split}.json", split, value)


def test_a_data_set_reads_images_and_targets(tmp_path: Path) -> None:
    data: DetectionDataset = open_form(
        Form("coco", official(tmp_path, content(7, 3)), ()), ["train2017"], None, pytest.fail
    )
    assert data.classes == ("zebra", "cat", "dog")  # by ascending id, the one without objects too
    assert data.image_ids == ("7", "3")
    sample = data.read(0)
    assert sample.original_size == (HEIGHT, WIDTH)
    assert sample.image.shape == (3, HEIGHT, WIDTH)
    assert sample.target is not None
    assert sample.target.boxes.tolist() == [[1, 2, 4, 6], [5.5, 6, 12.5, 14], [0, 0, 20, 10]]
    assert sample.target.labels.tolist() == [2, 2, 1]
    assert sample.target.ignore.tolist() == [False, False, True]
    assert len(data.target(1).boxes) == 0
    truth = data.ground_truth()
    assert truth.category_numbers == (2, 4, 9)
    assert truth.image_numbers == (7, 3)
    assert truth.objects.area.tolist() == [12, 56, 150]
    assert pickle.loads(pickle.dumps(data)).image_ids == data.image_ids


@pytest.mark.parametrize(
    ("file", "images", "split"),
    [
        ("annotations/instances_val2017.json", "val2017", "val2017"),
        ("annotations/instances_val2017.json", "images/val2017", "val2017"),
        ("annotations/instances_default.json", "images", "default"),
        ("annotations/instances_Train.json", "images/Train", "Train"),
        ("train/_annotations.coco.json", "train", "train"),
        ("annotations/train.json", "train", "train"),
        ("train.json", "images", "train"),
        ("train.json", "JPEGImages", "train"),
        ("annotations.json", "data", "annotations"),
        ("annotations.json", ".", "annotations"),
        ("annotations/deeper/mine.json", "images", "annotations/deeper/mine.json"),
        ("other/annotations/instances_a.json", "other/a", "other/annotations/instances_a.json"),
    ],
)
def test_layouts(tmp_path: Path, file: str, images: str, split: str) -> None:
    root = make(tmp_path, file, images, content(7))
    assert coco_annotation_file(root, split) == root / file
    assert find_coco_splits(root) == (() if split.endswith(".json") else (split,))
    data = open_form(Form("coco", root, ()), [split], None, pytest.fail)
    assert data.paths[0].samefile(root / images / "007.png")


def test_a_split_may_be_a_file_anywhere(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere", "mine.json", "images", content(7))
    (tmp_path / "root").mkdir()
    data = open_form(Form("coco", tmp_path / "root", ()), [str(tmp_path / "elsewhere/mine.json")], None, pytest.fail)
    assert data.paths == (tmp_path / "elsewhere/images/007.png",)


def test_images_are_taken_from_the_folder_that_has_the_most(tmp_path: Path) -> None:
    value = content(1, 2, 3)
    value["images"][2]["file_name"] = "sub/003.png"
    root = make(tmp_path, "annotations/instances_train.json", "images", value)
    (root / "train").mkdir()
    Image.new("RGB", (4, 4)).save(root / "train/001.png")
    names = [image["file_name"] for image in value["images"]]
    found = find_coco_images(root, root / "annotations/instances_train.json", names)
    assert (found.folder, found.there, found.dropped) == (root / "images", set(names), 0)
    (root / "images/sub/003.png").unlink()
    found = find_coco_images(root, root / "annotations/instances_train.json", names)
    assert (found.folder, found.there, found.faults) == (root / "images", {"001.png", "002.png"}, ())


def test_files_of_other_tasks_are_no_splits(tmp_path: Path) -> None:
    root = official(tmp_path, content(7))
    official(tmp_path, content(8), "val2017")
    persons = content(7) | {"categories": [{"id": 1, "name": "person", "keypoints": []}]}
    for name, value in (
        ("person_keypoints_val2017", persons),
        ("captions_val2017", {"images": [], "annotations": [{"caption": "a cat"}]}),
        ("stuff_val2017", content(7)),
        ("poses", persons),
        ("results", [{"image_id": 7, "bbox": [1, 2, 3, 4]}]),
        ("settings", {"a": 1}),
    ):
        (root / "annotations" / f"{name}.json").write_text(json.dumps(value))
    (root / "broken.json").write_text("{")
    assert find_coco_splits(root) == ("train2017", "val2017")
    assert find_coco_splits(root / "gone") == ()


def test_any_file_in_the_folder_of_a_split_is_one(tmp_path: Path) -> None:
    for split, number in (("train", 7), ("val", 8)):
        make(tmp_path, f"{split}/labels.json", f"{split}/data", content(number))
    make(tmp_path, "val/more.json", "val/data", content(9))
    assert find_coco_splits(tmp_path) == ("train", "val", "val/more.json")
    data = open_form(find_form(tmp_path), ["train", "val", "val/more.json"], None, pytest.fail)
    assert [path.relative_to(tmp_path).as_posix() for path in data.paths] == [
        "train/data/007.png",
        "val/data/008.png",
        "val/data/009.png",
    ]
    for number in range(30):
        (tmp_path / "train" / f"{number}.json").write_text("{}")
    assert "train" not in find_coco_splits(tmp_path)  # a file an image: of another form


@pytest.mark.parametrize("name", ["valid/_annotations.coco.json", "annotations/instances_valid.json"])
def test_a_broken_file_of_a_tool_is_a_split_whose_reading_tells(tmp_path: Path, name: str) -> None:
    make(tmp_path, "train/_annotations.coco.json", "train", content(7))
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text('{"images": [')
    form = find_form(tmp_path)
    assert (form.splits, form.faults) == (("train", "valid"), ())
    with pytest.raises(FaultError, match=f"{name}: is not JSON"):
        open_form(form, ["valid"], None)


def test_other_broken_files_that_are_named_as_splits_are_told(tmp_path: Path) -> None:
    official(tmp_path, content(7))
    for name in ("annotations/val.json", "test.json", "notes.json", "annotations/image_info_test2017.json"):
        (tmp_path / name).write_text("{")
    told = find_form(tmp_path).faults
    assert [fault.file.name for fault in told] == ["val.json", "test.json"]
    assert {(fault.severity, fault.summary) for fault in told} == {(Severity.WARNING, NOT_READ)}


@pytest.mark.parametrize("lead", ["", "/", "../", "C:\\", "train/", "/home/me/data/train/", "D:\\data\\train\\"])
def test_names_of_another_machine(tmp_path: Path, lead: str) -> None:
    value = content(7, 8)
    value["images"][1]["file_name"] = "sub/008.png"
    root = make(tmp_path, "annotations/train.json", "images", value)
    for image in value["images"]:
        image["file_name"] = lead + image["file_name"]
    (root / "annotations/train.json").write_text(json.dumps(value))
    warnings: list[str] = []
    data = open_form(Form("coco", root, ()), ["train"], None, warnings.append)
    assert data.paths == (root / "images/007.png", root / "images/sub/008.png")
    assert [FOREIGN in warning for warning in warnings] == ([True] if "train" in lead else [])


def test_folders_are_not_dropped_where_names_would_be_one(tmp_path: Path) -> None:
    value = content(7, 8)
    for image, name in zip(value["images"], ("cam a/f.png", "cam b/f.png"), strict=True):
        image["file_name"] = name
    root = make(tmp_path, "train.json", "images", content(7, 8))
    (root / "train.json").write_text(json.dumps(value))
    Image.new("RGB", (WIDTH, HEIGHT)).save(root / "images/f.png")
    with pytest.raises(FaultError, match=r"none of its 2 images, such as 'cam a/f\.png', is in"):
        open_form(Form("coco", root, ()), ["train"], None)


@pytest.mark.parametrize("above", ["a/" * 2000, "a/" * 200_000, "a" * 300 + "/"])
def test_names_that_no_file_may_have_neither_hang_nor_stop(tmp_path: Path, above: str) -> None:
    value = content(7)
    value["images"][0]["file_name"] = f"{above}gone.png"
    root = make(tmp_path, "train.json", "images", content(7))
    (root / "train.json").write_text(json.dumps(value))
    with pytest.raises(FaultError, match=r"(none of its 1 images, such as|expected the name of an image)") as caught:
        open_form(Form("coco", root, ()), ["train"], None)
    assert len(str(caught.value)) < 1000


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    root = official(tmp_path, content(7))
    with pytest.raises(DatasetMissing) as caught:
        open_form(Form("coco", root, ()), ["val2017"], None)
    assert str(caught.value) == (
        f"{root}/annotations/instances_val2017.json is missing, needed for split 'val2017'; "
        f"splits below {root}: train2017"
    )
    with pytest.raises(DatasetMissing, match=r"gone.json is missing.*: none"):
        read_coco_split(tmp_path / "nowhere", "gone.json")


def test_given_classes_keep_their_order_and_need_not_be_in_the_file(tmp_path: Path) -> None:
    root = official(tmp_path, content(7))
    data = open_form(Form("coco", root, ()), ["train2017"], ["dog", "bird", "cat"], pytest.fail)
    assert data.classes == ("dog", "bird", "cat")
    assert data.target(0).labels.tolist() == [0, 0, 2]
    assert data.ground_truth().category_numbers == (9, 10, 4)
    unknown = r"annotation 0 \(id 1, dog\): category_id: 'dog' is not one of the classes, the nearest is 'dogs'"
    with pytest.raises(ValueError, match=unknown):
        open_form(Form("coco", root, ()), ["train2017"], ["dogs", "cat"])
    with pytest.raises(ValueError, match="are there more than once"):
        open_form(Form("coco", root, ()), ["train2017"], ["dog", "cat", "cat"])


@pytest.mark.parametrize(
    ("box", "learned", "summary"),
    [
        ([0, 0, WIDTH, HEIGHT], [0, 0, WIDTH, HEIGHT], None),
        ([0.5, 0, WIDTH - 0.495, 5], [0.5, 0, WIDTH, 5], None),  # two decimals, rounded
        ([-3, 5, 9, 9], [0, 5, 6, 14], CLIPPED),
        ([5, 5, 100, 9], [5, 5, WIDTH, 14], CLIPPED),
        ([5, 5, 0, 9], None, NO_AREA),
        ([5, 5, 9, -1], None, NO_AREA),
        ([WIDTH, 5, 9, 9], None, OUTSIDE),
        ([5, -9, 9, 9], None, OUTSIDE),
    ],
)
def test_suspicious_boxes_are_scored_as_stated(
    tmp_path: Path, box: list[float], learned: list[float] | None, summary: str | None
) -> None:
    warnings: list[str] = []
    data = open_form(
        Form("coco", official(tmp_path, content(7, boxes=[box])), ()), ["train2017"], None, warnings.append
    )
    assert data.target(0).boxes.tolist() == ([] if learned is None else [learned])
    assert data.ground_truth().objects.xywh.tolist() == [box]
    assert len(warnings) == (summary is not None)
    assert summary is None or f"1 {summary}; the first: " in warnings[0]
    assert summary is None or "annotation 0 (id 1, dog): bbox: [" in warnings[0]


def test_a_size_that_is_not_stated_is_that_of_the_image(tmp_path: Path) -> None:
    value = content(7)
    del value["images"][0]["height"]
    root = official(tmp_path, value)
    warnings: list[str] = []
    data = open_form(Form("coco", root, ()), ["train2017"], None, warnings.append)
    assert data.size(0) == (HEIGHT, WIDTH)
    assert len(warnings) == 1
    assert f"1 {NO_SIZE}" in warnings[0]
    (root / "train2017/007.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"image id 7: height, width: are not two positive .* the file is empty"):
        open_form(Form("coco", root, ()), ["train2017"], None)
    (root / "train2017/007.png").unlink()
    with pytest.raises(ValueError, match="there is no image; give them"):
        open_form(Form("coco", root, ()), ["train2017"], None, need_images=False)


def test_an_image_of_another_size_is_an_error_when_read(tmp_path: Path) -> None:
    root = official(tmp_path, content(7))
    Image.new("RGB", (WIDTH, WIDTH)).save(root / "train2017/007.png")
    with pytest.raises(ImageError, match="its annotations are for 40 x 30"):
        open_form(Form("coco", root, ()), ["train2017"], None).read(0)


def test_images_must_be_there_unless_they_are_not_needed(tmp_path: Path) -> None:
    root = official(tmp_path, content(7, 8))
    (root / "train2017/008.png").unlink()
    with pytest.raises(ValueError, match=r"image id 8: file_name: .*train2017/008.png is missing"):
        open_form(Form("coco", root, ()), ["train2017"], None)
    (root / "train2017/007.png").unlink()
    with pytest.raises(ValueError, match=r"none of its 2 images, such as '007.png', is in .*/train2017"):
        open_form(Form("coco", root, ()), ["train2017"], None)
    (root / "train2017").rmdir()
    assert open_form(Form("coco", root, ()), ["train2017"], None, pytest.fail, need_images=False).image_ids == (
        "7",
        "8",
    )


def test_splits_are_joined(tmp_path: Path) -> None:
    root = official(tmp_path, content(7, 8))
    official(tmp_path, content(3), "val2017")
    data = open_form(Form("coco", root, ()), ["val2017", "train2017"], None, pytest.fail)
    assert data.image_ids == ("3", "7", "8")
    assert data.ground_truth().counts.tolist() == [3, 3, 0]
    assert [path.name for path in data.paths] == ["003.png", "007.png", "008.png"]


def test_the_same_image_in_two_splits(tmp_path: Path) -> None:
    root = make(tmp_path, "annotations/part.json", "images", content(7, 8))
    make(tmp_path, "annotations/all.json", "images", content(7, 8, 9))
    warnings: list[str] = []
    data = open_form(Form("coco", root, ()), ["part", "all", "part"], None, warnings.append)
    assert data.image_ids == ("7", "8", "9")
    assert data.ground_truth().counts.tolist() == [3, 0, 0]
    assert len(warnings) == 1
    there = f"image {root}/images/007.png: is also in 'part' ({root}/annotations/part.json)"
    assert f"2 {LISTED_TWICE}; the first: {root}/annotations/all.json: {there}" in warnings[0]
    make(tmp_path, "annotations/other.json", "images", content(7, boxes=[[1, 1, 2, 2]]))
    with pytest.raises(
        ValueError, match=r"other.json: image .*images/007.png: has other objects than in 'part' .*part.json"
    ):
        open_form(Form("coco", root, ()), ["part", "other"], None)
    official(tmp_path, content(7))


def test_the_same_number_for_two_images(tmp_path: Path) -> None:
    root = official(tmp_path, content(7, 8))
    official(tmp_path, content(7), "val2017")
    data = open_form(Form("coco", root, ()), ["train2017", "val2017"], None, pytest.fail)
    assert data.image_ids == ("train2017_7", "8", "val2017_7")
    assert [path.parent.name for path in data.paths] == ["train2017", "train2017", "val2017"]
    assert data.ground_truth().image_numbers == (1, 2, 3)
    assert data.ground_truth().counts.tolist() == [3, 0, 3]


@pytest.mark.parametrize(
    ("category", "classes", "numbers"),
    [
        ({"id": 9, "name": "Dog"}, ("zebra", "cat", "dog", "Dog"), (2, 4, 9, 10)),
        ({"id": 5, "name": "dog"}, ("zebra", "cat", "dog"), (2, 4, 9)),
    ],
)
def test_splits_may_number_categories_otherwise(
    tmp_path: Path, category: Content, classes: tuple[str, ...], numbers: tuple[int, ...]
) -> None:
    value = content(8, boxes=[[1, 2, 3, 4]]) | {"categories": [category]}
    value["annotations"][0]["category_id"] = category["id"]
    official(tmp_path, value, "val2017")
    root = official(tmp_path, content(7))
    data = open_form(Form("coco", root, ()), ["train2017", "val2017"], None, pytest.fail)
    assert (data.classes, data.ground_truth().category_numbers) == (classes, numbers)
    assert data.ground_truth().objects.labels.tolist() == [2, 2, 1, classes.index(category["name"])]


def test_nothing_to_learn_from_is_an_error(tmp_path: Path) -> None:
    root = official(tmp_path, {"images": [], "annotations": [], "categories": []})
    with pytest.raises(ValueError, match=r"instances_train2017\.json: 'train2017' lists no images"):
        open_form(Form("coco", root, ()), ["train2017"], None)
    with pytest.raises(ValueError, match=r"the splits \[\] list no images"):
        open_form(Form("coco", root, ()), [], None)
    official(tmp_path, content(7) | {"annotations": [], "categories": []})
    with pytest.raises(ValueError, match="no objects, so no classes"):
        open_form(Form("coco", root, ()), ["train2017"], None)
    assert open_form(Form("coco", root, ()), ["train2017"], ["dog"], pytest.fail).ground_truth().category_numbers == (
        1,
    )


def test_the_first_error_stops_and_reading_lists_all(tmp_path: Path) -> None:
    value = content(7, 8)
    value["annotations"][0]["bbox"] = [1, 2, 3]
    value["annotations"][1]["category_id"] = 1
    value["annotations"][2]["bbox"] = [30, 2, 30, 3]
    root = official(tmp_path, value)
    (root / "train2017/008.png").unlink()
    with pytest.raises(ValueError, match=r"annotation 0 \(id 1, dog\): bbox: is \[1, 2, 3\], expected .*check-data"):
        open_form(Form("coco", root, ()), ["train2017"], None)
    found = read_coco_split(root, "train2017")
    assert [fault.field for fault in found.faults if fault.severity is Severity.ERROR] == [
        "bbox",
        "category_id",
        "file_name",
    ]
    assert [fault.summary for fault in found.faults if fault.severity is Severity.WARNING] == [CLIPPED]
    assert found.file == root / "annotations/instances_train2017.json"
    assert [path.name for path in found.paths] == ["007.png", "008.png"]
    assert found.truth.classes == ("zebra", "cat", "dog")
    assert found.truth.counts.tolist() == [1, 0]


def test_a_broken_file_is_one_fault(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"images": [')
    found = read_coco_split(tmp_path, "a")
    assert len(found.faults) == 1
    assert "is not JSON" in str(found.faults[0])
    with pytest.raises(ValueError, match="is not JSON"):
        open_form(Form("coco", tmp_path, ()), ["a"], None)
