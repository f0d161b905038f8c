"""The checker tells every fault with its place, and whether training would stop."""

import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image

from detkit.data.check import Report, check_voc
from detkit.data.faults import DatasetMissing, Severity

TOOL = Path(__file__).parents[2] / "tools" / "check_data.py"


def object_xml(name: str = "dog", box: tuple[object, ...] = (1, 2, 10, 20)) -> str:
    corners = "".join(f"<{f}>{v}</{f}>" for f, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name><bndbox>{corners}</bndbox></object>"


def add(root: Path, split: str, image_id: str, *objects: str, shade: int | None = None) -> None:
    """Append an image to a split; its content is its own unless a shade is given."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    with (root / "ImageSets/Main" / f"{split}.txt").open("a") as file:
        file.write(f"{image_id}\n")
    colour = (7 * len(list((root / "JPEGImages").iterdir())) + 1, 0, 0) if shade is None else (0, shade, 0)
    Image.new("RGB", (40, 30), colour).save(root / "JPEGImages" / f"{image_id}.png")
    (root / "Annotations" / f"{image_id}.xml").write_text(f"<annotation>{''.join(objects)}</annotation>")


def check(root: Path, *splits: str, classes: list[str] | None = None) -> Report:
    return check_voc(root, splits, classes, lambda images: images)


def told(report: Report, severity: Severity) -> list[str]:
    return [str(fault) for fault in report.faults if fault.severity is severity]


def assert_one(lines: list[str], *parts: str) -> None:
    assert len(lines) == 1
    for part in parts:
        assert part in lines[0]


def test_a_sound_data_set(tmp_path: Path) -> None:
    add(tmp_path, "train", "a", object_xml(), object_xml("cat"))
    add(tmp_path, "test", "b", object_xml())
    add(tmp_path, "test", "c")
    report = check(tmp_path)
    assert report.faults == ()
    assert list(report.lines()) == [
        "test: 2 images of 40 x 30 px (1 without objects), 1 objects (0 difficult)",
        "train: 1 images of 40 x 30 px (0 without objects), 2 objects (0 difficult)",
        "class       test      train",
        "cat            0          1",
        "dog            1          1",
        "3 images, 2 splits: 0 errors, 0 warnings; training can start",
    ]


def test_all_errors_are_told_at_once(tmp_path: Path) -> None:
    add(tmp_path, "train", "a", object_xml(box=(1, "x", 9, 9)), object_xml(box=(1, 1, "y", "z")))
    add(tmp_path, "train", "broken", object_xml(box=(9, 1, 2, 2)))
    image = tmp_path / "JPEGImages/broken.png"
    image.write_bytes(image.read_bytes()[:60])
    add(tmp_path, "train", "no_xml")
    (tmp_path / "Annotations/no_xml.xml").unlink()
    add(tmp_path, "train", "no_image")
    (tmp_path / "JPEGImages/no_image.png").unlink()
    report = check(tmp_path)
    errors = told(report, Severity.ERROR)
    assert report.has_errors
    expected = (
        "a.xml: object 0 (dog): bndbox/ymin: is 'x'",
        "a.xml: object 1 (dog): bndbox/xmax: is 'y'",
        "a.xml: object 1 (dog): bndbox/ymax: is 'z'",
        "broken.png: cannot be decoded",
        "broken.xml: object 0 (dog): bndbox: xmin 9 is greater",
        "id 'no_xml': ",
        "id 'no_image' has no image",
    )
    assert len(errors) == len(expected)
    for part in expected:
        assert sum(part in error for error in errors) == 1
    assert list(report.lines())[-1].endswith("training would stop: mend the errors")


def test_classes_that_are_not_allowed_are_errors(tmp_path: Path) -> None:
    add(tmp_path, "train", "a", object_xml("cat"), object_xml("dgo"))
    assert not check(tmp_path).has_errors
    assert_one(told(check(tmp_path, classes=["cat", "dog"]), Severity.ERROR), "object 1 (dgo)", "nearest is 'dog'")


def test_odd_boxes_are_warned_of(tmp_path: Path) -> None:
    add(tmp_path, "train", "a", object_xml(), object_xml("cat"), object_xml(box=(5, 5, 5, 9)), object_xml())
    report = check(tmp_path)
    assert not report.has_errors
    one_pixel, twice = told(report, Severity.WARNING)
    assert "a.xml: object 2 (dog): bndbox: is 1 x 5 px" in one_pixel
    assert "a.xml: object 3 (dog): bndbox: has the class and box of object 0 (dog)" in twice


def test_an_image_in_train_and_test_is_warned_of(tmp_path: Path) -> None:
    for split in ("trainval", "train", "test"):
        add(tmp_path, split, "a", object_xml())
    warnings = told(check(tmp_path), Severity.WARNING)
    assert len(warnings) == 2  # test with train, test with trainval; train is part of trainval
    assert all("1 images are also in" in warning for warning in warnings)
    assert told(check(tmp_path, "train", "trainval"), Severity.WARNING) == []


def test_a_copy_of_a_training_image_in_test_is_warned_of(tmp_path: Path) -> None:
    add(tmp_path, "train", "a", object_xml(), shade=9)
    add(tmp_path, "train", "a_again", object_xml(), shade=9)
    add(tmp_path, "test", "b", object_xml(), shade=9)
    assert_one(told(check(tmp_path), Severity.WARNING), "b.png: in 'test': is byte for byte", ".png, in 'train'")


def test_names_that_differ_by_case_are_warned_of(tmp_path: Path) -> None:
    add(tmp_path, "train", "a", object_xml("Dog"), object_xml("dog"), object_xml("cat"))
    assert_one(told(check(tmp_path), Severity.WARNING), "the classes Dog, dog differ only by case")


def test_classes_only_in_test_are_warned_of(tmp_path: Path) -> None:
    add(tmp_path, "train", "a", object_xml("dog"))
    add(tmp_path, "test", "b", object_xml("cat"))
    assert_one(told(check(tmp_path), Severity.WARNING), "test.txt", "no other split has: cat")


def test_files_in_no_split_are_told(tmp_path: Path) -> None:
    for image_id in ("a", "spare", "only_xml", "only_image"):
        add(tmp_path, "train", image_id, object_xml())
    (tmp_path / "ImageSets/Main/train.txt").write_text("a\n")
    (tmp_path / "JPEGImages/only_xml.png").unlink()
    (tmp_path / "Annotations/only_image.xml").unlink()
    report = check(tmp_path)
    assert_one(told(report, Severity.WARNING), "Annotations: 1 files have no image: only_xml")
    unannotated, unused = told(report, Severity.INFO)
    assert "1 files have no annotation: only_image" in unannotated
    assert "1 files are in no split: spare" in unused


def test_pictures_turned_by_exif_are_told(tmp_path: Path) -> None:
    add(tmp_path, "train", "a", "<size><width>40</width><height>30</height></size>")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30)).save(tmp_path / "JPEGImages/a.png", exif=exif)
    report = check(tmp_path)
    assert_one(told(report, Severity.WARNING), "a.xml: size: says", "draw them anew")
    assert_one(told(report, Severity.INFO), "1 images are turned by their EXIF orientation (a)")


def test_a_folder_of_data_sets(tmp_path: Path) -> None:
    add(tmp_path / "VOC2007", "trainval", "a", object_xml(), shade=1)
    add(tmp_path / "VOC2012", "trainval", "b", object_xml(), shade=2)
    (tmp_path / "VOC2007/ImageSets/Main/dog_trainval.txt").write_text("a  1\n")
    report = check(tmp_path)
    assert list(report.splits) == ["VOC2007/trainval", "VOC2012/trainval"]
    assert report.faults == ()


def test_a_missing_folder_or_split_is_a_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(DatasetMissing, match="there is no such folder"):
        check(tmp_path / "gone")
    with pytest.raises(DatasetMissing, match="in the shape of PASCAL VOC"):
        check(tmp_path)
    add(tmp_path, "train", "a", object_xml())
    with pytest.raises(DatasetMissing, match=r"val\.txt is missing"):
        check(tmp_path, "val")


def run_tool(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["check_data.py", *arguments])
    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(str(TOOL), run_name="__main__")
    assert isinstance(exit_.value.code, int)
    return exit_.value.code


def test_the_tool_and_its_exit_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add(tmp_path, "train", "a", object_xml(box=(1, 1, 1, 1)))
    assert run_tool(monkeypatch, str(tmp_path)) == 0
    assert "warning: " in capsys.readouterr().out
    assert run_tool(monkeypatch, str(tmp_path), "--split", "train", "--classes", "cat, bird") == 1
    assert "error: " in capsys.readouterr().out
    assert run_tool(monkeypatch, str(tmp_path / "gone")) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.strip().splitlines()) == 1
    assert run_tool(monkeypatch, str(tmp_path), "--nonsense") == 2
    assert run_tool(monkeypatch, "--help") == 0
