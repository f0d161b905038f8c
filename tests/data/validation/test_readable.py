"""Images that training could not read are told of before its first step."""

from pathlib import Path

import pytest

from detkit.data.formats.forms import Form
from detkit.data.formats.listed import ListedDataset
from detkit.data.formats.opening import open_form
from detkit.data.validation import readable
from detkit.data.validation.readable import unreadable_images


@pytest.fixture
def dataset(voc_root: Path) -> ListedDataset:
    return open_form(Form("voc", voc_root, ()), ["train"], None)


def changed(dataset: ListedDataset, tmp_path: Path, content: bytes) -> ListedDataset:
    """With another file in place of the second image."""
    (tmp_path / "other.png").write_bytes(content)
    paths = [dataset.paths[0], tmp_path / "other.png", *dataset.paths[2:]]
    return ListedDataset(dataset.ground_truth(), paths)


def test_all_is_well(dataset: ListedDataset) -> None:
    assert list(unreadable_images([dataset, dataset])) == []


@pytest.mark.parametrize("most", [100, 0])
def test_a_broken_and_another_image(
    dataset: ListedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(readable, "MOST_DECODED", most)
    cut = dataset.paths[1].read_bytes()[:-40]
    faults = list(unreadable_images([changed(dataset, tmp_path, cut)]))
    assert [fault.file for fault in faults] == ([tmp_path / "other.png"] if most else [])  # its header is well
    turned = dataset.paths[3].read_bytes()  # a tall image
    [fault] = unreadable_images([changed(dataset, tmp_path, turned)])
    assert "is 96 x 128 px, its annotations are for 128 x 96" in str(fault)
    [fault] = unreadable_images([changed(dataset, tmp_path, b"")])
    assert "empty" in str(fault)
