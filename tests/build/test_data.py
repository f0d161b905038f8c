"""From sections to data sets: one folder, several of different forms together, the built-in set."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from detkit.build.data import TrainingData, build_dataset, open_training_data, split_names, to_train_on, with_classes
from detkit.config.data import FolderData, ShapesData
from detkit.config.schema import Config
from detkit.data.faults import FaultError
from detkit.data.formats.forms import find_form
from detkit.data.synthetic import shapes
from detkit.data.validation.readable import unreadable_images


def test_classes_of_a_data_set_are_those_of_its_training_splits(tiny_config: Config) -> None:
    dataset = build_dataset(tiny_config.data, split_names(tiny_config.data, "train"))
    assert dataset.classes == ("bar", "block")
    config = with_classes(tiny_config, ("block", "bar"))
    assert build_dataset(config.data, split_names(config.data, "test")).classes == ("block", "bar")


def test_a_split_of_shapes_has_all_classes_though_it_may_not_show_them(tmp_path: Path) -> None:
    data = ShapesData(kind="shapes", root=str(tmp_path / "shapes"), num_train=2, num_val=1, num_test=1)
    splits = [build_dataset(data, split_names(data, kind)) for kind in ("train", "val", "test")]
    assert [len(split) for split in splits] == [2, 1, 1]
    assert len({split.classes for split in splits}) == 1
    shown = {label for i in range(1) for label in splits[1].target(i).labels.tolist()}
    assert shown < set(range(len(splits[1].classes)))  # one image shows some of them


def test_the_built_in_set_is_the_same_from_a_config_and_from_its_tool() -> None:
    section = ShapesData(kind="shapes")
    assert (section.long_sides, section.object_sizes) == (shapes.LONG_SIDES, shapes.OBJECT_SIZES)
    assert {"train": section.num_train, "val": section.num_val, "test": section.num_test} == shapes.COUNTS


@pytest.fixture
def root(voc_root: Path, tmp_path: Path) -> Path:
    shutil.copytree(voc_root, tmp_path / "set")
    return tmp_path / "set"


def opened(root: Path, **changes: object) -> TrainingData:
    data = to_train_on(find_form(root)).model_copy(update=changes)
    return open_training_data(data, True, unreadable_images, pytest.fail)


def test_a_good_set_opens(root: Path) -> None:
    data = opened(root)
    assert (len(data.train), data.val and len(data.val), data.warnings) == (8, 2, ())
    assert opened(root, val=()).val is None


def _no_objects(root: Path) -> None:
    for path in (root / "Annotations").glob("*.xml"):
        path.write_text("<annotation></annotation>")


def _all_difficult(root: Path) -> None:
    for path in (root / "Annotations").glob("*.xml"):
        path.write_text(path.read_text().replace("<bndbox>", "<difficult>1</difficult><bndbox>"))


def _no_ids(root: Path) -> None:
    (root / "ImageSets/Main/train.txt").write_text("")


def _class_of_val(root: Path) -> None:
    path = root / "Annotations/000008.xml"
    path.write_text(path.read_text().replace("bar", "wheel"))


def _linked(root: Path) -> None:
    """An image of train under another name in val."""
    for folder, suffix in (("JPEGImages", "png"), ("Annotations", "xml")):
        (root / folder / f"linked.{suffix}").symlink_to(root / folder / f"000000.{suffix}")
    (root / "ImageSets/Main/val.txt").write_text("linked\n000008\n")


def _cut_image_of_test(root: Path) -> None:
    path = root / "JPEGImages/000011.png"
    path.write_bytes(path.read_bytes()[:-30])


def _broken_annotation_of_test(root: Path) -> None:
    (root / "Annotations/000011.xml").write_text("<annotation>")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_no_objects, "have no objects, so no classes"),
        (_all_difficult, "have no objects to learn from in 8 images"),
        (_no_ids, "'train' lists no images"),
        (_class_of_val, "'wheel' is not one of the classes"),
        (_linked, r"data\.val .* shares 1 images with data\.train, such as .*linked.png"),
        (_cut_image_of_test, "000011.png"),
        (_broken_annotation_of_test, "000011.xml: is not well-formed"),
    ],
)
def test_what_stops_training(root: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(root)
    with pytest.raises(ValueError, match=message):
        opened(root)


def test_what_stops_scoring_alone_is_no_error(root: Path) -> None:
    assert "is missing, needed for split 'gone'" in opened(root, test=("gone",)).warnings[0]
    path = root / "Annotations/000011.xml"
    path.write_text(path.read_text().replace("bar", "wheel"))
    assert "'wheel' is not one of the classes" in opened(root).warnings[0]
    with pytest.raises(FaultError):
        build_dataset(to_train_on(find_form(root), ["bar", "block"]), ["test"])


def test_splits_without_objects_are_told_of(root: Path) -> None:
    for number in (8, 9, 10, 11, 12):
        (root / f"Annotations/{number:06d}.xml").write_text("<annotation></annotation>")
    assert opened(root).warnings == (
        "data.val has no objects, so it has no AP",
        "data.test has no objects, so it has no AP",
    )


def test_copies_of_an_image_are_images_of_their_own(root: Path) -> None:
    """Ids say nothing across splits: only the file does. The checker tells of copies."""
    for folder, suffix in (("JPEGImages", "png"), ("Annotations", "xml")):
        os.link(root / folder / f"000000.{suffix}", root / folder / f"copy.{suffix}")
    (root / "ImageSets/Main/val.txt").write_text("copy\n000008\n")
    assert opened(root).val is not None


def test_a_part_of_a_split_may_be_opened(root: Path) -> None:
    data = FolderData(kind="voc", root=str(root), train=("train[:80%]",), test=("train[80%:]",))
    one = open_training_data(data, True, unreadable_images, pytest.fail)
    assert one.val is None and 0 < len(one.train) < 8
