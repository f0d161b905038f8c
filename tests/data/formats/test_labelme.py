"""Files of labelme: where they are found, which shapes are objects, and what is refused with file, shape and field."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detkit.data.faults import CLIPPED, LISTED_TWICE, NOT_ANNOTATED, DatasetMissing, Severity
from detkit.data.formats.labelme import (
    JOINED,
    NO_SHAPE_AREA,
    OTHER_JSON,
    TURNED,
    find_labelme_splits,
    read_labelme_split,
)
from detkit.data.formats.read_split import NO_AREA, ReadSplit
from tests.data.formats.told import errors, warnings

HEIGHT, WIDTH = 20, 40
Shape = dict[str, object]


def image(path: Path, shade: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT), (shade, 2, 3)).save(path)
    return path


def shape(kind: object, *points: object, label: object = "dog", **others: object) -> Shape:
    return {"label": label, "points": list(points), "shape_type": kind, "group_id": None, "flags": {}, **others}


DOG = shape("rectangle", [10, 5], [30, 15])


def labelled(file: Path, *shapes: Shape, path: object = None, **others: object) -> Path:
    """A file of labelme; `path` is that of its image, by default beside it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {"version": "6.3.1", "flags": {}, "shapes": list(shapes), "imagePath": path or f"{file.stem}.png"}
    content |= {"imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH} | others
    file.write_text(json.dumps(content))
    return file


def read(root: Path, *shapes: Shape) -> ReadSplit:
    image(root / "a.png")
    labelled(root / "a.json", *shapes)
    return read_labelme_split(root, "all")


# Shapes


@pytest.mark.parametrize(
    ("drawn", "box", "area"),
    [
        (shape("rectangle", [10.25, 5], [30, 15.5]), [10.25, 5, 30, 15.5], 19.75 * 10.5),
        (shape("rectangle", [30, 5], [10, 15]), [10, 5, 30, 15], 200),  # drawn from the right
        (shape("rectangle", [10, 5], [30, 5], [30, 15], [10, 15]), [10, 5, 30, 15], 200),  # X-AnyLabeling
        (shape("polygon", [10, 5], [30, 5], [10, 15]), [10, 5, 30, 15], 100),
        (shape(None, [10, 5], [30, 5], [10, 15]), [10, 5, 30, 15], 100),  # before shape_type was written
        (shape("circle", [20, 10], [23, 14]), [15, 5, 25, 15], 25 * np.pi),
        (shape("mask", [10, 5], [29, 14], mask="..."), [10, 5, 30, 15], 200),  # corners are pixels of the mask
    ],
)
def test_shapes_that_have_an_area_are_boxes(tmp_path: Path, drawn: Shape, box: list[float], area: float) -> None:
    found = read(tmp_path, drawn)
    assert found.faults == ()
    np.testing.assert_allclose(found.truth.objects.boxes, [box], atol=1e-12)
    np.testing.assert_allclose(found.truth.objects.area, [area], atol=1e-9)
    assert found.name_object(0) == "shape 0 (dog)"


def test_turned_boxes_are_the_upright_ones_around_them_and_say_so(tmp_path: Path) -> None:
    found = read(tmp_path, shape("oriented_rectangle", [20, 2], [28, 10], [20, 18], [12, 10]))
    assert warnings(found) == [TURNED] and errors(found) == []
    assert found.truth.objects.boxes.tolist() == [[12, 2, 28, 18]]
    assert found.truth.objects.area.tolist() == [128]


@pytest.mark.parametrize("kind", ["point", "points", "line", "linestrip"])
def test_points_and_lines_are_left_out_with_a_warning(tmp_path: Path, kind: str) -> None:
    found = read(tmp_path, shape(kind, [1, 2], [3, 4]), DOG)
    assert warnings(found) == [NO_SHAPE_AREA] and errors(found) == []
    assert len(found.truth.objects) == 1


def test_flags_and_difficult_say_what_an_object_is(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        DOG | {"flags": {"difficult": True, "crowd": False}},
        DOG | {"flags": {"crowd": True, "mine": True}},
        DOG | {"flags": {"truncated": True}},
        DOG | {"difficult": True},
        DOG | {"flags": None},
    )
    objects = found.truth.objects
    assert objects.ignore.tolist() == [True, True, False, True, False]
    assert objects.crowd.tolist() == [False, True, False, False, False]
    assert objects.truncated.tolist() == [False, False, True, False, False]


def test_shapes_of_one_class_and_group_are_one_object_but_rectangles_are_not(tmp_path: Path) -> None:
    left, right = ([0, 0], [10, 0], [10, 10]), ([20, 5], [30, 5], [30, 15])
    found = read(
        tmp_path,
        shape("polygon", *left, group_id=1),
        shape("polygon", *right, group_id=1),
        shape("polygon", *left, group_id=1, label="cat"),
        shape("polygon", *left, group_id=2),
        DOG | {"group_id": 7},
        DOG | {"group_id": 7},
    )
    assert warnings(found) == [JOINED]
    rows = [(found.truth.classes[label], *box) for label, box in zip(*_labels_and_boxes(found), strict=True)]
    assert rows == [
        ("dog", 0, 0, 30, 15), ("cat", 0, 0, 10, 10), ("dog", 0, 0, 10, 10), ("dog", 10, 5, 30, 15),
        ("dog", 10, 5, 30, 15),
    ]  # fmt: skip
    assert found.truth.objects.area.tolist()[:2] == [100, 50]


def _labels_and_boxes(split: ReadSplit) -> tuple[list[int], list[list[float]]]:
    return split.truth.objects.labels.tolist(), split.truth.objects.boxes.tolist()


@pytest.mark.parametrize(
    ("drawn", "message"),
    [
        (shape("rectangle", [10, 5]), "shape 0 (dog): points: are [[10, 5]], expected two or more [x, y]"),
        (shape("rectangle", [10, 5], [30, "15"]), "shape 0 (dog): points: are"),
        (shape("rectangle", [10, 5], [30, 15, 2]), "expected two or more [x, y] in px"),
        (shape("rectangle", [10, 5], [True, 15]), "expected two or more [x, y] in px"),
        (shape("rectangle", [10, 5], [1e300, 15]), "expected two or more [x, y] in px"),
        (shape("rectangle") | {"points": {"x": 1}}, "points: are {'x': 1}, expected"),
        (shape("rectangle") | {"points": None}, "points: are None, expected"),
        (shape("circle", [1, 2], [3, 4], [5, 6]), "shape 0 (dog): shape_type: is 'circle' of 3 points; known are"),
        (shape("star", [1, 2], [3, 4]), "shape_type: is 'star' of 2 points"),
        (shape(["rectangle"], [1, 2], [3, 4]), "shape_type: is \"['rectangle']\" of 2 points"),
        (shape("rectangle", [10, 5], [30, 15], label=3), "shape 0: label: is 3, expected the class as text"),
        (shape("rectangle", [10, 5], [30, 15], label=" "), "shape 0 (''): class: '' is empty"),
        (shape("rectangle", [10, 5], [30, 15], label="a/b"), "class: 'a/b' must be at most"),
        (shape("rectangle", [50, 5], [60, 15]), "shape 0 (dog): points: (50, 5, 60, 15) lies outside the image"),
    ],
)
def test_shapes_that_are_errors(tmp_path: Path, drawn: Shape, message: str) -> None:
    found = read(tmp_path, drawn)
    assert len(found.truth.objects) == 0
    assert len(errors(found)) == 1
    assert message in errors(found)[0]
    assert errors(found)[0].startswith(str(tmp_path / "a.json"))


def test_boxes_beyond_the_image_or_without_area_are_warnings(tmp_path: Path) -> None:
    found = read(tmp_path, shape("rectangle", [-3, 5], [30, 15]), shape("rectangle", [5, 5], [5, 15]))
    assert sorted(warnings(found)) == sorted([CLIPPED, NO_AREA])
    assert found.truth.objects.boxes.tolist() == [[0, 5, 30, 15]]


# Files and folders


def test_folders_are_splits_and_names_may_have_folders_spaces_and_parentheses(tmp_path: Path) -> None:
    for place in ("train/cam a/f (1)", "train/cam b/f (1)", "val/c"):
        image(tmp_path / f"{place}.png")
        labelled(tmp_path / f"{place}.json", DOG, path=f"{Path(place).name}.png")
    assert find_labelme_splits(tmp_path) == ("train", "val")
    found = read_labelme_split(tmp_path, "train")
    assert found.faults == ()
    assert found.truth.image_ids == ("cam_a_f_(1)", "cam_b_f_(1)")
    assert found.truth.sizes.tolist() == [[HEIGHT, WIDTH]] * 2
    assert found.annotations[0] == tmp_path / "train/cam a/f (1).json"
    with pytest.raises(DatasetMissing, match="split 'test' is no folder with files of labelme; splits there: train, v"):
        read_labelme_split(tmp_path, "test")


def test_a_split_in_a_folder_of_the_set_keeps_its_name(tmp_path: Path) -> None:
    for split in ("train", "val"):
        image(tmp_path / f"tools/{split}/images/a.png")
        labelled(tmp_path / f"tools/{split}/labels/a.json", DOG)
    assert find_labelme_splits(tmp_path) == ("tools/train", "tools/val")
    assert read_labelme_split(tmp_path, "tools/val").truth.image_ids == ("a",)


@pytest.mark.parametrize(
    ("file", "stated", "place"),
    [
        ("a.json", "a.png", "a.png"),
        ("a.json", "./a.png", "a.png"),
        ("a.json", "renamed.jpg", "a.png"),  # the image of its own name
        ("a.json", None, "a.png"),
        ("a.json", 7, "a.png"),
        ("annotations/a.json", "../images/b c.png", "images/b c.png"),
        ("annotations/a.json", "..\\images\\b c.png", "images/b c.png"),
        ("annotations/a.json", "b c.png", "images/b c.png"),
        ("annotations/a.json", "C:\\Users\\me\\set\\images\\b c.png", "images/b c.png"),
        ("annotations/a.json", "/home/me/set/images/b c.png", "images/b c.png"),
        ("annotations/a.json", "../../../images/b c.png", "images/b c.png"),
    ],
)
def test_where_the_image_is_looked_for(tmp_path: Path, file: str, stated: object, place: str) -> None:
    image(tmp_path / place)
    labelled(tmp_path / file, DOG, path=stated)
    found = read_labelme_split(tmp_path, "all")
    assert found.faults == ()
    assert found.paths == (tmp_path / place,)


def test_images_outside_of_the_data_set_are_not_taken(tmp_path: Path) -> None:
    image(tmp_path / "other.png")
    for stated in ("../other.png", str(tmp_path / "other.png"), "x\0.png", "..", "n" * 5000):
        labelled(tmp_path / "set/a.json", DOG, path=stated)
        found = read_labelme_split(tmp_path / "set", "all")
        assert "is not there; put it beside the file" in errors(found)[0]
        assert len(found.truth) == 0


def test_an_image_inside_the_file_is_written_out_once(tmp_path: Path) -> None:
    data = image(tmp_path / "elsewhere.png").read_bytes()
    root = tmp_path / "set"
    path = labelled(root / "train/cam a/f.json", DOG, path="gone.png", imageData=base64.b64encode(data).decode())
    found = read_labelme_split(root, "train")
    assert [fault.severity for fault in found.faults] == [Severity.INFO]
    assert f"1 images inside were written to {root / 'detkit_images/train'}" in str(found.faults[0])
    assert found.truth.image_ids == ("cam_a_f",) and len(found.truth.objects) == 1
    assert found.paths == (root / "detkit_images/train/cam_a_f.png",) and found.paths[0].read_bytes() == data
    assert read_labelme_split(root, "train").faults == ()
    assert find_labelme_splits(root) == ("train",)
    for text, message in (("no base64!", "is not an image in base64"), ("aGVsbG8=", "is no image that can be read")):
        labelled(path, DOG, path="gone.png", imageData=text)
        assert f"{path}: imageData: {message}" in errors(read_labelme_split(root, "train"))[0]


def test_images_without_file_are_left_out_and_files_without_shapes_are_background(tmp_path: Path) -> None:
    image(tmp_path / "b.png", 1)
    found = read(tmp_path)
    assert found.truth.image_ids == ("a",) and len(found.truth.objects) == 0
    assert warnings(found) == [NOT_ANNOTATED]
    assert found.faults[0].file == tmp_path / "b.png"


def test_a_size_of_another_image_is_an_error_and_one_before_turning_is_not(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    labelled(tmp_path / "a.json", DOG, imageHeight=200, imageWidth=400)
    (message,) = errors(read_labelme_split(tmp_path, "all"))
    assert "imageWidth, imageHeight: is 400 x 200, the image is 40 x 20; restore the image or mend" in message
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (HEIGHT, WIDTH)).save(tmp_path / "a.png", exif=exif)  # upright: 40 wide, 20 high
    for size in ((HEIGHT, WIDTH), (WIDTH, HEIGHT)):
        labelled(tmp_path / "a.json", DOG, imageHeight=size[0], imageWidth=size[1])
        found = read_labelme_split(tmp_path, "all")
        assert found.truth.sizes.tolist() == [list(size)]
    labelled(tmp_path / "a.json", DOG, imageHeight=None)
    assert read_labelme_split(tmp_path, "all").truth.sizes.tolist() == [[HEIGHT, WIDTH]]


def test_one_image_of_two_files_and_two_images_of_one_id(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    labelled(tmp_path / "a.json", DOG)
    labelled(tmp_path / "b.json", DOG, path="a.png")
    found = read_labelme_split(tmp_path, "all")
    assert warnings(found) == [LISTED_TWICE] and errors(found) == [] and len(found.truth) == 1
    labelled(tmp_path / "b.json", path="a.png")
    (message,) = errors(read_labelme_split(tmp_path, "all"))
    assert message == f"{tmp_path / 'b.json'}: a.png has other objects in a.json before; keep one of the two"
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "a.jpg")
    labelled(tmp_path / "b.json", DOG, path="a.jpg")
    (message,) = errors(read_labelme_split(tmp_path, "all"))
    assert f"{tmp_path / 'a.jpg'} has the id of {tmp_path / 'a.png'}, 'a'; rename one" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"shapes": [', "is not JSON"),
        ('{"shapes": [{"points": [[NaN, 1]]}]}', "is not JSON"),
        ('{"shapes": 5}', "is no file of labelme (Expected `array | null`, got `int` - at `$.shapes`)"),
        ('{"shapes": [3]}', "at `$.shapes[0]`"),
        ('{"shapes": [{"label": ' + "[" * 5000, "is not JSON"),
        ('{"shapes": [], "imagePath": "\xff"}', "is not JSON"),
    ],
)
def test_broken_files_are_errors(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    (fault,) = errors(read_labelme_split(tmp_path, "all"))
    assert fault.startswith(f"{tmp_path / 'a.json'}: ") and message in fault


def test_other_json_files_are_left_out_and_alone_are_no_labelme(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"a": 1}')
    (tmp_path / "_annotations.coco.json").write_text('{"images": [], "annotations": [], "categories": []}')
    assert find_labelme_splits(tmp_path) == ()
    assert warnings(read(tmp_path, DOG)) == [OTHER_JSON, OTHER_JSON]
    assert find_labelme_splits(tmp_path) == ("all",)
    assert find_labelme_splits(tmp_path / "none") == ()
