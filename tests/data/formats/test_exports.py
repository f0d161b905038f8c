"""What other tools write is read as they meant it: files of tests/data/exports, which those tools wrote."""

import pytest

from detkit.data.formats.forms import find_form
from detkit.data.formats.opening import open_form
from tests.data.exports.truth import FOLDER, KEPT, assert_as_written, found_in, key_of, truth

NOT_READ = {
    "pylabel_yolov5": "no file names the classes",  # each split is a set of its own, with its dataset.yaml
    "globox_yolo_v5": "no data set is there",  # no file names the classes
    "datumaro": "not read",  # own JSON
    "fiftyone": "no data set is there",  # own JSON
    "label_studio_json": "no data set is there",  # own JSON
    "datasets_imagefolder_columns": "write width and height in place of x2 and y2",
    "lvis_v1": "file_name",
}


@pytest.mark.parametrize("form", [form for form in KEPT if form not in NOT_READ])
def test_an_export_is_read_as_meant(form: str) -> None:
    found = find_form(FOLDER / form)
    warnings: list[str] = []
    splits = {split: found_in(open_form(found, [split], None, warnings.append)) for split in found.splits}
    assert_as_written(form, splits)


@pytest.mark.parametrize("form", NOT_READ)
def test_others_are_refused_by_a_line_that_says_why(form: str) -> None:
    with pytest.raises(ValueError, match=NOT_READ[form]):
        found = find_form(FOLDER / form)
        open_form(found, found.splits, None, lambda warning: None)


def test_each_export_is_known() -> None:
    assert {path.name for path in FOLDER.iterdir() if path.is_dir() and path.name != "__pycache__"} == set(KEPT)


def test_the_truth_is_compared_in_both_directions() -> None:
    expected = truth("supervision_coco")
    assert_as_written("supervision_coco", expected)
    with pytest.raises(AssertionError, match="is not among"):
        assert_as_written("supervision_coco", {**expected, "val": {"v0": []}})
    with pytest.raises(AssertionError, match="4 objects too many"):
        train = {key: objects * 2 if key == "t4" else objects for key, objects in expected["train"].items()}
        assert_as_written("supervision_coco", {**expected, "train": train})
    with pytest.raises(AssertionError):
        assert_as_written("supervision_coco", {"train": expected["train"]})


@pytest.mark.parametrize(
    "name", ["train/night/t5.png", "t5_png.rf.0123456789abcdef0123456789abcd04.png", "9e1b__t5.jpg"]
)
def test_an_image_is_known_by_the_names_that_tools_give_it(name: str) -> None:
    assert key_of(name) == "t5"
