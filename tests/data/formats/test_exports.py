"""What other tools write is read as they meant it: files of tests/data/exports, which those tools wrote."""

import re

import pytest

from detkit.data.formats.forms import find_form, open_form
from tests.data.exports.truth import FOLDER, KEPT, assert_as_written, found_in, key_of, truth

NOT_YET = {
    "datumaro_voc": "ids with a folder (night/t5), and images without XML, are refused",
    "datumaro_yolo": "the lists that obj.data names are not read",
    "globox_voc": "XML files in folders of a split are not found",
    "globox_coco": "SPLIT/annotations.json is not found",
    "fiftyone_voc": "SPLIT/data with SPLIT/labels/*.xml is not found",
    "fiftyone_coco": "SPLIT/labels.json is not found",
    "fiftyone_coco_folders": "SPLIT/labels.json is not found",
    "fiftyone_yolov4": "SPLIT/images.txt with SPLIT/obj.names is not found",
    "label_studio_coco": "SPLIT/result.json is not found",
    "label_studio_coco_uploads": "SPLIT/result.json is not found",
    "label_studio_voc": "images without XML are left out",
    "pylabel_coco": "SPLIT/annotations.json is not found",
    "pylabel_yolov5": "SPLIT/dataset.yaml is not found",
    "supervision_yolo": "a data.yaml without train and val, beside folders of splits, is not read",
}
FORMS = [form for form in KEPT if re.search("coco|voc|yolo|darknet", form) and KEPT[form].has_names]


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(form, marks=[pytest.mark.xfail(strict=True, reason=NOT_YET[form])] if form in NOT_YET else [])
        for form in FORMS
    ],
)
def test_an_export_is_read_as_meant(form: str) -> None:
    found = find_form(FOLDER / form)
    warnings: list[str] = []
    splits = {split: found_in(open_form(found, [split], None, warnings.append)) for split in found.splits}
    assert_as_written(form, splits)


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
