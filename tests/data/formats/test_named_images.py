"""Images that files name: found inside the data set only; their ids, splits and sizes."""

from pathlib import Path

import pytest
from PIL import Image

from detkit.data.faults import LISTED_TWICE
from detkit.data.formats.listing import ListedImage
from detkit.data.formats.named_images import NamedImages, find_image, id_in_split, split_of_folder, stated_size
from detkit.data.formats.read_split import UNKNOWN_SIZE, ObjectList


def image(path: Path, width: int = 40) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, 20)).save(path)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "a (1).png", "./a (1).png", "a (1)", ".\\a (1).png", "../images/a (1).png", "../../../images/a (1).png",
        "/home/me/images/a (1).png", "D:\\images\\a (1).png", "images/../a (1).png",
    ],
)  # fmt: skip
def test_paths_that_mean_the_image(tmp_path: Path, text: str) -> None:
    path = image(tmp_path / "set/images/a (1).png")
    assert find_image(text, [tmp_path / "set/images"], tmp_path / "set") == path


@pytest.mark.parametrize(
    "text", ["../out.png", "{}/out.png", "link/../../out.png", "", "..", ".", "a\0", "x" * 300, "b"]
)
def test_paths_that_mean_nothing_inside(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image(tmp_path / "out.png")
    (tmp_path / "set").mkdir()
    assert find_image(text.format(tmp_path), [tmp_path / "set"], tmp_path / "set") is None
    monkeypatch.chdir(tmp_path / "set")
    assert find_image(text.format(tmp_path), [Path()], Path()) is None


def test_links_of_the_user_are_followed(tmp_path: Path) -> None:
    image(tmp_path / "disk/a.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/images").symlink_to(tmp_path / "disk")
    assert find_image("a.png", [tmp_path / "set/images"], tmp_path / "set") == tmp_path / "set/images/a.png"


@pytest.mark.parametrize(
    ("folder", "split", "image_id"),
    [
        ("", "all", "a"),
        ("images", "all", "a"),
        ("train", "train", "a"),
        ("train/images/cam b", "train", "cam_b_a"),
        ("images/Valid", "Valid", "a"),
        ("mine/data/train/x", "mine/train", "x_a"),
        ("cam1/x", "cam1", "x_a"),
        ("train/train", "train", "train_a"),
    ],
)
def test_splits_and_ids_by_folders(tmp_path: Path, folder: str, split: str, image_id: str) -> None:
    path = tmp_path / folder / "a.png"
    assert split_of_folder(path.parent.relative_to(tmp_path).parts) == split
    assert id_in_split(path, tmp_path, split) == image_id


def test_sizes_are_those_of_the_image_before_or_after_turning(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a.jpg"
    Image.new("RGB", (40, 20)).save(path, exif=exif)
    assert stated_size(path, None) == stated_size(path, (40, 20)) == ((40, 20), None)
    assert stated_size(path, (20, 40)) == ((20, 40), None)
    size, wrong = stated_size(path, (10, 10))
    assert size == (10, 10) and wrong is not None and wrong.startswith("is 10 x 10, the image is 20 x 40; restore")
    path.write_text("no image")
    assert stated_size(path, (10, 10)) == ((10, 10), None) and stated_size(path, None) == (UNKNOWN_SIZE, None)


def test_images_are_there_once_and_twice_only_with_equal_objects(tmp_path: Path) -> None:
    named = NamedImages()
    first = ListedImage("a", image(tmp_path / "a.png"), tmp_path / "a.json")
    link = tmp_path / "link.png"
    link.symlink_to(first.image)

    def objects(*corners: float) -> ObjectList:
        found = ObjectList(tmp_path / "a.json", (20, 40), "box")
        for x in corners:
            found.add("object", "dog", (x, 0, x + 5, 5))
        return found

    named.add(first, objects(1))
    named.add(ListedImage("a", link, first.annotation), objects(1), "row 2")
    named.add(first, objects(2), "row 3")
    named.add(ListedImage("a", image(tmp_path / "a/a.png"), first.annotation), objects(1), "row 4")
    assert len(named.images()) == 1
    assert [fault.summary for fault in named.faults] == [LISTED_TWICE, "", ""]
    assert "row 3: a.png has other objects in a.json before; keep one" in str(named.faults[1])
    assert f"row 4: {tmp_path / 'a/a.png'} has the id of {tmp_path / 'a.png'}, 'a'" in str(named.faults[2])
    named.faults.clear()
    named.leave_out([tmp_path / "a" / ".." / "a.png", tmp_path / "b.png"])
    assert [fault.file for fault in named.faults] == [tmp_path / "b.png"]
