"""From sections to data sets: one folder, several of different forms together, the built-in set."""

from pathlib import Path

from detkit.build.data import build_dataset, split_names, with_classes
from detkit.config.data import ShapesData
from detkit.config.schema import Config
from detkit.data.synthetic import shapes


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
