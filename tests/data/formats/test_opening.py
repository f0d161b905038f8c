"""Opening a data set: which error stops it, which warnings it tells, and what classes it has."""

from pathlib import Path

import pytest
from PIL import Image

from detkit.data.faults import DatasetMissing, FaultError
from detkit.data.formats.forms import Form, find_form
from detkit.data.formats.opening import SplitReader, open_form, unknown_classes


def add(root: Path, split: str, name: str, *objects: str, box: str = "1 2 10 20") -> Path:
    """An image and its XML file, with an object of each name."""
    (root / split).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30)).save(root / split / f"{name}.png")
    corners = "".join(f"<{f}>{v}</{f}>" for f, v in zip(("xmin", "ymin", "xmax", "ymax"), box.split(), strict=True))
    text = "".join(f"<object><name>{one}</name><bndbox>{corners}</bndbox></object>" for one in objects)
    (root / split / f"{name}.xml").write_text(f"<annotation>{text}</annotation>")
    return root


def test_splits_are_read_under_the_same_classes(tmp_path: Path) -> None:
    add(add(tmp_path, "train", "a", "eel", "dog"), "val", "b", "cat")
    form = find_form(tmp_path)
    train, val = SplitReader(form).read(["train", "val"])
    assert train.truth.classes == val.truth.classes == ("cat", "dog", "eel")
    assert (train.truth.objects.labels.tolist(), val.truth.objects.labels.tolist()) == ([2, 1], [0])
    assert SplitReader(form).read(["val"])[0].truth.classes == ("cat",)
    with pytest.raises(DatasetMissing, match="needed for split 'test'"):
        SplitReader(form).read(["test"])


def test_objects_of_other_classes_are_errors_one_a_class(tmp_path: Path) -> None:
    add(add(tmp_path, "train", "a", "eel", "dog", "eel"), "val", "b", "eel", "cat")
    read = SplitReader(find_form(tmp_path)).read(["train", "val"])
    first, second = map(str, unknown_classes(read, ["dog", "cats"]))
    said = "name: {!r} is not one of the classes, the nearest is {!r}; mend either"
    assert first == f"{tmp_path}/train/a.xml: object 0 (eel): {said.format('eel', 'dog')}"
    assert second == f"{tmp_path}/val/b.xml: object 1 (cat): {said.format('cat', 'cats')}"
    assert list(unknown_classes(read, ["dog", "cat", "eel"])) == []
    with pytest.raises(FaultError, match=r"object 0 \(eel\): name: 'eel' is not one of the classes"):
        open_form(find_form(tmp_path), ["train"], ["dog"])


def test_a_split_named_twice_is_read_once(tmp_path: Path) -> None:
    add(tmp_path, "train", "a", "dog")
    assert open_form(find_form(tmp_path), ["train", "train"], None, pytest.fail).image_ids == ("a",)
    assert open_form(find_form(tmp_path), ["train", "train[:50%]"], None, pytest.fail).image_ids == ("a",)


def test_errors_come_before_warnings_and_boxes_before_classes(tmp_path: Path) -> None:
    add(tmp_path, "train", "a", "dog", box="0 2 10 20")
    add(tmp_path, "train", "b", "dog", box="9 2 1 20")
    with pytest.raises(FaultError, match=r"b\.xml: object 0 \(dog\): bndbox: xmin 9 is greater") as caught:
        open_form(find_form(tmp_path), ["train"], ["cat"], pytest.fail)
    assert str(caught.value).endswith(f"(detkit check-data {tmp_path} lists all faults)")


def test_nothing_to_learn_from(tmp_path: Path) -> None:
    form = find_form(add(tmp_path, "train", "a"))
    with pytest.raises(ValueError, match="have no objects, so no classes"):
        open_form(form, ["train"], None)
    assert len(open_form(form, ["train"], ["dog"]).ground_truth().objects) == 0
    (tmp_path / "train/a.xml").rename(tmp_path / "train/b.xml")
    with pytest.raises(DatasetMissing):
        find_form(tmp_path)


def test_fractions_stop_with_one_error_for_the_split(tmp_path: Path) -> None:
    for name in "abc":
        add(tmp_path, "train", name, "dog", box="0.1 0.2 0.5 0.75")
    (split,) = SplitReader(find_form(tmp_path)).read(["train"])
    (fault,) = split.faults
    assert "all 3 boxes look like fractions of the image, such as (0.1, 0.2, 0.5, 0.75)" in str(fault)
    with pytest.raises(FaultError, match="look like fractions of the image"):
        open_form(find_form(tmp_path), ["train"], None)


def test_images_that_are_not_needed_may_be_missing_in_coco_only(tmp_path: Path) -> None:
    image = '{"id": 1, "file_name": "a.png", "height": 30, "width": 40}'
    box = '{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}'
    text = f'{{"images": [{image}], "annotations": [{box}], "categories": [{{"id": 1, "name": "dog"}}]}}'
    (tmp_path / "train.json").write_text(text)
    form = Form("coco", tmp_path, ("train",))
    assert open_form(form, ["train"], None, pytest.fail, need_images=False).image_ids == ("1",)
    with pytest.raises(FaultError, match=r"none of its 1 images, such as 'a\.png', is in"):
        open_form(form, ["train"], None)
