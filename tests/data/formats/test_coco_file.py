"""COCO files: what is read as stated, what is mended with a warning, and what is refused with its place."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from detkit.data.faults import LISTED_TWICE, Severity
from detkit.data.formats import coco_file
from detkit.data.formats.coco_file import SAME_IMAGE, CocoFile, is_coco_file, read_coco_file
from detkit.data.formats.coco_objects import NO_BBOX, SAME_ID

Content = dict[str, Any]
SETTINGS = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def content() -> Content:
    """Two images, the second without objects; cat and dog, whose ids are neither from 1 on nor in order."""
    return {
        "info": {"year": 2026},
        "images": [
            {"id": 7, "file_name": "a.jpg", "height": 30, "width": 40},
            {"id": 3, "file_name": "sub/b.jpg", "height": 20, "width": 10},
        ],
        "annotations": [
            {"id": 11, "image_id": 7, "category_id": 9, "bbox": [1, 2.25, 10.5, 20], "area": 99.5, "iscrowd": 0},
            {"id": 12, "image_id": 7, "category_id": 4, "bbox": [0.1, 0.2, 0.3, 0.4], "iscrowd": 1},
        ],
        "categories": [{"id": 9, "name": " dog\n"}, {"id": 4, "name": "cat", "supercategory": "animal"}],
    }


def two_cats(value: Content) -> None:
    """Two ids of one name, both with objects."""
    value["categories"].append({"id": 5, "name": "cat "})
    value["annotations"][0]["category_id"] = 5


def read(tmp_path: Path, value: object) -> CocoFile:
    path = tmp_path / "a.json"
    path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
    return read_coco_file(path)


def test_a_file_is_read_as_stated(tmp_path: Path) -> None:
    found = read(tmp_path, content())
    assert found.faults == ()
    assert [(image.number, image.file_name, image.size) for image in found.images] == [
        (7, "a.jpg", (30, 40)),
        (3, "sub/b.jpg", (20, 10)),
    ]
    assert [(category.number, category.name) for category in found.categories] == [(4, "cat"), (9, "dog")]
    assert found.objects.labels.tolist() == [1, 0]
    assert found.objects.xywh.dtype == np.float64
    assert found.objects.xywh.tolist() == [[1, 2.25, 10.5, 20], [0.1, 0.2, 0.3, 0.4]]
    assert found.objects.area.tolist() == [99.5, 0.3 * 0.4]
    assert found.objects.ignore.tolist() == [False, True]
    assert found.objects.truncated.tolist() == [False, False]
    assert found.counts.tolist() == [2, 0]
    assert found.place(1) == "annotation 1 (id 12, cat)"


@pytest.mark.parametrize("place", [0, 2])
def test_a_category_without_objects_that_has_the_name_of_another_is_left_out(tmp_path: Path, place: int) -> None:
    value = content()
    value["categories"].insert(place, {"id": 0, "name": "cat", "supercategory": "none"})
    found = read(tmp_path, value)
    assert [(category.number, category.name) for category in found.categories] == [(4, "cat"), (9, "dog")]
    assert [fault.severity for fault in found.faults] == [Severity.WARNING]


def test_objects_stand_in_the_order_of_images_and_within_one_in_that_of_the_file(tmp_path: Path) -> None:
    value = content()
    value["annotations"] = [
        {"id": n, "image_id": image, "category_id": 4, "bbox": [n, 0, 1, 1]}
        for n, image in enumerate([3, 7, 3, 7], start=1)
    ]
    found = read(tmp_path, value)
    assert found.objects.xywh[:, 0].tolist() == [2, 4, 1, 3]
    assert found.counts.tolist() == [2, 2]
    assert found.annotation_ids == (2, 4, 1, 3)
    assert found.indices.tolist() == [1, 3, 0, 2]


def test_no_annotations_and_no_images_are_fine(tmp_path: Path) -> None:
    found = read(tmp_path, {"images": [], "annotations": [], "categories": []})
    assert found.faults == ()
    assert len(found.objects) == len(found.images) == len(found.counts) == 0
    found = read(tmp_path, content() | {"annotations": []})
    assert found.faults == ()
    assert found.counts.tolist() == [0, 0]


def test_pycocotools_reads_the_same_boxes(tmp_path: Path) -> None:
    value = content()
    found = read(tmp_path, value)
    theirs = COCO(str(tmp_path / "a.json"))
    for row, number in enumerate(found.annotation_ids):
        assert found.objects.xywh[row].tolist() == theirs.anns[number]["bbox"]
        assert found.objects.ignore[row] == theirs.anns[number]["iscrowd"]


@pytest.mark.parametrize(
    ("fields", "ignore", "crowd"),
    [
        ({"iscrowd": 1}, True, True),
        ({"iscrowd": 1, "difficult": 1}, True, False),
        ({"iscrowd": True, "difficult": True}, True, False),
        ({"iscrowd": 1, "difficult": 0}, True, True),
        ({"iscrowd": 1, "difficult": "1"}, True, True),
        ({"iscrowd": 1, "difficult": [1]}, True, True),
        ({"iscrowd": 0, "difficult": 1}, False, False),
        ({"difficult": 1}, False, False),
    ],
)
def test_difficult_is_read_where_iscrowd_is_1(
    fields: dict[str, object], ignore: bool, crowd: bool, tmp_path: Path
) -> None:
    value = content()
    value["annotations"][0] = {k: v for k, v in value["annotations"][0].items() if k != "iscrowd"} | fields
    found = read(tmp_path, value)
    assert found.faults == ()
    assert (bool(found.objects.ignore[0]), bool(found.objects.crowd[0])) == (ignore, crowd)


@pytest.mark.parametrize(("mark", "expected"), [(1, True), (True, True), (0, False), ("yes", False), (None, False)])
def test_truncated_is_kept(mark: object, expected: bool, tmp_path: Path) -> None:
    value = content()
    value["annotations"][0]["truncated"] = mark
    found = read(tmp_path, value)
    assert found.faults == ()
    assert found.objects.truncated.tolist() == [expected, False]


def test_iscrowd_decides_and_ignore_does_not(tmp_path: Path) -> None:
    value = content()
    value["annotations"][0] |= {"ignore": 1}
    value["annotations"][1] |= {"ignore": 0}
    assert read(tmp_path, value).objects.ignore.tolist() == [False, True]


def test_a_missing_box_is_that_of_the_outline(tmp_path: Path) -> None:
    value = content()
    del value["annotations"][0]["bbox"], value["annotations"][0]["area"]
    value["annotations"][0]["segmentation"] = [[5, 6, 8, 6, 8, 16], [2, 7, 3, 7.5]]
    found = read(tmp_path, value)
    assert [fault.summary for fault in found.faults] == [NO_BBOX]
    assert found.objects.xywh[0].tolist() == [2, 6, 6, 10]
    assert found.objects.area[0] == 60


def test_outlines_are_not_looked_at_where_there_is_a_box(tmp_path: Path) -> None:
    value = content()
    value["annotations"][0]["segmentation"] = {"counts": "no outline", "size": "none"}
    assert read(tmp_path, value).faults == ()


def change(key: str, index: int, **fields: object) -> Callable[[Content], None]:
    def apply(value: Content) -> None:
        value[key][index].update(fields)

    return apply


def drop(key: str, index: int, field: str) -> Callable[[Content], None]:
    def apply(value: Content) -> None:
        del value[key][index][field]

    return apply


def add(key: str, **fields: object) -> Callable[[Content], None]:
    def apply(value: Content) -> None:
        value[key].append(fields)

    return apply


DOG, CAT = "annotation 0 (id 11, dog)", "annotation 1 (id 12, cat)"
CAT_7 = "annotation 1 (id 12)"  # of an unknown class
BOX, NUMBER = "expected four numbers of px", "expected a whole number"


@pytest.mark.parametrize(
    ("spoil", "place", "field", "message"),
    [
        (change("annotations", 0, bbox=[1, 2, 3]), DOG, "bbox", f"is [1, 2, 3], {BOX}"),
        (change("annotations", 0, bbox=[1, 2, 3, "4"]), DOG, "bbox", BOX),
        (change("annotations", 0, bbox=[1, 2, 3, None]), DOG, "bbox", BOX),
        (change("annotations", 0, bbox=[1, 2, 3, True]), DOG, "bbox", BOX),
        (change("annotations", 0, bbox=[1, 2, 3, 1e10]), DOG, "bbox", BOX),
        (change("annotations", 0, bbox={"x": 1}), DOG, "bbox", BOX),
        (change("annotations", 0, bbox="1 2 3 4"), DOG, "bbox", BOX),
        (drop("annotations", 0, "bbox"), DOG, "bbox", "is missing, and the outline is not of polygons"),
        (change("annotations", 0, bbox=None, segmentation={"counts": []}), DOG, "bbox", "is missing"),
        (change("annotations", 0, bbox=None, segmentation=[]), DOG, "bbox", "is missing"),
        (change("annotations", 0, bbox=None, segmentation=[[1, 2, 3]]), DOG, "bbox", "is missing"),
        (change("annotations", 0, bbox=None, segmentation=[[1, 2, 3, "4"]]), DOG, "bbox", "is missing"),
        (change("annotations", 0, area="big"), DOG, "area", "is 'big', expected a number of px"),
        (change("annotations", 1, iscrowd=2), CAT, "iscrowd", "is 2, expected 0 or 1"),
        (change("annotations", 1, iscrowd="1"), CAT, "iscrowd", "is '1'"),
        (change("annotations", 1, iscrowd=[1]), CAT, "iscrowd", "is [1]"),
        (change("annotations", 1, iscrowd=None), CAT, "iscrowd", "is None"),
        (change("annotations", 1, image_id=8), CAT, "image_id", "is 8, which is not in the file's list"),
        (change("annotations", 1, image_id="7"), CAT, "image_id", "is '7'"),
        (drop("annotations", 1, "image_id"), CAT, "image_id", "is None"),
        (change("annotations", 1, category_id=5), "annotation 1 (id 12)", "category_id", "is 5, which is not in"),
        (change("annotations", 1, category_id=[4]), "annotation 1 (id 12)", "category_id", "is [4]"),
        (change("annotations", 1, category_id=4.0), "annotation 1 (id 12)", "category_id", "is 4.0"),
        (change("images", 1, id="3"), "image 1", "id", f"is '3', {NUMBER}"),
        (change("images", 1, id=True), "image 1", "id", f"is True, {NUMBER}"),
        (change("images", 1, id=2**63), "image 1", "id", NUMBER),
        (drop("images", 1, "id"), "image 1", "id", f"is None, {NUMBER}"),
        (change("images", 1, id=7), "image 1 (id 7)", "id", "is also that of 'a.jpg', here of 'sub/b.jpg'"),
        (drop("images", 1, "file_name"), "image 1 (id 3)", "file_name", "is None, expected the name of an image"),
        (change("images", 1, file_name=""), "image 1 (id 3)", "file_name", "is ''"),
        (change("images", 1, file_name="./"), "image 1 (id 3)", "file_name", "expected the name"),
        (change("images", 1, file_name="/../.."), "image 1 (id 3)", "file_name", "is '/../..', expected the name"),
        (change("images", 1, file_name="C:\\"), "image 1 (id 3)", "file_name", "expected the name of an image"),
        (change("images", 1, file_name="b\0.jpg"), "image 1 (id 3)", "file_name", "expected the name of an image"),
        (change("images", 1, file_name=["b.jpg"]), "image 1 (id 3)", "file_name", "expected the name of an image"),
        (add("categories", id="1", name="x"), "category 2", "id", f"is '1', {NUMBER}"),
        (add("categories", id=1), "category 2 (id 1)", "name", "is None, expected a text"),
        (add("categories", id=1, name="  "), "category 2 (id 1)", "name", "is empty"),
        (add("categories", id=1, name="a/b"), "category 2 (id 1)", "name", "without / and"),
        (add("categories", id=4, name="Cat"), "category 2 (id 4)", "id", "is also that of 'cat', here of 'Cat'"),
        (two_cats, "category 2 (id 5)", "name", "is also that of id 4; rename one, or"),
    ],
)
def test_errors_name_file_place_and_field(
    tmp_path: Path, spoil: Callable[[Content], None], place: str, field: str, message: str
) -> None:
    value = content()
    spoil(value)
    faults = read(tmp_path, value).faults
    assert len(faults) == 1
    assert faults[0].severity is Severity.ERROR
    assert (faults[0].object, faults[0].field) == (place, field)
    assert message in faults[0].message
    assert str(faults[0]).startswith(f"{tmp_path / 'a.json'}: {place}: {field}: ")


@pytest.mark.parametrize(
    ("spoil", "summary", "num_objects", "num_images"),
    [
        (add("images", id=7, file_name="./a.jpg"), LISTED_TWICE, 2, 2),
        (add("images", id=8, file_name="a.jpg"), SAME_IMAGE, 2, 3),
        (add("categories", id=4, name="cat"), LISTED_TWICE, 2, 2),
        (change("annotations", 1, id=11), SAME_ID, 2, 2),
    ],
)
def test_warnings(
    tmp_path: Path, spoil: Callable[[Content], None], summary: str, num_objects: int, num_images: int
) -> None:
    value = content()
    spoil(value)
    found = read(tmp_path, value)
    assert [(fault.severity, fault.summary) for fault in found.faults] == [(Severity.WARNING, summary)]
    assert (len(found.objects), len(found.images)) == (num_objects, num_images)


@pytest.mark.parametrize("fields", [{"height": 0}, {"width": -1}, {"width": "40"}, {"height": 30.5}, {"height": None}])
def test_a_size_that_is_none_is_not_known(tmp_path: Path, fields: Content) -> None:
    value = content()
    value["images"][0] |= fields
    found = read(tmp_path, value)
    assert found.faults == ()
    assert [image.size for image in found.images] == [None, (20, 10)]


def test_objects_of_a_bad_image_are_not_told_of_again(tmp_path: Path) -> None:
    value = content()
    value["images"][0]["file_name"] = None
    found = read(tmp_path, value)
    assert [fault.object for fault in found.faults] == ["image 0 (id 7)"]
    assert len(found.objects) == 0


def test_all_faults_of_an_annotation_are_told(tmp_path: Path) -> None:
    value = content()
    value["annotations"][0] = {"id": "x", "image_id": 1, "category_id": 1, "bbox": [], "area": [], "iscrowd": -1}
    fields = [fault.field for fault in read(tmp_path, value).faults]
    assert fields == ["image_id", "category_id", "bbox", "area", "iscrowd"]


@pytest.mark.parametrize(("convert", "first"), [(str, "'7'"), (float, "7.0")])
def test_ids_that_are_no_whole_numbers_are_one_fault_a_kind(
    tmp_path: Path, convert: Callable[[int], object], first: str
) -> None:
    value = content()
    for annotation in value["annotations"]:
        annotation["image_id"] = convert(annotation["image_id"])
    value["annotations"][1]["category_id"] = None
    found = read(tmp_path, value)
    assert [(fault.object, fault.field) for fault in found.faults] == [(DOG, "image_id"), (CAT_7, "category_id")]
    assert f"is {first}, and 1 more are no whole numbers; write ids as numbers like 17" in str(found.faults[0])
    assert "is None, expected a whole number; write ids" in str(found.faults[1])
    value = content()
    value["images"] = [image | {"id": convert(image["id"])} for image in value["images"]]
    value["annotations"] = []
    (fault,) = read(tmp_path, value).faults
    assert f"a.json: image 0: id: is {first}, and 1 more are no whole numbers" in str(fault)


@pytest.mark.parametrize(
    ("stated", "name"),
    [
        ("cam a\\b.jpg", "cam a/b.jpg"),
        ("/home/me/set/b.jpg", "home/me/set/b.jpg"),
        ("\\\\server\\share\\b.jpg", "server/share/b.jpg"),
        ("C:\\set\\b.jpg", "set/b.jpg"),
        ("../../b.jpg", "b.jpg"),
        ("x/../../b.jpg", "x/b.jpg"),
        ("./x//b.jpg", "x/b.jpg"),
    ],
)
def test_names_never_lead_out_of_the_folder(tmp_path: Path, stated: str, name: str) -> None:
    value = content()
    value["images"][1]["file_name"] = stated
    found = read(tmp_path, value)
    assert found.faults == ()
    assert found.images[1].file_name == name


BARE = b'{"images": [], "categories": [], "annotations": [%s]}'


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not JSON (Input data was truncated)"),
        (b"<annotation/>", "is not JSON"),
        (b'{"images": [}', "is not JSON"),
        (b'{"images": [', "truncated"),
        (BARE % b'{"bbox": [1, NaN, 2, 3]}', "NaN and Infinity are no numbers in JSON"),
        (BARE % b'{"bbox": [1, -Infinity, 2, 3]}', "NaN and Infinity are no numbers in JSON"),
        (BARE % b'{"bbox": [1, 1e999, 2, 3]}', "out of range - at `$.annotations[0].bbox[1]`"),
        (BARE % b"{}, 3", "Expected `object`, got `int` - at `$.annotations[1]`"),
        (b"[]", "is no COCO instances file (Expected `object`, got `array`)"),
        (
            b'{"images": {}, "annotations": [], "categories": []}',
            "Expected `array | null`, got `object` - at `$.images`",
        ),
        (b"{}", "has no images, annotations, categories, so it is no COCO instances file"),
        (b'{"images": [], "annotations": null, "categories": []}', "has no annotations"),
        (b'{"images": [], "annotations": [{"caption": "a cat"}]}', "has no categories"),
        (BARE % b'{"keypoints": [1, 2, 3]}, {}', "none of its annotations has a bbox; name an instances file"),
        (b'{"x": ' + b"[" * 10**5 + b"]" * 10**5 + b"}", "nests too deep"),
        (b'{"images": [{"file_name": "\xff"}]}', "is not in UTF-8"),
        ('{"images": []}'.encode("utf-16"), "is not JSON"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    found = read(tmp_path, data)
    assert len(found.faults) == 1
    assert found.faults[0].severity is Severity.ERROR
    assert message in str(found.faults[0])
    assert len(found.images) == len(found.objects) == 0


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbf" + json.dumps(content()).encode()).faults == ()


def test_large_files_and_pipes_are_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is not a regular file" in str(read_coco_file(tmp_path / "pipe").faults[0])
    assert "cannot be read (No such file" in str(read_coco_file(tmp_path / "gone").faults[0])
    monkeypatch.setattr(coco_file, "MAX_FILE_BYTES", 50)
    assert "at most 50 are read" in str(read(tmp_path, content()).faults[0])


def test_only_files_of_objects_look_like_one(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for value, expected in (
        (content(), True),
        (content() | {"categories": [{"id": 1, "name": "person", "keypoints": ["nose"]}]}, False),
        (content() | {"annotations": {}}, False),
        ([{"image_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}], False),
        ({"images": [], "annotations": [{"caption": "a cat"}]}, False),
    ):
        path.write_text(json.dumps(value))
        assert is_coco_file(path) is expected
    path.write_text("{")
    assert not is_coco_file(path)


VALUES = st.one_of(
    st.sampled_from([None, True, 0, 1, 2, -1, 1.5, 1e300, "a.jpg", "", [], [[1, 2, 3, 4]], [1, 2, 3, 4], {}]),
    st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=4),
)
FIELDS = ("id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation", "file_name", "height", "name")
ENTRIES = st.lists(st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6), max_size=2)


@SETTINGS
@given(ENTRIES, ENTRIES, ENTRIES)
def test_reading_never_raises_and_leaves_nothing_unsaid(
    tmp_path: Path, images: list[Content], annotations: list[Content], categories: list[Content]
) -> None:
    found = read(tmp_path, {"images": images, "annotations": annotations, "categories": categories})
    assert len(found.objects) == found.counts.sum() == len(found.annotation_ids)
    assert np.isfinite(found.objects.xywh).all()
    if not any(fault.severity is Severity.ERROR for fault in found.faults):
        assert len(found.objects) == len(annotations)


@SETTINGS
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(tmp_path: Path, data: bytes) -> None:
    assert len(read(tmp_path, data).faults) <= 1
