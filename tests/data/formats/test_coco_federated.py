"""LVIS's files: what they say of classes that were looked for, what is wrong with it, and where their images are."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detkit.commands.convert_data import convert
from detkit.data.faults import FaultError, Severity
from detkit.data.formats.coco import read_coco_split
from detkit.data.formats.forms import find_form, roles
from detkit.data.formats.joined import relabelled
from detkit.data.formats.listed import ListedDataset
from detkit.data.formats.opening import SplitReader, open_form
from detkit.data.validation.check import check_data
from detkit.data.validation.check_report import CheckReport
from detkit.structures import Target

Content = dict[str, Any]


def content(split: str = "train2017", plus: int = 0) -> Content:
    """As lvis_v1_train.json: no file_name; two images, the first with two cats. `plus` is added to their ids."""
    return {
        "images": [
            {
                "id": number,
                "height": 30,
                "width": 40,
                "coco_url": f"http://images.cocodataset.org/{split}/{number:012}.png",
                "neg_category_ids": absent,
                "not_exhaustive_category_ids": partial,
            }
            for number, absent, partial in [(9 + plus, [4], [2]), (5 + plus, [2, 4], [])]
        ],
        "annotations": [
            {
                "id": 1,
                "image_id": 9 + plus,
                "category_id": 2,
                "bbox": [1, 2, 10.5, 20],
                "area": 99.5,
                "segmentation": [],
            },
            {"id": 2, "image_id": 9 + plus, "category_id": 2, "bbox": [20, 2, 10, 20], "area": 200, "segmentation": []},
        ],
        "categories": [
            {"id": 2, "name": "cat", "synset": "cat.n.01", "frequency": "f"},
            {"id": 4, "name": "dog", "frequency": "r"},
            {"id": 6, "name": "yak", "frequency": "c"},
        ],
    }


def write(root: Path, value: Content, split: str = "train", images: str = "train2017") -> None:
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / f"annotations/lvis_v1_{split}.json").write_text(json.dumps(value))
    (root / images).mkdir(parents=True, exist_ok=True)
    for image in value["images"]:
        Image.new("RGB", (40, 30), (image["id"], 0, 0)).save(root / images / f"{image['id']:012}.png")


def opened(root: Path, split: str = "lvis_v1_train") -> ListedDataset:
    return open_form(find_form(root), [split], None, lambda warning: None)


def checked(root: Path) -> CheckReport:
    form = find_form(root)
    return check_data(SplitReader(form), form.splits, None)


def known(dataset: ListedDataset) -> list[tuple[list[str], list[str]]]:
    """Of each image, the names of the classes that were looked for, and of those that more may be of."""
    federated = dataset.ground_truth().federated
    assert federated is not None
    names = np.array(dataset.classes)
    rows = [federated.labels_of(image) for image in range(len(dataset))]
    return [(names[checked].tolist(), names[partial].tolist()) for checked, partial in rows]


def test_it_is_found_and_says_what_was_looked_for(tmp_path: Path) -> None:
    write(tmp_path, content())
    write(tmp_path, content("val2017", 10), "val", "val2017")
    form = find_form(tmp_path)
    assert (form.kind, form.splits) == ("coco", ("lvis_v1_train", "lvis_v1_val"))
    assert (roles(form).train, roles(form).test) == (("lvis_v1_train",), ("lvis_v1_val",))
    dataset = opened(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in dataset.paths] == [
        "train2017/000000000009.png",
        "train2017/000000000005.png",
    ]
    assert known(dataset) == [(["cat", "dog"], ["cat"]), (["cat", "dog"], [])]
    federated = dataset.ground_truth().federated
    assert federated is not None and federated.frequencies == ("f", "r", "c")


@pytest.mark.parametrize("images", ["images/train2017", "train2017", "images", "lvis_v1_train"])
def test_images_lie_below_the_root_in_any_of_the_usual_places(tmp_path: Path, images: str) -> None:
    write(tmp_path, content(), images=images)
    assert all(path.is_file() for path in opened(tmp_path).paths)


def test_a_target_says_which_classes_its_background_may_show(tmp_path: Path) -> None:
    value = content()
    value["images"].append(value["images"][1] | {"id": 7, "neg_category_ids": [2, 4, 6]})
    value["images"][-1]["coco_url"] = "http://images.cocodataset.org/train2017/000000000007.png"
    write(tmp_path, value)
    dataset = opened(tmp_path)
    targets: list[Target] = [dataset.target(index) for index in range(3)]
    assert [None if one.unknown is None else one.unknown.tolist() for one in targets] == [
        [True, False, True],  # more cats may be there
        [False, False, True],
        None,  # all was looked for: as in any other data set
    ]
    read = dataset.read(0).target
    assert read is not None and read.unknown is not None


@pytest.mark.parametrize(
    "image, change, told",
    [
        (0, {"neg_category_ids": [3]}, "image id 9: neg_category_ids: has 3, which is no category id"),
        (0, {"neg_category_ids": ["4"]}, "image id 9: neg_category_ids: has '4', which is no category id"),
        (0, {"neg_category_ids": [True]}, "image id 9: neg_category_ids: has True, which is no category id"),
        (0, {"neg_category_ids": {"4": 1}}, "image id 9: neg_category_ids: is {'4': 1}, expected a list"),
        (0, {"neg_category_ids": [2]}, "image id 9: neg_category_ids: has 'cat', of which the image has objects"),
        (1, {"neg_category_ids": None}, "image id 5: neg_category_ids: is missing in 1 images, others have it"),
        (1, {"not_exhaustive_category_ids": [[]]}, "image id 5: not_exhaustive_category_ids: has [], which is no"),
        (1, {"not_exhaustive_category_ids": 4}, "image id 5: not_exhaustive_category_ids: is 4, expected a list"),
    ],
)
def test_what_is_wrong_in_its_lists_is_an_error(tmp_path: Path, image: int, change: Content, told: str) -> None:
    value = content()
    value["images"][image] |= change
    write(tmp_path, value)
    with pytest.raises(FaultError) as raised:
        opened(tmp_path)
    assert told in str(raised.value)


def test_a_list_of_partial_classes_may_be_missing_and_a_frequency_be_anything(tmp_path: Path) -> None:
    value = content()
    for image in value["images"]:
        del image["not_exhaustive_category_ids"]
    value["categories"][0]["frequency"] = ["f"]
    del value["categories"][1]["frequency"]
    write(tmp_path, value)
    federated = opened(tmp_path).ground_truth().federated
    assert federated is not None and federated.frequencies == ("", "", "c")
    assert not federated.partial.any()


@pytest.mark.parametrize("url", ["http://images.cocodataset.org/../../etc/a.png", "file:///../a.png", "//../../a.png"])
def test_no_url_leads_out_of_the_folder(tmp_path: Path, url: str) -> None:
    value = content()
    value["images"][0]["coco_url"] = url
    write(tmp_path, value)
    read = read_coco_split(tmp_path, "lvis_v1_train")
    assert all(tmp_path in path.parents and ".." not in path.parts for path in read.paths)


def test_the_check_says_that_it_is_federated_and_counts_the_classes(tmp_path: Path) -> None:
    write(tmp_path, content())
    report = checked(tmp_path)
    [note] = [fault for fault in report.faults if fault.severity is Severity.INFO]
    assert "federated, as LVIS: of 3 classes 2.0 were looked for in an image" in str(note)
    assert report.count(Severity.ERROR) == 0


def test_the_test_file_of_lvis_without_annotations_is_no_warning(tmp_path: Path) -> None:
    write(tmp_path, content())
    (tmp_path / "annotations/lvis_v1_image_info_test_dev.json").write_text('{"images": [], "categories": []}')
    assert "image_info" not in str([str(fault) for fault in checked(tmp_path).faults])


def test_to_coco_and_back_is_the_same(tmp_path: Path) -> None:
    write(tmp_path / "a", content())
    write(tmp_path / "a", content("val2017", 10), "val", "val2017")
    told = convert(find_form(tmp_path / "a"), "coco", tmp_path / "b", None, False, lambda warning: None)
    assert not [line for line in told if "federated" in line]
    for split in ("lvis_v1_train", "lvis_v1_val"):
        one, other = opened(tmp_path / "a", split), opened(tmp_path / "b", split)
        assert known(one) == known(other)
        first, second = one.ground_truth(), other.ground_truth()
        assert first.federated is not None and second.federated is not None
        assert first.federated.frequencies == second.federated.frequencies
        assert first.objects.xywh.tolist() == second.objects.xywh.tolist()
        assert first.image_numbers == second.image_numbers
    written = json.loads((tmp_path / "b/annotations/instances_lvis_v1_train.json").read_text())
    assert [image["neg_category_ids"] for image in written["images"]] == [[4], [2, 4]]


@pytest.mark.parametrize("kind", ["voc", "yolo"])
def test_other_forms_lose_it_and_that_is_said(tmp_path: Path, kind: Any) -> None:
    write(tmp_path / "a", content())
    told = convert(find_form(tmp_path / "a"), kind, tmp_path / "b", None, False, lambda warning: None)
    [line] = [line for line in told if "federated" in line]
    assert line.startswith("2 objects are in images of which few classes are known (federated)")
    form = find_form(tmp_path / "b")
    converted = open_form(form, form.splits, None, lambda warning: None)
    assert converted.ground_truth().federated is None


def test_splits_and_class_names_carry_it(tmp_path: Path) -> None:
    write(tmp_path, content())
    value = content("val2017", 10)
    value["categories"].append({"id": 1, "name": "ant", "frequency": "r"})
    value["images"][1]["neg_category_ids"] = [1]
    write(tmp_path, value, "val", "val2017")
    both = open_form(find_form(tmp_path), ["lvis_v1_train", "lvis_v1_val"], None, lambda warning: None)
    assert both.classes == ("ant", "cat", "dog", "yak")
    assert known(both) == [(["cat", "dog"], ["cat"]), (["cat", "dog"], []), (["cat", "dog"], ["cat"]), (["ant"], [])]
    pets = relabelled(both, ("pet", "yak"), {"cat": "pet", "dog": "pet"}, drop_others=True)
    assert known(pets) == [(["pet"], ["pet"]), (["pet"], []), (["pet"], ["pet"]), ([], [])]


def test_an_image_of_which_two_splits_know_other_classes_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, content())
    write(tmp_path, content(), "val")
    splits = ["lvis_v1_train", "lvis_v1_val"]
    assert len(open_form(find_form(tmp_path), splits, None, lambda warning: None)) == 2  # the same is no fault
    value = content()
    value["images"][1]["neg_category_ids"] = [2]
    write(tmp_path, value, "val")
    with pytest.raises(FaultError, match="has other objects, or other classes that were looked for, than in"):
        open_form(find_form(tmp_path), splits, None, lambda warning: None)
