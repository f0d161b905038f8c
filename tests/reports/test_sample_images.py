"""Which images of a data set are shown: every class, the suspicious by themselves, and none that cannot be read."""

from pathlib import Path

import pytest
from PIL import Image

from detkit.data.formats.forms import find_form
from detkit.data.formats.opening import SplitReader
from detkit.data.formats.read_split import ReadSplit
from detkit.data.validation.check import check_data
from detkit.reports.sample_images import PER_SPLIT, choose, sample_groups, suspicious_objects

Box = tuple[int, int, int, int]
BOX: Box = (10, 10, 40, 30)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "train").mkdir()
    return tmp_path


def add(root: Path, number: int, *objects: tuple[str, Box]) -> None:
    text = ""
    for name, box in objects:
        sides = "".join(f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box))
        text += f"<object><name>{name}</name><bndbox>{sides}</bndbox></object>"
    (root / "train" / f"p{number:02d}.xml").write_text(f"<annotation>{text}</annotation>")
    Image.new("RGB", (80, 60), (number, 9, 9)).save(root / "train" / f"p{number:02d}.png")


def splits(root: Path) -> list[ReadSplit]:
    return list(check_data(SplitReader(find_form(root)), (), None).splits.values())


def test_every_class_is_shown(root: Path) -> None:
    for number in range(40):
        add(root, number, ("cat", BOX))
    add(root, 23, ("cat", BOX), ("dog", (50, 10, 70, 30)))
    add(root, 31, ("bird", BOX))
    (split,) = splits(root)
    chosen = choose(split)
    assert len(chosen) == len(set(chosen)) == PER_SPLIT and {23, 31} <= set(chosen)
    assert set(choose(split, 2)) == {23, 31}
    assert choose(split, 100) == list(range(40))


def test_suspicious_images_are_a_group_of_their_own(root: Path) -> None:
    add(root, 0, ("cat", BOX), ("dog", (5, 5, 5, 50)))
    add(root, 1, ("cat", BOX), ("cat", BOX))
    add(root, 2, ("cat", BOX))
    (split,) = splits(root)
    assert suspicious_objects(split).tolist() == [1, 3]
    suspicious, train = sample_groups([split])
    assert (suspicious.title, [one.path.stem for one in suspicious.images]) == ("Suspicious boxes", ["p00", "p01"])
    assert [one.suspicious for one in suspicious.images] == [1, 1]
    assert train.title == "train" and [one.classes for one in train.images] == [
        {"cat": 1, "dog": 1},
        {"cat": 2},
        {"cat": 1},
    ]
    assert all(one.address.startswith("data:image/jpeg;base64,") for one in train.images)


def test_images_that_cannot_be_read_are_left_out(root: Path) -> None:
    add(root, 0, ("cat", BOX))
    add(root, 1)
    (root / "train" / "p00.png").write_bytes(b"no image")
    (group,) = sample_groups(splits(root))
    assert [(one.path.stem, one.classes) for one in group.images] == [("p01", {})]
    (root / "train" / "p01.png").write_bytes(b"no image")
    assert sample_groups(splits(root)) == []
