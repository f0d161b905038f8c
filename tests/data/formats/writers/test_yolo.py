"""Files of YOLO: keys of splits, and names that YAML would read otherwise."""

import numpy as np
import pytest
import yaml

from detkit.data.formats.writers.yolo import darknet_keys, yolo_keys, yolo_lines, yolo_yaml


@pytest.mark.parametrize(
    ("splits", "in_yaml", "of_darknet"),
    [
        ("train val test", "train val test", "train valid test"),
        ("train2017 val2017", "train val", "train valid"),
        ("trainval test", "train test", "train test"),
        ("trainval val", "trainval val", "trainval valid"),
        ("train_a train_b valid", "train_a train_b val", "train_a train_b valid"),
        ("val valid", "val valid", "val valid"),
        ("all", "all", "train"),
        ("fold_a fold_b", "fold_a fold_b", "fold_a fold_b"),
    ],
)
def test_keys_of_splits(splits: str, in_yaml: str, of_darknet: str) -> None:
    assert list(yolo_keys(splits.split()).values()) == in_yaml.split()
    assert list(darknet_keys(splits.split()).values()) == of_darknet.split()


def test_names_come_back_from_yaml() -> None:
    names = [
        "no",
        "1.0",
        "null",
        "~",
        "2020-01-01",
        "a: b",
        'say "x"',
        "- dash",
        "#tag",
        "a  b",
        "名",
        "long " * 19 + "x",
    ]
    content = yaml.safe_load(yolo_yaml(["train2017", "x"], names))
    assert content == {
        "path": ".",
        "train": "images/train2017",
        "x": "images/x",
        "names": dict(enumerate(names)),
    }


def test_lines() -> None:
    boxes = np.array([[0.0, 0.0, 10.0, 5.0], [2.5, 1.0, 5.0, 4.0]])
    lines = yolo_lines(np.array([3, 0]), boxes, np.array([10.0, 5.0, 10.0, 5.0]))
    assert lines == ["3 0.5 0.5 1 1", "0 0.375 0.5 0.25 0.6"]
    assert yolo_lines(np.zeros(0, dtype=np.int64), np.zeros((0, 4)), np.ones(4)) == []
